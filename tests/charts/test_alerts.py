"""The charts' alerts: texts, runbooks, and for each a case in which promtool says that it fires and one in which it does not."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helms import ROOT
from tests.charts.render import MINIMAL, render
from tests.monitoring import alerts, labels, promtool, used

ALERTING = ("asya-operator", "asya-gateway")
DOCS = "https://asya.sh/docs/"


@pytest.mark.point(62)
@pytest.mark.parametrize("chart", ALERTING)
def test_alerts_use_documented_metrics_and_have_all_their_texts(chart: str) -> None:
    for rule in alerts(chart):
        assert used(rule["expr"])
        assert used(rule["expr"]) <= labels().keys(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()


@pytest.mark.point(62)
@pytest.mark.behaviour("metrics:alerts")
def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "how-to" / "alerts.md").read_text(), re.M)
    rules = [rule for chart in ALERTING for rule in alerts(chart)]
    assert {rule["alert"] for rule in rules} == set(headings)
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"{DOCS}how-to/alerts#{rule['alert'].lower()}"


@pytest.mark.point(62)
@pytest.mark.parametrize("chart", ALERTING)
def test_alerts_reach_the_rule_untouched_by_helm(chart: str, engine: str) -> None:
    (group,) = rule_of(chart, engine)["groups"]
    assert group["rules"] == alerts(chart)


def rule_of(chart: str, engine: str = "helm4") -> dict[str, Any]:
    options = ["--set", "metrics.rules.enabled=true,metrics.rules.renderMode=alwaysRender"]
    spec: dict[str, Any] = render(chart, MINIMAL[chart], engine=engine, options=options).one("PrometheusRule")["spec"]
    return spec


@dataclass(frozen=True, kw_only=True)
class Case:
    """Series, a sample a minute in promtool's notation, and what an alert makes of them.

    Attributes:
        alert: its name.
        series: samples by series.
        at: when it is looked at.
        fires: labels, but severity, of what fires then, with the summary that a person reads; empty: nothing does.
    """

    alert: str
    series: dict[str, str]
    at: str
    fires: list[tuple[dict[str, str], str]] = field(default_factory=list)


OF_OCR = {"namespace": "shop", "actor": "ocr"}
WAITING = 'asya_operator_queue_messages{namespace="shop",actor="ocr",state="waiting"}'
CONSUME = 'asya_sidecar_connected{namespace="shop",actor="ocr",link="consume",pod="POD"}'
DONE = 'asya_sidecar_deliveries_total{namespace="shop",actor="ocr",outcome="OUTCOME"}'
RUNNING = 'asya_sidecar_in_flight{namespace="shop",actor="ocr",state="running"}'
STUCK = (OF_OCR, "7 messages wait for ocr, and nobody works on them")
WRITES = 'asya_gateway_store_write_seconds_bucket{namespace="shop",le="LE"}'


def end(actor: str, outcome: str) -> str:
    return f'asya_sidecar_deliveries_total{{namespace="shop",actor="{actor}",outcome="{outcome}"}}'


CASES = {
    "asya-operator": [
        Case(
            alert="AsyaOperatorWithoutLeader",
            series={'asya_operator_leader{pod="a"}': "1x3 0x20"},
            at="12m",
            fires=[({}, "No Asya operator leads")],
        ),
        Case(alert="AsyaOperatorWithoutLeader", series={}, at="6m", fires=[({}, "No Asya operator leads")]),
        Case(
            alert="AsyaOperatorWithoutLeader",
            series={'asya_operator_leader{pod="a"}': "0x20", 'asya_operator_leader{pod="b"}': "1x8 _x2 1x10"},
            at="15m",
        ),
        Case(
            alert="AsyaActorsNotReady",
            series={
                'asya_operator_actors{ready="False",reason="ImagePullFailed"}': "2x20",
                'asya_operator_actors{ready="True",reason="Napping"}': "5x20",
            },
            at="16m",
            fires=[({"reason": "ImagePullFailed"}, "2 actors are not ready: ImagePullFailed")],
        ),
        Case(alert="AsyaActorsNotReady", series={'asya_operator_actors{ready="False",reason="Starting"}': "1x5 0x2 1x10 0x10"}, at="17m"),
        Case(
            alert="AsyaSidecarDisconnected",
            series={CONSUME.replace("POD", "a"): "1x10", CONSUME.replace("POD", "b"): "1x2 0x10"},
            at="9m",
            fires=[({**OF_OCR, "link": "consume"}, "A sidecar of ocr has no consume link to the broker")],
        ),
        Case(alert="AsyaSidecarDisconnected", series={CONSUME.replace("POD", "a"): "1x2 0x3 1x5"}, at="9m"),
        Case(
            alert="AsyaBrokerBlocked",
            series={'asya_sidecar_blocked{namespace="shop",actor="ocr"}': "0 1x15"},
            at="12m",
            fires=[(OF_OCR, "The broker takes no messages from ocr")],
        ),
        Case(alert="AsyaBrokerBlocked", series={'asya_sidecar_blocked{namespace="shop",actor="ocr"}': "1x8 0x8"}, at="12m"),
        Case(
            alert="AsyaErrors",
            series={'asya_sidecar_errors_total{namespace="shop",actor="ocr",code="handler_error"}': "0+1x30"},
            at="15m",
            fires=[({**OF_OCR, "code": "handler_error"}, "ocr sends envelopes to error-end: handler_error")],
        ),
        Case(
            alert="AsyaErrors",
            series={'asya_sidecar_errors_total{namespace="shop",actor="ocr",code="handler_error"}': "0x2 3x30"},
            at="15m",
        ),
        Case(
            alert="AsyaRuntimeRestarts",
            series={'asya_sidecar_runtime_restarts_total{namespace="shop",actor="ocr",reason="crash"}': "0x2 1 3 5x12"},
            at="16m",
            fires=[({**OF_OCR, "reason": "crash"}, "The handler of ocr died or was stopped 5 times in 15 minutes")],
        ),
        Case(
            alert="AsyaRuntimeRestarts",
            series={'asya_sidecar_runtime_restarts_total{namespace="shop",actor="ocr",reason="crash"}': "0x2 1 3x12"},
            at="16m",
        ),
        Case(alert="AsyaQueueStuck", series={WAITING: "0x2 7x40"}, at="35m", fires=[STUCK]),
        Case(
            alert="AsyaQueueStuck",
            series={
                WAITING: "0x2 7x40",
                DONE.replace("OUTCOME", "requeue"): "0+1x40",
                DONE.replace("OUTCOME", "ok"): "9x40",
                RUNNING: "0x40",
            },
            at="35m",
            fires=[STUCK],
        ),
        Case(alert="AsyaQueueStuck", series={WAITING: "7x40", DONE.replace("OUTCOME", "ok"): "0x10 0+1x30", RUNNING: "0x40"}, at="35m"),
        Case(alert="AsyaQueueStuck", series={WAITING: "7x40", DONE.replace("OUTCOME", "ok"): "9x40", RUNNING: "1x40"}, at="35m"),
        Case(alert="AsyaQueueStuck", series={WAITING: "7x10 0 7x29"}, at="20m"),
        Case(
            alert="AsyaResultsNotStored",
            series={end("happy-end", "retry"): "0+2x30", end("ocr", "retry"): "0+2x30"},
            at="20m",
            fires=[({"namespace": "shop", "actor": "happy-end"}, "happy-end of namespace shop cannot store results or report them")],
        ),
        Case(alert="AsyaResultsNotStored", series={end("happy-end", "retry"): "0x2 1x30", end("happy-end", "ok"): "0+9x30"}, at="20m"),
        Case(
            alert="AsyaDeadLetters",
            series={end("error-end", "error"): "0x5 1x60"},
            at="10m",
            fires=[({"namespace": "shop"}, "error-end of namespace shop gave up on records")],
        ),
        Case(alert="AsyaDeadLetters", series={end("error-end", "ok"): "0+1x60", end("error-end", "error"): "0x60"}, at="10m"),
        Case(
            alert="AsyaReconcileErrors",
            series={'asya_operator_reconciles_total{pod="a",outcome="error"}': "0+1x60"},
            at="20m",
            fires=[({}, "Reconciles end in a fault of the operator's own")],
        ),
        Case(alert="AsyaReconcileErrors", series={'asya_operator_reconciles_total{pod="a",outcome="conflict"}': "0+1x60"}, at="20m"),
    ],
    "asya-gateway": [
        Case(
            alert="AsyaGatewayBrokerAway",
            series={'asya_gateway_outbox_oldest_seconds{namespace="shop"}': "0 1+60x10"},
            at="4m",
            fires=[({"namespace": "shop"}, "Calls of namespace shop have waited 181 s for the broker")],
        ),
        Case(alert="AsyaGatewayBrokerAway", series={'asya_gateway_outbox_oldest_seconds{namespace="shop"}': "0 59x10"}, at="6m"),
        Case(
            alert="AsyaGatewayToolsRefused",
            series={'asya_gateway_tools_refused{namespace="shop"}': "1x10"},
            at="6m",
            fires=[({"namespace": "shop"}, "The gateway of namespace shop refuses its tools' file")],
        ),
        Case(alert="AsyaGatewayToolsRefused", series={'asya_gateway_tools_refused{namespace="shop"}': "1x3 0x10"}, at="6m"),
        Case(
            alert="AsyaGatewayFailures",
            series={
                'asya_gateway_envelopes_ended_total{namespace="shop",status="failed"}': "0+1x30",
                'asya_gateway_envelopes_ended_total{namespace="shop",status="succeeded"}': "0+9x30",
            },
            at="15m",
            fires=[({"namespace": "shop", "status": "failed"}, "Calls of namespace shop end without a result: failed")],
        ),
        Case(
            alert="AsyaGatewayFailures",
            series={
                'asya_gateway_envelopes_ended_total{namespace="shop",status="cancelled"}': "0+1x30",
                'asya_gateway_envelopes_ended_total{namespace="shop",status="failed"}': "0x2 1x30",
            },
            at="15m",
        ),
        Case(
            alert="AsyaGatewayStoreSlow",
            series={WRITES.replace("LE", "1"): "0x30", WRITES.replace("LE", "2.5"): "0+9x30", WRITES.replace("LE", "+Inf"): "0+9x30"},
            at="25m",
            fires=[({"namespace": "shop"}, "The gateway of namespace shop waits for its store")],
        ),
        Case(
            alert="AsyaGatewayStoreSlow",
            series={WRITES.replace("LE", "1"): "0+9x30", WRITES.replace("LE", "2.5"): "0+9x30", WRITES.replace("LE", "+Inf"): "0+9x30"},
            at="25m",
        ),
    ],
}


@pytest.mark.point(62)
@pytest.mark.parametrize("chart", ALERTING)
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(chart: str) -> None:
    assert {case.alert for case in CASES[chart] if case.fires} == {rule["alert"] for rule in alerts(chart)}
    assert {case.alert for case in CASES[chart] if not case.fires} == {rule["alert"] for rule in alerts(chart)}


@pytest.mark.point(62)
@pytest.mark.behaviour("metrics:alerts")
@pytest.mark.parametrize("chart", ALERTING)
def test_alerts_fire_when_they_should_and_are_silent_else(chart: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_of(chart)))
    tests = [written(case, chart) for case in CASES[chart]]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    promtool("check", "rules", "rules.yaml", folder=tmp_path)
    promtool("test", "rules", "tests.yaml", folder=tmp_path)


def written(case: Case, chart: str) -> dict[str, Any]:
    """As promtool reads it."""
    rule = next(rule for rule in alerts(chart) if rule["alert"] == case.alert)
    expected = [
        {
            "exp_labels": {**found, "severity": rule["labels"]["severity"]},
            "exp_annotations": {
                "summary": summary,
                "description": filled(rule["annotations"]["description"], found),
                "runbook_url": rule["annotations"]["runbook_url"],
            },
        }
        for found, summary in case.fires
    ]
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": samples} for series, samples in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def filled(text: str, found: dict[str, str]) -> str:
    """`text` with its labels."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: found[match[1]], text)
