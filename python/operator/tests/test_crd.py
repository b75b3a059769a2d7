"""The definition: what GitOps and old objects rely on, and that the operator's own defaults are its defaults."""

from collections.abc import Iterator
from typing import Any

import pytest
from python.operator.tests.twins import spec

from asya_operator.crd import chart_template, definition
from asya_operator.spec import read_spec

Json = dict[str, Any]
VERSION = definition()["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]


def fields(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, inner in (schema.get("properties") or {}).items():
        yield from fields(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


def defaults(schema: Json) -> Any:
    """What the API server would fill into an empty object."""
    made = dict(schema.get("default", {}))
    for name, inner in (schema.get("properties") or {}).items():
        if "default" in inner:
            made.setdefault(name, inner["default"])
            if inner["type"] == "object":
                made[name] = {**defaults(inner), **made[name]}
    return made


def test_defaults_of_the_definition_are_those_of_the_operator():
    assert read_spec("demo", "ocr", {}, spec(**defaults(ROOT["properties"]["spec"]))) == read_spec("demo", "ocr", {}, spec())


@pytest.mark.parametrize("name", ["retry", "runtime", "queue"])
def test_inner_defaults_are_those_of_the_operator(name):
    filled = defaults(ROOT["properties"]["spec"]["properties"][name])
    if name == "retry":
        filled["backoff"] = defaults(ROOT["properties"]["spec"]["properties"][name]["properties"]["backoff"])
    assert read_spec("demo", "ocr", {}, spec(**{name: filled})) == read_spec("demo", "ocr", {}, spec())


def test_there_is_no_scale_and_no_category():
    assert VERSION["subresources"] == {"status": {}}
    names = definition()["spec"]["names"]
    assert "categories" not in names
    assert names["shortNames"] == ["asya"]


def test_columns_are_those_of_the_documentation():
    usual = [each["name"] for each in VERSION["additionalPrinterColumns"] if not each.get("priority")]
    assert usual == ["Ready", "Status", "Replicas", "Queued", "Transport", "Age"]


def test_unknown_fields_are_kept_in_listed_places_only():
    kept = {path for path, schema in fields(ROOT) if schema.get("x-kubernetes-preserve-unknown-fields")}
    pod = "spec.workload.template.spec"
    assert kept == {
        "spec.scaling.behavior",
        "spec.scaling.fallback",
        "spec.scaling.modifiers",
        "spec.sidecar.resources",
        "spec.sidecar.env[].valueFrom",
        "spec.workload.strategy",
        "spec.workload.volumeClaimTemplates[]",
        "spec.workload.volumeClaimTemplates[].metadata",
        "spec.workload.volumeClaimTemplates[].spec",
        pod,
        f"{pod}.containers[]",
        f"{pod}.containers[].env[].valueFrom",
        f"{pod}.containers[].securityContext",
        f"{pod}.initContainers[]",
        f"{pod}.initContainers[].env[].valueFrom",
        f"{pod}.initContainers[].securityContext",
        f"{pod}.volumes[]",
        f"{pod}.volumes[].hostPath",
    }


def test_every_field_of_the_spec_that_a_user_sets_is_described():
    pod = "spec.workload.template"
    silent = [
        path
        for path, schema in fields(ROOT["properties"]["spec"], "spec")
        if not path.startswith(pod) and "description" not in schema and "[]" not in path
    ]
    assert silent == []


def test_lists_say_how_they_are_merged():
    assert [path for path, schema in fields(ROOT) if schema.get("type") == "array" and "x-kubernetes-list-type" not in schema] == []


def test_definition_is_small():
    assert len(chart_template().encode()) < 256 * 1024


def test_command_prints_template_or_definition(capsys):
    from asya_operator.crd import main

    assert main([]) == 0
    assert capsys.readouterr().out.startswith("{{- /* Generated")
    assert main(["--plain"]) == 0
    assert capsys.readouterr().out.startswith("apiVersion: apiextensions.k8s.io/v1")
    assert main(["x"]) == 2
