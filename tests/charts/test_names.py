"""C. Names, labels, selectors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.charts import yamls
from tests.charts.helms import Refused
from tests.charts.made import default_settings, made_workload
from tests.charts.render import MINIMAL, RELEASES, Rendered, ci_files, fullest, render

NAMES = tuple(RELEASES)
GOLDEN = Path(__file__).with_name("golden")
CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
RECOMMENDED = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "managed-by", "component", "part-of")} | {
    "helm.sh/chart"
}
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def set_ups() -> list[tuple[str, Path]]:
    return [(chart, path) for chart in NAMES for path in ci_files(chart)]


def spoken(part: Any) -> str:
    return part if isinstance(part, str) else part.stem


def selectors(rendered: Rendered) -> Iterator[tuple[str, dict[str, str]]]:
    for item in rendered.objects:
        spec = item.get("spec", {})
        where = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"):
            selector = spec["selector"]
            yield (
                where,
                {**selector.get("matchLabels", {}), **{each["key"]: each["operator"] for each in selector.get("matchExpressions", [])}},
            )
        elif item["kind"] == "NetworkPolicy":
            yield where, spec["podSelector"]["matchLabels"]
        elif item["kind"] == "Service":
            yield where, spec["selector"]


@pytest.mark.point(27)
def test_an_actor_may_have_53_characters_and_a_stateful_one_52(engine: str) -> None:
    assert render("asya-actor", MINIMAL["asya-actor"], engine=engine, release="a" * 53).one("AsyncActor", "a" * 53)
    stateful = {"workload": {"kind": "StatefulSet"}}
    assert render("asya-actor", [MINIMAL["asya-actor"], stateful], engine=engine, release="a" * 52).one("AsyncActor", "a" * 52)


@pytest.mark.point(27)
def test_one_character_more_is_refused_never_cut(engine: str) -> None:
    stateful = {"workload": {"kind": "StatefulSet"}}
    with pytest.raises(Refused, match="has 53 characters, 52 are allowed for a StatefulSet"):
        render("asya-actor", [MINIMAL["asya-actor"], stateful], engine=engine, release="a" * 53)
    with pytest.raises(Refused):
        render("asya-actor", MINIMAL["asya-actor"], engine=engine, release="a" * 54)
    with pytest.raises(Refused, match="actorName"):
        render("asya-actor", [MINIMAL["asya-actor"], {"actorName": "a" * 54}], engine=engine)


@pytest.mark.point(27)
@pytest.mark.parametrize("name", ["Upper", "1st", "a_b", "a.b", "-a", "a-"])
def test_an_illegal_actor_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="actorName"):
        render("asya-actor", [MINIMAL["asya-actor"], {"actorName": name}])


@pytest.mark.point(27)
def test_a_release_name_that_is_no_actor_name_is_refused(engine: str) -> None:
    with pytest.raises(Refused, match="actor name 1st is not legal; name the release"):
        render("asya-actor", MINIMAL["asya-actor"], engine=engine, release="1st")


@pytest.mark.point(27)
@pytest.mark.parametrize("chart", ["asya-operator", "asya-crew", "asya-gateway"])
def test_names_of_a_long_release_fit_stay_distinct_and_keep_their_suffix(chart: str) -> None:
    long = "a" * 53
    short, rendered = (render(chart, [fullest(chart)], release=release) for release in ("a", long))
    names = [(item["kind"], item["metadata"]["name"]) for item in rendered.objects]
    assert len(set(names)) == len(names)
    assert [name for _, name in names if len(name) > 63] == []
    suffixes = [item["metadata"]["name"].removeprefix(f"a-{chart}") for item in short.objects]
    assert all(name.endswith(suffix) for (_, name), suffix in zip(names, suffixes, strict=True) if suffix.startswith("-"))


@pytest.mark.point(28)
@pytest.mark.parametrize(("chart", "file"), set_ups(), ids=spoken)
def test_every_object_has_the_recommended_labels(chart: str, file: Path) -> None:
    for item in render(chart, [file]).objects:
        assert item["metadata"]["labels"].keys() >= RECOMMENDED, item["metadata"]["name"]
        if item["kind"] == "AsyncActor":
            assert item["metadata"]["labels"]["asya.sh/actor"] == item["metadata"]["name"]


@pytest.mark.point(29)
def test_selectors_are_the_recorded_ones() -> None:
    found = {f"{chart}/{file.stem}": dict(selectors(render(chart, [file]))) for chart, file in set_ups()}
    found = {name: selected for name, selected in found.items() if selected}
    assert yamls.read((GOLDEN / "selectors.yaml").read_text()) == found, "a changed selector cannot be applied to what runs"


@pytest.mark.point(30)
@pytest.mark.parametrize(("chart", "file"), set_ups(), ids=spoken)
def test_selectors_and_pods_hold_nothing_that_changes_with_a_version(chart: str, file: Path) -> None:
    rendered = render(chart, [file])
    for where, selected in selectors(rendered):
        assert set(selected) <= {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")} | {"asya.sh/actor"}, where
    for item in rendered.objects:
        template = item["spec"]["template"] if item["kind"] == "Deployment" else None
        if item["kind"] == "AsyncActor":
            template = item["spec"]["workload"]["template"]
        labels = (template or {}).get("metadata", {}).get("labels", {})
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def matches(value: str | None, wanted: str) -> bool:
    return value is not None if wanted == "Exists" else value == wanted


@pytest.mark.point(31)
def test_a_selector_matches_the_pods_of_its_own_actor_and_no_other() -> None:
    more = {"pdb": {"enabled": True}, "scaling": {"minReplicas": 2}, "podMonitor": {"enabled": True, "renderMode": "alwaysRender"}}
    rendered = {name: render("asya-actor", [MINIMAL["asya-actor"], more], release=name) for name in ("ocr", "ocr-fast")}
    settings = default_settings()
    made = {name: made_workload(found.one("AsyncActor"), settings) for name, found in rendered.items()}
    pods = {name: workload["spec"]["template"]["metadata"]["labels"] for name, workload in made.items()}
    operator = render("asya-operator", [fullest("asya-operator")])
    pods["operator"] = operator.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    pods["check"] = operator.one("Pod")["metadata"]["labels"]
    gateway = render("asya-gateway", [fullest("asya-gateway")])
    pods["gateway"] = gateway.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    pods["gateway check"] = gateway.one("Pod")["metadata"]["labels"]
    matched = {
        (owner, where): {name for name, labels in pods.items() if all(matches(labels.get(key), wanted) for key, wanted in selected.items())}
        for owner, found in {**rendered, "operator": operator, "gateway": gateway}.items()
        for where, selected in selectors(found)
    }
    assert len(matched) == 4 + 5 + 6
    assert matched.pop(("operator", "PodMonitor/asya-operator-actors")) == {"ocr", "ocr-fast"}
    checks = {"operator": "check", "gateway": "gateway check"}
    for (owner, where), names in matched.items():
        assert names == ({owner, checks[owner]} if where.startswith("NetworkPolicy") else {owner}), where
    assert made["ocr"]["spec"]["selector"]["matchLabels"] == {"asya.sh/actor": "ocr"}


@pytest.mark.point(32)
@pytest.mark.parametrize("tag", ["1.0.0+build.7", "v" * 80, "feature_x-", "_odd", "2026.1"])
def test_the_version_label_is_legal_whatever_the_tag(tag: str, engine: str) -> None:
    labels = render("asya-actor", [MINIMAL["asya-actor"], {"image": {"tag": tag}}], engine=engine).one("AsyncActor")["metadata"]["labels"]
    assert LABEL_VALUE.fullmatch(labels["app.kubernetes.io/version"])
    assert labels["app.kubernetes.io/version"]


@pytest.mark.point(32)
@pytest.mark.parametrize(("chart", "file"), set_ups(), ids=spoken)
def test_all_label_values_are_legal_texts(chart: str, file: Path) -> None:
    for item in render(chart, [file]).objects:
        for name, value in item["metadata"]["labels"].items():
            assert isinstance(value, str), name
            assert LABEL_VALUE.fullmatch(value), f"{name}: {value}"


@pytest.mark.point(33)
@pytest.mark.parametrize(("chart", "file"), set_ups(), ids=spoken)
def test_namespaced_objects_name_their_namespace_and_cluster_wide_ones_none(chart: str, file: Path) -> None:
    for item in render(chart, [file], namespace="somewhere").objects:
        namespace = item["metadata"].get("namespace")
        if item["kind"] in CLUSTER_KINDS:
            assert namespace is None
        elif item["kind"] in ("Role", "RoleBinding") and not item["metadata"]["name"].endswith("-lease"):
            assert namespace in ("team-a", "team-b")
        else:
            assert namespace == "somewhere", item["metadata"]["name"]
