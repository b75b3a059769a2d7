"""F. The resource definition."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from asya_operator import crd
from tests.charts import yamls
from tests.charts.made import actor_validator, crd_schema, defaulted
from tests.charts.render import CHARTS, MINIMAL, ci_files, render
from tests.charts.test_agreement import EXAMPLES, FLOWS, release

MINIMAL_OPERATOR = MINIMAL["asya-operator"]


@pytest.mark.point(53)
def test_the_definition_can_be_left_out_kept_and_annotated(engine: str) -> None:
    found = render("asya-operator", MINIMAL_OPERATOR, engine=engine).one("CustomResourceDefinition")
    assert found["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "argocd.argoproj.io/sync-options": "ServerSideApply=true",
    }
    document = {"crds": {"keep": False, "annotations": {"argocd.argoproj.io/sync-options": None, "mine": "x"}}}
    changed = render("asya-operator", [MINIMAL_OPERATOR, document], engine=engine).one("CustomResourceDefinition")
    assert changed["metadata"]["annotations"] == {"mine": "x"}
    off = render("asya-operator", [MINIMAL_OPERATOR, {"crds": {"enabled": False}}], engine=engine)
    assert off.of("CustomResourceDefinition") == []


@pytest.mark.point(54)
def test_the_definition_is_that_of_the_python_model(engine: str) -> None:
    assert (CHARTS / "asya-operator" / "templates" / "crd-asyncactors.yaml").read_text() == crd.chart_template()
    found = render("asya-operator", MINIMAL_OPERATOR, engine=engine).one("CustomResourceDefinition")
    assert found["spec"] == crd.definition()["spec"]


KEEPS_UNKNOWN = {
    *("scaling.behavior", "scaling.fallback", "scaling.modifiers", "sidecar.resources", "workload.strategy"),
    *("sidecar.env[].valueFrom", "workload.volumeClaimTemplates[]", "workload.volumeClaimTemplates[].metadata"),
    "workload.volumeClaimTemplates[].spec",
}
BELOW_POD = "workload.template.spec"


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


@pytest.mark.point(55)
def test_every_field_has_a_type_and_unknown_ones_are_kept_where_listed_only() -> None:
    spec = crd_schema()["properties"]["spec"]
    for path, schema in walk(spec):
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
    keeping = {path for path, schema in walk(spec) if schema.get("x-kubernetes-preserve-unknown-fields")}
    assert {path for path in keeping if not path.startswith(BELOW_POD)} == KEEPS_UNKNOWN
    assert BELOW_POD in keeping


@pytest.mark.point(55)
def test_names_and_columns_are_those_of_the_documentation() -> None:
    spec = crd.definition()["spec"]
    assert spec["names"]["shortNames"] == ["asya"]
    assert "categories" not in spec["names"], "a second kind in it would break kubectl get asya NAME"
    (version,) = spec["versions"]
    assert version["subresources"] == {"status": {}}, "a scale subresource would let kubectl write into a spec that Git owns"
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Ready", "Status", "Replicas", "Queued", "Transport", "Age"]


@pytest.mark.point(56)
def test_definition_and_release_fit_what_the_api_server_takes(engine: str) -> None:
    rendered = render("asya-operator", [ci_files("asya-operator")[3]], engine=engine)
    assert len(json.dumps(rendered.one("CustomResourceDefinition"))) < 256 * 1024
    chart = {
        str(path.relative_to(CHARTS)): base64.b64encode(path.read_bytes()).decode()
        for path in (CHARTS / "asya-operator").rglob("*")
        if path.is_file() and path.parent.name != "ci"
    }
    release_payload = base64.b64encode(gzip.compress(json.dumps({"chart": chart, "manifest": rendered.text}).encode()))
    assert len(release_payload) < 512 * 1024


@pytest.mark.point(58)
def test_defaults_of_definition_and_chart_are_the_same() -> None:
    rendered = render("asya-actor", MINIMAL["asya-actor"]).one("AsyncActor")["spec"]
    bare = {"workload": {"template": rendered["workload"]["template"]}}
    for name in ("retry", "queue", "runtime", "scaling"):
        bare[name] = {"backoff": {}} if name == "retry" else {}
    stored = defaulted(bare, crd_schema()["properties"]["spec"])
    rendered["workload"].pop("revisionHistoryLimit")
    stored["scaling"].pop("prewarm", None)
    assert stored == rendered


@pytest.mark.point(58)
@pytest.mark.parametrize(
    "file", [*ci_files("asya-actor"), *EXAMPLES, *FLOWS[::7]], ids=lambda path: f"{path.parent.parent.name}-{path.stem}"
)
def test_rendered_actors_have_no_field_that_the_definition_does_not_know(file: Any) -> None:
    actor_validator().validate(render("asya-actor", [file], release=release(file)).one("AsyncActor"))


@pytest.mark.point(58)
def test_rendered_end_actors_have_no_field_that_the_definition_does_not_know() -> None:
    for file in ci_files("asya-crew"):
        for item in render("asya-crew", [file]).of("AsyncActor"):
            actor_validator().validate(item)


@pytest.mark.point(58)
@pytest.mark.parametrize(
    "change",
    [
        {"timeOut": "5m"},
        {"scaling": {"minReplica": 1}},
        {"concurrency": 65},
        {"timeout": "5 minutes"},
        {"transport": "kafka"},
        {"workload": {}},
        {"retry": {"on": ["ValueError"]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_bad_actor_is_refused_by_the_definition(change: dict[str, Any]) -> None:
    good = render("asya-actor", MINIMAL["asya-actor"]).one("AsyncActor")
    bad = yamls.read(yaml.safe_dump(good))
    bad["spec"] |= change
    with pytest.raises(jsonschema.ValidationError):
        actor_validator().validate(bad)
