"""What the operator's own functions make of rendered AsyncActors: pods and KEDA's objects, with the settings that its chart renders.

Called by the tests of this folder. Plays the API server's part of filling in the resource definition's defaults.
"""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema

from asya_operator import crd, spec
from asya_operator.desired import scaling, workload
from asya_operator.settings import OperatorSettings, parse_settings
from tests.charts import yamls
from tests.charts.render import MINIMAL, Rendered, render

Json = dict[str, Any]


@cache
def crd_schema() -> Json:
    """The resource definition's schema of an AsyncActor."""
    schema: Json = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def strict(schema: Json) -> Json:
    """`schema` as plain JSON Schema that refuses every field which the API server would drop."""
    made: Json = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key not in ("default", "format")}
    if "properties" in schema:
        made["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        made["items"] = strict(schema["items"])
    return made


@cache
def actor_validator() -> jsonschema.Draft7Validator:
    """Knows an AsyncActor without unknown fields."""
    made = strict(crd_schema())
    made["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(made)


def defaulted(value: Any, schema: Json) -> Any:
    """`value` with the schema's defaults, as the API server stores it."""
    if isinstance(value, dict):
        filled = copy.deepcopy(value)
        for name, inner in schema.get("properties", {}).items():
            if name not in filled and "default" in inner:
                filled[name] = copy.deepcopy(inner["default"])
            if name in filled:
                filled[name] = defaulted(filled[name], inner)
        return filled
    if isinstance(value, list):
        return [defaulted(item, schema.get("items", {})) for item in value]
    return value


def settings_of(rendered: Rendered) -> OperatorSettings:
    """The operator's settings as its process reads them. Raises RemoteFault for what it does not know."""
    for item in rendered.of("ConfigMap"):
        if "settings.yaml" in item["data"]:
            return parse_settings(yamls.read(item["data"]["settings.yaml"]))
    raise AssertionError("no settings are rendered")


@cache
def default_settings() -> OperatorSettings:
    """Those of the operator's minimal values."""
    return settings_of(render("asya-operator", MINIMAL["asya-operator"]))


def actor(manifest: Mapping[str, Any]) -> spec.ActorSpec:
    """A rendered AsyncActor as the operator reads it."""
    meta = manifest["metadata"]
    filled = defaulted(manifest["spec"], crd_schema()["properties"]["spec"])
    return spec.read_spec(meta["namespace"], meta["name"], meta["labels"], filled)


def made_workload(manifest: Mapping[str, Any], settings: OperatorSettings | None = None) -> Json:
    """The Deployment or StatefulSet. Raises RefusedTemplate for what the operator's policy refuses."""
    settings = settings or default_settings()
    read = actor(manifest)
    spec.refuse_template(read, settings)
    transport = read.transport or settings.default_transport
    return workload.workload(read, settings, uid="u", transport=transport, runtime_config_map="asya-runtime-0")


def made_scaling(manifest: Mapping[str, Any], settings: OperatorSettings | None = None) -> tuple[Json, Json]:
    """ScaledObject and TriggerAuthentication."""
    settings = settings or default_settings()
    read = actor(manifest)
    transport = read.transport or settings.default_transport
    scaled = scaling.scaled_object(read, settings, uid="u", transport=transport, queue_url="https://sqs/q")
    return scaled, scaling.trigger_authentication(read, settings, uid="u", transport=transport)
