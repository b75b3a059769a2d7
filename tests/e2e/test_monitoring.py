"""A Prometheus follows the PodMonitors: after some work it has every documented metric, and every query of the dashboards gives data."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asya_gateway.status import FINAL
from tests.charts.render import render
from tests.e2e.conftest import OPERATOR_VALUES
from tests.e2e.prometheus import ON_SQS, SCRAPE, Prometheus, operator_monitors
from tests.e2e.stage import CLAIM, QUICK, Stage
from tests.e2e.waiting import eventually
from tests.monitoring import alerts, dashboards, labels, queries, used

pytestmark = pytest.mark.timeout(900)

PASSING = "def process(payload):\n    return payload\n"
PICKY = "def process(payload):\n    return payload['wanted'] and payload\n"
FLOW = {"first": (PASSING, "start"), "picky": (PICKY, "handler"), "last": (PASSING, "end")}
ROUTE = list(FLOW)
AWAKE = {"scaling": {**QUICK["scaling"], "minReplicas": 1}}


def monitors(stage: Stage, operator: str) -> list[dict[str, Any]]:
    """Of the operator, of all actors that it watches in this namespace, of the gateway, and that of one actor's own."""
    gateway = {"rabbitmq": {"host": "rabbitmq.infra.svc"}, "metrics": {"podMonitor": {**SCRAPE, "enabled": True}}}
    first = {"handler": "first.process", "source": {"files": {"first.py": PASSING}}, "podMonitor": {**SCRAPE, "enabled": True}}
    return [
        *operator_monitors(operator, stage.namespace),
        render("asya-gateway", gateway, namespace=stage.namespace).one("PodMonitor"),
        render("asya-actor", first, release="first", namespace=stage.namespace).one("PodMonitor"),
    ]


def rules() -> list[dict[str, Any]]:
    """Of operator and gateway."""
    on = {"metrics": {"rules": {"enabled": True, "renderMode": "alwaysRender"}}}
    gateway = {"rabbitmq": {"host": "rabbitmq.infra.svc"}}
    return [
        render("asya-operator", [OPERATOR_VALUES, on]).one("PrometheusRule"),
        render("asya-gateway", [gateway, on]).one("PrometheusRule"),
    ]


@pytest.fixture
def installed(stage: Stage) -> Stage:
    """A gateway, the end actors reporting to it, and a flow of three actors that stay awake."""
    tools = {"tools": {"flow": {"route": ROUTE, "description": "Three actors"}}}
    trial = {"rabbitmq": {"host": "rabbitmq.infra.svc"}, "auth": {"mode": "none", "allowAnonymous": True}, **tools}
    stage.helm.install(stage.namespace, "asya-gateway", "asya-gateway", values={**trial, "results": {"directory": {"claimName": CLAIM}}})
    for name, (source, role) in FLOW.items():
        values = {**QUICK, **AWAKE, "handler": f"{name}.process", "source": {"files": {f"{name}.py": source}}}
        values["labels"] = {"asya.sh/flow": "trial-flow", "asya.sh/role": role}
        stage.helm.install(stage.namespace, name, "asya-actor", values=values)
    stage.install_crew(gateway={"enabled": True})
    for name in (*FLOW, "happy-end", "error-end"):
        stage.await_pods(name, 1)
    return stage


@pytest.fixture
def prometheus(installed: Stage, operator: str, tmp_path: Path) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path, installed.kube, monitors=monitors(installed, operator), rules=rules())
    made.start()
    yield made
    print(made.stop())


class Gateway:
    """The gateway's pod, spoken to directly."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._address = eventually("the gateway is ready", self._ready)

    def _ready(self) -> str:
        pods = self._stage.kube.core.list_namespaced_pod(self._stage.namespace, label_selector="app.kubernetes.io/component=gateway").items
        ready = [pod for pod in pods if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])]
        return f"{ready[0].status.pod_ip}:8080" if ready else ""

    def call(self, payload: dict[str, Any], host: str = "localhost") -> dict[str, Any]:
        """Call the tool and wait for its end; gives the view, or the problem."""
        headers = {"Content-Type": "application/json", "Host": host, "Prefer": "wait=40"}
        request = urllib.request.Request(f"http://{self._address}/tools/flow", json.dumps(payload).encode(), headers)
        try:
            view = self._answer(request)
        except urllib.error.HTTPError as refused:
            return dict(json.loads(refused.read()))

        def final() -> dict[str, Any] | None:
            now = self._answer(urllib.request.Request(f"http://{self._address}/envelopes/{view['id']}", headers={"Host": host}))
            return now if now["status"] in FINAL else None

        return eventually("the call has ended", final)

    def _answer(self, request: urllib.request.Request) -> dict[str, Any]:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return dict(json.loads(answer.read()))


@pytest.mark.behaviour("metrics:scraped")
@pytest.mark.behaviour("metrics:dashboards")
def test_prometheus_has_every_documented_metric_and_every_query_of_the_dashboards_gives_data(
    installed: Stage, prometheus: Prometheus, operator: str
) -> None:
    namespace = installed.namespace
    gateway = Gateway(installed)
    prometheus.discover()
    first = {pod.metadata.name for pod in installed.kube.pods(namespace, "first")}
    # Each monitor is a job of its own, which scrapes for the first time when it likes.
    eventually("all sidecars are scraped", lambda: len(prometheus.scraped(f"{operator}/asya-operator-actors")) == len(FLOW) + 2)
    eventually("the first actor is scraped", lambda: prometheus.scraped(f"{namespace}/first") == first)
    eventually("the gateway is scraped", lambda: len(prometheus.scraped(f"{namespace}/asya-gateway")) == 1)
    eventually("the operator is scraped", lambda: len(prometheus.scraped(f"{operator}/asya-operator")) == 1)

    for number in range(3):
        assert gateway.call({"wanted": number + 1})["status"] == "succeeded"
    assert gateway.call({"unwanted": 1})["error"]["code"] == "handler_error"
    assert gateway.call({}, host="elsewhere.example.com")["code"] == "wrong_host"

    def lacking() -> set[str]:
        return labels().keys() - {name if name in labels() else name.rsplit("_", 1)[0] for name in prometheus.names()}

    eventually("every documented metric is there", lambda: lacking() == ON_SQS)
    # `namespace` of what the operator tells of a queue is the actor's, and its flow is told.
    waiting = f'asya_operator_queue_messages{{namespace="{namespace}",actor="picky",flow="trial-flow",state="waiting"}}'
    eventually("the operator tells of queues", lambda: prometheus.ask(waiting))

    asked = [(where, query) for found in dashboards().values() for where, query in queries(found) if not used(query) & ON_SQS]
    empty = [where for where, query in asked if not prometheus.has_answer(query)]
    assert empty == []
    ended = f'sum(asya_gateway_envelopes_ended_total{{namespace="{namespace}",status="succeeded"}})'
    eventually("the three that succeeded are told", lambda: [float(series["value"][1]) for series in prometheus.ask(ended)] == [3])

    every = {rule["alert"] for chart in ("asya-operator", "asya-gateway") for rule in alerts(chart)}
    eventually("every alert was looked at", lambda: prometheus.alerts().keys() == every)
    eventually("every alert could be looked at", lambda: {rule["health"] for rule in prometheus.alerts().values()} == {"ok"})
    # The operator tells of the actors of other stories, too; theirs may be in trouble.
    firing = [alert["labels"] for rule in prometheus.alerts().values() for alert in rule["alerts"] if alert["state"] == "firing"]
    ours = [labels for labels in firing if labels.get("namespace", namespace) in (namespace, operator)]
    assert ours == [], "one failed call is no alarm"
