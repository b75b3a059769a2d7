"""G. Network and observability."""

import json
import re
from typing import Any

import pytest
import yaml

from asya_operator.metrics import Metrics
from asya_sidecar.metrics import SidecarMetrics
from tests.charts.render import CHARTS, MINIMAL, MONITORING, ROOT, Refused, containers, pod_specs, render

OPERATOR = MINIMAL["asya-operator"]
FILES = CHARTS / "asya-operator" / "files"
DOCS = "https://asya.sh/docs/"


def egress(document: dict[str, Any]) -> set[tuple[str, str, int]]:
    """(destination, protocol, port) that remain allowed."""
    on = {"networkPolicy": {"enabled": True}}
    policy = render("asya-operator", [OPERATOR, on, document]).one("NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Egress", "Ingress"]
    return {
        (json.dumps(rule.get("to", "any")), port["protocol"], port["port"]) for rule in policy["spec"]["egress"] for port in rule["ports"]
    }


DNS = {('"any"', "UDP", 53), ('"any"', "TCP", 53)}
API = {('"any"', "TCP", 443), ('"any"', "TCP", 6443)}


@pytest.mark.point(60)
def test_name_service_api_server_and_broker_remain_reachable() -> None:
    assert egress({}) == DNS | API | {('"any"', "TCP", 5672), ('"any"', "TCP", 15672)}
    https = {"transports": {"rabbitmq": {"port": 5671, "managementUrl": "https://rabbitmq.mq.svc"}}}
    assert egress(https) == DNS | API | {('"any"', "TCP", 5671), ('"any"', "TCP", 443)}
    local = {
        "transports": {
            "default": "sqs",
            "rabbitmq": {"enabled": False},
            "sqs": {"enabled": True, "region": "x", "endpoint": "http://sqs:4566"},
        }
    }
    assert egress(local) == DNS | API | {('"any"', "TCP", 4566)}


@pytest.mark.point(60)
def test_the_api_servers_address_narrows_its_rule_and_users_may_add_rules() -> None:
    document = {
        "networkPolicy": {
            "apiServerCidr": "10.0.0.1/32",
            "extraEgress": {"proxy": {"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}], "ports": [{"port": 3128, "protocol": "TCP"}]}},
        }
    }
    narrow = '[{"ipBlock": {"cidr": "10.0.0.1/32"}}]'
    found = egress(document)
    assert {(narrow, "TCP", 443), (narrow, "TCP", 6443), ('[{"ipBlock": {"cidr": "10.9.0.0/16"}}]', "TCP", 3128)} <= found
    assert not API & found


@pytest.mark.point(60)
def test_the_pairs_of_the_policy_are_in_the_documentation() -> None:
    page = (ROOT / "docs" / "reference" / "charts.md").read_text()
    for _, protocol, port in egress({}):
        assert f"| {port}/{protocol} |" in page


MONITORS = [
    ("asya-actor", "podMonitor", "PodMonitor"),
    ("asya-operator", "metrics.podMonitor", "PodMonitor"),
    ("asya-operator", "metrics.rules", "PrometheusRule"),
]


@pytest.mark.point(61)
@pytest.mark.parametrize(("chart", "key", "kind"), MONITORS)
def test_render_modes_with_and_without_the_api(chart: str, key: str, kind: str, engine: str) -> None:
    def count(mode: str, apis: tuple[str, ...] = ()) -> int:
        options = ["--set", f"{key}.enabled=true,{key}.renderMode={mode}"]
        return len(render(chart, MINIMAL[chart], engine=engine, apis=apis, options=options).of(kind))

    assert count("skipIfMissing") == 0
    assert count("skipIfMissing", MONITORING) == 1
    assert count("failIfMissing", MONITORING) == 1
    assert count("alwaysRender") == 1
    with pytest.raises(Refused, match=r"the cluster does not know monitoring\.coreos\.com/v1"):
        count("failIfMissing")
    assert render(chart, MINIMAL[chart], engine=engine, apis=MONITORING).of(kind) == []


def exported() -> set[str]:
    """Names of all metrics that operator and sidecar have."""
    texts = (Metrics().registry.text(), SidecarMetrics("a").registry.text())
    return {name for text in texts for name in re.findall(r"^# TYPE (\S+)", text, re.M)}


def used(expression: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\basya_\w+", expression)}


@pytest.mark.point(62)
def test_alerts_use_exported_metrics_and_have_all_their_texts() -> None:
    (group,) = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    assert len(group["rules"]) >= 5
    for rule in group["rules"]:
        assert used(rule["expr"])
        assert used(rule["expr"]) <= exported(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()


@pytest.mark.point(62)
def test_runbooks_resolve() -> None:
    for rule in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"][0]["rules"]:
        page, _, anchor = rule["annotations"]["runbook_url"].removeprefix(DOCS).partition("#")
        headings = re.findall(r"^## (.+)$", (ROOT / "docs" / f"{page}.md").read_text(), re.M)
        assert anchor in [heading.lower() for heading in headings], rule["alert"]


@pytest.mark.point(62)
def test_alerts_reach_the_rule_untouched_by_helm(engine: str) -> None:
    options = ["--set", "metrics.rules.enabled=true,metrics.rules.renderMode=alwaysRender"]
    found = render("asya-operator", OPERATOR, engine=engine, options=options).one("PrometheusRule")
    assert found["spec"] == yaml.safe_load((FILES / "alerts.yaml").read_text())


@pytest.mark.point(63)
def test_the_dashboard_shows_exported_metrics_of_any_data_source(engine: str) -> None:
    found = render("asya-operator", OPERATOR, engine=engine, options=["--set", "metrics.dashboard.enabled=true"])
    config = found.one("ConfigMap", "asya-operator-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["asya.json"])
    assert dashboard["uid"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert used(target["expr"])
            assert used(target["expr"]) <= exported(), panel["title"]
    for variable in dashboard["templating"]["list"]:
        assert used(str(variable["query"])) <= exported()


@pytest.mark.point(64)
def test_ports_are_named_and_monitors_name_them() -> None:
    rendered = render(
        "asya-operator", OPERATOR, options=["--set", "metrics.podMonitor.enabled=true,metrics.podMonitor.renderMode=alwaysRender"]
    )
    names = {port["name"] for _, pod in pod_specs(rendered) for container in containers(pod) for port in container.get("ports", [])}
    assert names == {"metrics"}
    assert {point["port"] for point in rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]} == names
