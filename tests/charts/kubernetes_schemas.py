"""Says whether Kubernetes of a version takes an object, by the schemas that kubernetes-validate bundles. Called by `test_use`.

That package reads all definitions of a version anew for each object, 3 MB of JSON; here each is read once.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from referencing import Registry, Resource

__all__ = ["problem"]

_SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"


def problem(item: dict[str, Any], version: str) -> str:
    """What Kubernetes `version` (such as ``1.34``) has against an object, unknown fields too; empty if nothing.

    Raises FileNotFoundError for a kind that this version does not have.
    """
    validator = _validator(version, item["kind"].lower(), re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", item["apiVersion"]))
    error = jsonschema.exceptions.best_match(validator.iter_errors(item))
    return "" if error is None else f"{error.json_path}: {error.message}"


@cache
def _validator(version: str, kind: str, api_version: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((_folder(version) / f"{kind}-{api_version}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    registry: Registry[Any] = Resource.from_contents(json.loads((_folder(version) / "_definitions.json").read_text())) @ Registry()
    return registry


@cache
def _folder(version: str) -> Any:
    (found,) = [entry for entry in _SCHEMAS.iterdir() if re.fullmatch(rf"v{re.escape(version)}(\.\d+)?-local-strict", entry.name)]
    return found
