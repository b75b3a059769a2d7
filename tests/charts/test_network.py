"""G. Network and observability."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import yamls
from tests.charts.helms import ROOT, Refused
from tests.charts.render import MINIMAL, MONITORING, containers, pod_specs, render
from tests.monitoring import from_file, promtool, scrape_job

OPERATOR = MINIMAL["asya-operator"]


def egress(document: dict[str, Any], chart: str = "asya-operator") -> set[tuple[str, str, int]]:
    """(destination, protocol, port) that remain allowed."""
    on = {"networkPolicy": {"enabled": True}}
    policy = render(chart, [MINIMAL[chart], on, document]).one("NetworkPolicy")
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


POSTGRES = {"store": {"type": "postgres", "postgres": {"existingSecret": {"name": "db"}}}}
OAUTH = {"auth": {"mode": "oauth", "oauth": {"issuer": "i", "audience": "a", "jwksUrl": "https://login.example.com:8443/keys"}}}


@pytest.mark.point(60)
def test_a_gateway_reaches_its_broker_store_issuers_and_storage() -> None:
    own = '[{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "asya-gateway", "app.kubernetes.io/name": "asya-gateway"}}}]'
    always = DNS | {(own, "TCP", 8080), (own, "TCP", 8081)}
    broker = {('"any"', "TCP", 5672)}
    assert egress({}, "asya-gateway") == always | broker | API
    assert egress({"internal": {"auth": "key"}}, "asya-gateway") == always | broker
    assert egress({"rabbitmq": {"port": 5671}, **POSTGRES}, "asya-gateway") == always | API | {
        ('"any"', "TCP", 5671),
        ('"any"', "TCP", 5432),
    }
    assert egress(OAUTH, "asya-gateway") == always | broker | API | {('"any"', "TCP", 8443)}
    for endpoint, port in (("", 443), ("http://minio:9000", 9000), ("https://minio", 443)):
        s3 = {"internal": {"auth": "key"}, "results": {"s3": {"bucket": "b", "endpoint": endpoint}}}
        assert egress(s3, "asya-gateway") == always | broker | {('"any"', "TCP", port)}
    sqs = {
        "internal": {"auth": "key"},
        "transport": "sqs",
        "sqs": {"region": "x"},
        "claims": {"url": "s3://a", "endpoint": "http://minio:9000"},
    }
    assert egress(sqs, "asya-gateway") == always | {('"any"', "TCP", 443), ('"any"', "TCP", 9000)}
    issuer = {"internal": {"jwksUrl": "http://issuer/keys"}}
    assert egress(issuer, "asya-gateway") == always | broker | {('"any"', "TCP", 80)}


@pytest.mark.point(60)
def test_callers_reach_the_public_port_of_a_gateway_and_actors_the_internal_one(engine: str) -> None:
    document = {
        "networkPolicy": {"enabled": True, "internalFrom": {"metrics": {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}}}
    }
    anybody, inside = render("asya-gateway", [MINIMAL["asya-gateway"], document], engine=engine).one("NetworkPolicy")["spec"]["ingress"]
    assert anybody == {"ports": [{"port": "http", "protocol": "TCP"}]}
    assert inside["ports"] == [{"port": "internal", "protocol": "TCP"}]
    actors, _, metrics = inside["from"]
    assert actors == {"podSelector": {"matchExpressions": [{"key": "asya.sh/actor", "operator": "Exists"}]}}
    assert metrics == document["networkPolicy"]["internalFrom"]["metrics"]


@pytest.mark.point(60)
def test_the_pairs_of_the_policies_are_in_the_documentation() -> None:
    page = (ROOT / "docs" / "reference" / "charts.md").read_text()
    for _, protocol, port in egress({}) | egress({**POSTGRES, **OAUTH}, "asya-gateway"):
        assert f"| {port}/{protocol} |" in page or port == 8443


MONITORS = [
    ("asya-actor", "podMonitor", "enabled", "PodMonitor"),
    ("asya-operator", "metrics.podMonitor", "enabled", "PodMonitor"),
    ("asya-operator", "metrics.podMonitor", "actors", "PodMonitor"),
    ("asya-operator", "metrics.rules", "enabled", "PrometheusRule"),
    ("asya-gateway", "metrics.podMonitor", "enabled", "PodMonitor"),
    ("asya-gateway", "metrics.rules", "enabled", "PrometheusRule"),
]


@pytest.mark.point(61)
@pytest.mark.parametrize(("chart", "key", "switch", "kind"), MONITORS)
def test_render_modes_with_and_without_the_api(chart: str, key: str, switch: str, kind: str, engine: str) -> None:
    def count(mode: str, apis: tuple[str, ...] = ()) -> int:
        options = ["--set", f"{key}.{switch}=true,{key}.renderMode={mode}"]
        return len(render(chart, MINIMAL[chart], engine=engine, apis=apis, options=options).of(kind))

    assert count("skipIfMissing") == 0
    assert count("skipIfMissing", MONITORING) == 1
    assert count("failIfMissing", MONITORING) == 1
    assert count("alwaysRender") == 1
    with pytest.raises(Refused, match=r"the cluster does not know monitoring\.coreos\.com/v1"):
        count("failIfMissing")
    assert render(chart, MINIMAL[chart], engine=engine, apis=MONITORING).of(kind) == []


@pytest.mark.point(61)
def test_the_sidecars_of_all_actors_are_scraped_where_the_operator_watches(engine: str) -> None:
    def monitor(**more: Any) -> dict[str, Any]:
        on = {"metrics": {"podMonitor": {"actors": True, "renderMode": "alwaysRender"}}}
        spec: dict[str, Any] = render("asya-operator", [OPERATOR, on, more], engine=engine).one("PodMonitor", "asya-operator-actors")[
            "spec"
        ]
        return spec

    assert monitor()["namespaceSelector"] == {"any": True}
    chosen = {"scope": "namespace", "namespaces": {"shop": True, "media": True, "old": False}}
    assert monitor(watch=chosen)["namespaceSelector"] == {"matchNames": ["media", "shop"]}
    of_one = {"podMonitor": {"enabled": True, "renderMode": "alwaysRender"}}
    one = render("asya-actor", [MINIMAL["asya-actor"], of_one], engine=engine).one("PodMonitor")["spec"]
    assert monitor()["podMetricsEndpoints"] == one["podMetricsEndpoints"], "an actor's own monitor scrapes in the same way"


@pytest.mark.point(60)
def test_the_gateway_may_send_spans_to_the_port_that_it_is_given() -> None:
    tracing = {"tracing": {"endpoint": "http://otel-collector.monitoring.svc:4318"}}
    assert egress(tracing, "asya-gateway") - egress({}, "asya-gateway") == {('"any"', "TCP", 4318)}


@pytest.mark.point(61)
def test_the_scrape_jobs_of_the_documentation_are_those_of_the_monitors(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    (block,) = re.findall(r"^```yaml\n(scrape_configs:\n.*?)^```", text, re.M | re.S)
    on = {"metrics": {"podMonitor": {"enabled": True, "renderMode": "alwaysRender"}}}
    actors = {"metrics": {"podMonitor": {"actors": True}}}
    operator = render("asya-operator", [OPERATOR, on, actors], namespace="asya-system")
    gateway = render("asya-gateway", [MINIMAL["asya-gateway"], on], namespace="demo")
    monitors = [operator.one("PodMonitor", "asya-operator-actors"), operator.one("PodMonitor", "asya-operator"), gateway.one("PodMonitor")]
    unsaid = {"honor_labels": False, "metrics_path": "/metrics"}
    assert [unsaid | job for job in yamls.read(block)["scrape_configs"]] == [scrape_job(monitor) for monitor in monitors]
    readable = [from_file(job, tmp_path / "targets.json") for job in yamls.read(block)["scrape_configs"]]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump({"scrape_configs": readable}))
    promtool("check", "config", "prometheus.yaml", folder=tmp_path)


@pytest.mark.point(64)
@pytest.mark.parametrize(("chart", "known"), [("asya-operator", {"metrics"}), ("asya-gateway", {"http", "internal"})])
def test_ports_are_named_and_monitors_name_them(chart: str, known: set[str]) -> None:
    options = ["--set", "metrics.podMonitor.enabled=true,metrics.podMonitor.renderMode=alwaysRender"]
    rendered = render(chart, MINIMAL[chart], options=options)
    names = {port["name"] for _, pod in pod_specs(rendered) for container in containers(pod) for port in container.get("ports", [])}
    assert names == known
    (point,) = rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert point["port"] == ("metrics" if chart == "asya-operator" else "internal")
