"""The charts' Grafana dashboards: what they use, how they are installed. That queries return data shows tests/e2e/test_monitoring.py."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.charts.render import MINIMAL, render
from tests.monitoring import CHARTS, dashboards, labels, promtool, queries, used

UIDS = ("asya-actor", "asya-flow", "asya-gateway", "asya-operator")


@pytest.mark.point(63)
@pytest.mark.parametrize("chart", ["asya-operator", "asya-gateway"])
def test_dashboards_are_a_labelled_config_map_off_by_default(chart: str, engine: str) -> None:
    assert not [found for found in render(chart, MINIMAL[chart], engine=engine).of("ConfigMap") if "dashboard" in found["metadata"]["name"]]
    set_ = ["--set", "metrics.dashboard.enabled=true,metrics.dashboard.annotations.grafana_folder=Asya"]
    config = render(chart, MINIMAL[chart], engine=engine, options=set_).one("ConfigMap", f"{chart}-dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"grafana_folder": "Asya"}
    files = {path.name: json.loads(path.read_text()) for path in (CHARTS / chart / "files" / "dashboards").iterdir()}
    assert {name: json.loads(text) for name, text in config["data"].items()} == files
    assert all(name == f"{found['uid']}.json" for name, found in files.items())


@pytest.mark.point(63)
@pytest.mark.parametrize("uid", UIDS)
def test_a_dashboard_has_no_fixed_data_source_and_tells_of_each_panel(uid: str) -> None:
    assert sorted(dashboards()) == list(UIDS)
    found = dashboards()[uid]
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    text = json.dumps(found)
    assert set(re.findall(r'"type": "prometheus", "uid": "([^"]*)"', text)) == {"${datasource}"}
    known = {variable["name"] for variable in found["templating"]["list"]} | {"datasource", "__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", text)) <= known


@pytest.mark.point(63)
@pytest.mark.behaviour("metrics:dashboards")
@pytest.mark.parametrize("uid", UIDS)
def test_a_dashboard_uses_documented_metrics_and_their_labels_only(uid: str) -> None:
    for where, query in queries(dashboards()[uid]):
        names = used(query)
        assert names, where
        assert names <= labels().keys(), where
        own = set[str].union(*(labels()[name] for name in names))
        matched = {label for block in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", block)}
        grouped = {label for block in re.findall(r"by \(([^)]*)\)", query) for label in re.findall(r"\w+", block)}
        assert matched | grouped <= own, where
        legend = set(re.findall(r"\{\{(\w+)\}\}", where))
        assert legend <= grouped, where


@pytest.mark.point(63)
def test_every_documented_metric_is_drawn_somewhere() -> None:
    drawn = {name for found in dashboards().values() for _, query in queries(found) for name in used(query)}
    assert drawn == labels().keys()


@pytest.mark.point(63)
def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    found = [query for each in dashboards().values() for _, query in queries(each)]
    rules = [{"record": f"q:{number}", "expr": query.replace("$__rate_interval", "1m")} for number, query in enumerate(found)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", "queries.yaml", folder=tmp_path)


@pytest.mark.point(63)
@pytest.mark.parametrize("uid", UIDS)
def test_grafana_knows_every_key_of_a_dashboard(uid: str) -> None:
    """By the model of Grafana 10.1 that its makers publish, with that of Prometheus' queries: what it does not know it leaves out."""
    register_default_plugins()
    given = dashboards()[uid]
    assert list(left_out(given, json.loads(JSONEncoder().encode(Dashboard.from_json(given))))) == []


def test_a_key_that_grafana_does_not_know_is_found() -> None:
    register_default_plugins()
    given = dashboards()["asya-flow"]
    given["panels"][1]["targets"][0]["query"] = "up"
    given["tittle"] = "Flow"
    found = list(left_out(given, json.loads(JSONEncoder().encode(Dashboard.from_json(given)))))
    assert sorted(found) == [".panels.1.targets.0.query", ".tittle"]


def left_out(given: Any, taken: Any, path: str = "") -> Iterator[str]:
    """Where `taken` lacks something of `given` or has another value."""
    inner = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    if not inner and given != taken:
        yield path
    for key, value in inner:
        is_there = key in taken if isinstance(given, dict) else key < len(taken)
        if is_there:
            yield from left_out(value, taken[key], f"{path}.{key}")
        else:
            yield f"{path}.{key}"
