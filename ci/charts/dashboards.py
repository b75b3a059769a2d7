"""Writes the charts' Grafana dashboards: charts/*/files/dashboards/*.json. Called by ci/generate.sh.

Here is what is drawn, one line per panel; the JSON is Grafana's own model (schema version 39, Grafana 10 and later) and needs no plugin.
What a query may use is checked by tests/charts/test_dashboards.py, that it returns data by tests/e2e/test_monitoring.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing.

    Attributes:
        title: of it.
        tells: what a reader learns from it.
        queries: PromQL by legend. ``SEL`` is the dashboard's selector, ``[R]`` the range that Grafana derives.
        unit: as Grafana names it.
    """

    title: str
    tells: str
    queries: dict[str, str]
    unit: str = "short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard: all, or some of the values of a label.

    Attributes:
        name: of variable and label.
        query: the series whose label it is.
        every: regular expression that "All" stands for.
    """

    name: str
    query: str
    every: str = ".*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One file: `chart` has it, `uid` names it; `selector` is what ``SEL`` in its queries means."""

    chart: str
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    selector: str
    panels: tuple[Panel, ...]


def quantile(share: str, histogram: str, by: str) -> str:
    """That share of the observations was quicker."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({histogram}_bucket{{SEL}}[R])))"


NAMESPACE = Variable(name="namespace", query="asya_sidecar_connected")

ACTOR = Dashboard(
    chart="asya-operator",
    uid="asya-actor",
    title="Asya / Actor",
    description="What actors do: their queues, deliveries, times, errors, and their ways to broker and gateway.",
    variables=(NAMESPACE, Variable(name="actor", query='asya_sidecar_connected{namespace=~"$namespace"}')),
    selector='namespace=~"$namespace",actor=~"$actor"',
    panels=(
        Panel(
            title="Messages in the queue",
            tells="Waiting: nobody has them yet. Running: a pod has them and has not settled them. Known for sleeping actors too.",
            queries={"{{actor}} {{state}}": "sum by (actor, state) (asya_operator_queue_messages{SEL})"},
        ),
        Panel(
            title="Pods",
            tells="Sidecars that are scraped. None: the actor sleeps, or its PodMonitor is missing.",
            queries={"{{actor}}": "count by (actor) (asya_sidecar_prefetch{SEL})"},
        ),
        Panel(
            title="Deliveries",
            tells="Settled per second. retry: comes again later; requeue: given back untouched; dropped: a copy of one that is done.",
            queries={"{{actor}} {{outcome}}": "sum by (actor, outcome) (rate(asya_sidecar_deliveries_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Errors",
            tells="Records that went to error-end or to a catch of the flow, by code.",
            queries={"{{actor}} {{code}}": "sum by (actor, code) (rate(asya_sidecar_errors_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Time in the handler",
            tells="One call. What comes near the actor's timeout will be stopped by it.",
            queries={
                "{{actor}} half": quantile("0.5", "asya_sidecar_handler_seconds", "actor"),
                "{{actor}} 95 %": quantile("0.95", "asya_sidecar_handler_seconds", "actor"),
            },
            unit="s",
        ),
        Panel(
            title="Time of a hop",
            tells="From receipt to ack: the wait for the handler, the handler, and the publish. Its wait in the queue comes before that.",
            queries={
                "{{actor}} half": quantile("0.5", "asya_sidecar_hop_seconds", "actor"),
                "{{actor}} 95 %": quantile("0.95", "asya_sidecar_hop_seconds", "actor"),
            },
            unit="s",
        ),
        Panel(
            title="In flight",
            tells="Deliveries that pods hold, by what they wait for. Many stalled: a next queue is missing or full.",
            queries={"{{actor}} {{state}}": "sum by (actor, state) (asya_sidecar_in_flight{SEL})"},
        ),
        Panel(
            title="Prefetch and open publishes",
            tells="How many deliveries a pod may hold now, and publishes whose confirm is not there yet.",
            queries={
                "{{actor}} prefetch": "max by (actor) (asya_sidecar_prefetch{SEL})",
                "{{actor}} unconfirmed": "sum by (actor) (asya_sidecar_unconfirmed{SEL})",
            },
        ),
        Panel(
            title="Handlers stopped or lost",
            tells="timeout: a call was longer than the actor's timeout; crash: the process died in a call, most often for lack of memory.",
            queries={"{{actor}} {{reason}}": "sum by (actor, reason) (increase(asya_sidecar_runtime_restarts_total{SEL}[R]))"},
        ),
        Panel(
            title="Publishes",
            tells="returned: no such queue; refused: the broker is full; lost: the link broke before the confirm, it is sent again.",
            queries={"{{actor}} {{result}}": "sum by (actor, result) (rate(asya_sidecar_publishes_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Time to the broker's confirm",
            tells="A broker with slow disks or a full one shows here first.",
            queries={"{{actor}} 95 %": quantile("0.95", "asya_sidecar_confirm_seconds", "actor")},
            unit="s",
        ),
        Panel(
            title="Links to the broker",
            tells="1 = up, in the worst pod; blocked = 1 while the broker has a memory or disk alarm; reconnects in the range.",
            queries={
                "{{actor}} {{link}}": "min by (actor, link) (asya_sidecar_connected{SEL})",
                "{{actor}} blocked": "max by (actor) (asya_sidecar_blocked{SEL})",
                "{{actor}} {{link}} reconnects": "sum by (actor, link) (increase(asya_sidecar_reconnects_total{SEL}[R]))",
            },
        ),
        Panel(
            title="Reports to the gateway",
            tells="Final reports by answer: what is not recorded is told again. Progress may be lost; then a caller sees fewer steps.",
            queries={
                "{{actor}} final {{result}}": "sum by (actor, result) (rate(asya_sidecar_final_reports_total{SEL}[R]))",
                "{{actor}} progress lost": "sum by (actor) (rate(asya_sidecar_progress_dropped_total{SEL}[R]))",
            },
            unit="ops",
        ),
        Panel(
            title="Large payloads",
            tells="Bytes that went through object storage because they are too large for a message.",
            queries={"{{actor}} {{op}}": "sum by (actor, op) (rate(asya_sidecar_claim_bytes_total{SEL}[R]))"},
            unit="Bps",
        ),
        Panel(
            title="Spans of traces",
            tells="By what became of them. 0 without an OTLP endpoint.",
            queries={"{{actor}} {{result}}": "sum by (actor, result) (rate(asya_sidecar_spans_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Calls of SQS",
            tells="Each is billed. Empty with RabbitMQ.",
            queries={"{{actor}} {{action}}": "sum by (actor, action) (rate(asya_sidecar_transport_calls_total{SEL}[R]))"},
            unit="ops",
        ),
    ),
)

FLOW = Dashboard(
    chart="asya-operator",
    uid="asya-flow",
    title="Asya / Flow",
    description="A compiled flow from its start to its end: where envelopes wait, where time goes, where they fail.",
    variables=(
        Variable(name="namespace", query='asya_sidecar_connected{flow!=""}'),
        Variable(name="flow", query='asya_operator_queue_messages{namespace=~"$namespace",flow!=""}', every=".+"),
    ),
    selector='namespace=~"$namespace",flow=~"$flow"',
    panels=(
        Panel(
            title="Envelopes in and out",
            tells="What its first router sent on, and its last one. Out is empty for a flow compiled without an end router.",
            queries={
                "{{flow}} in": 'sum by (flow) (rate(asya_sidecar_deliveries_total{SEL,role="start",outcome="ok"}[R]))',
                "{{flow}} out": 'sum by (flow) (rate(asya_sidecar_deliveries_total{SEL,role="end",outcome="ok"}[R]))',
            },
            unit="ops",
        ),
        Panel(
            title="Failures",
            tells="Share of deliveries that ended in an error, all actors of the flow together.",
            queries={
                "{{flow}}": "sum by (flow) (rate(asya_sidecar_errors_total{SEL}[R]))"
                ' / sum by (flow) (rate(asya_sidecar_deliveries_total{SEL,outcome=~"ok|ended|error"}[R]))'
            },
            unit="percentunit",
        ),
        Panel(
            title="Envelopes on their way",
            tells="Messages that wait for each actor of the flow. The longest queue is where the flow is too slow.",
            queries={"{{actor}}": 'sum by (actor) (asya_operator_queue_messages{SEL,state="waiting"})'},
        ),
        Panel(
            title="Envelopes being worked on",
            tells="Messages that pods hold and have not settled.",
            queries={"{{actor}}": 'sum by (actor) (asya_operator_queue_messages{SEL,state="running"})'},
        ),
        Panel(
            title="Deliveries by actor",
            tells="Settled per second, all outcomes but those that come again. Branches of the flow show their share.",
            queries={"{{actor}}": 'sum by (actor) (rate(asya_sidecar_deliveries_total{SEL,outcome=~"ok|ended|error"}[R]))'},
            unit="ops",
        ),
        Panel(
            title="Time of a hop by actor",
            tells="95 % were quicker, from receipt to ack; the wait in the queue is not in it.",
            queries={"{{actor}}": quantile("0.95", "asya_sidecar_hop_seconds", "actor")},
            unit="s",
        ),
        Panel(
            title="Where handlers' time goes",
            tells="Seconds of handlers per second: how many pods each actor keeps busy.",
            queries={"{{actor}}": "sum by (actor) (rate(asya_sidecar_handler_seconds_sum{SEL}[R]))"},
        ),
        Panel(
            title="Errors by actor",
            tells="Where envelopes leave the flow, and why.",
            queries={"{{actor}} {{code}}": "sum by (actor, code) (rate(asya_sidecar_errors_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Retries by actor",
            tells="Deliveries that are tried again later, by the actor's retry policy or after a crash.",
            queries={"{{actor}}": 'sum by (actor) (rate(asya_sidecar_deliveries_total{SEL,outcome="retry"}[R]))'},
            unit="ops",
        ),
        Panel(
            title="Pods by actor",
            tells="Sidecars that are scraped; a sleeping actor has none.",
            queries={"{{actor}}": "count by (actor) (asya_sidecar_prefetch{SEL})"},
        ),
    ),
)

OPERATOR = Dashboard(
    chart="asya-operator",
    uid="asya-operator",
    title="Asya / Operator",
    description="What the operator sees and does: actors by readiness, its work, its calls.",
    variables=(),
    selector="",
    panels=(
        Panel(
            title="Actors by readiness",
            tells="What `kubectl get asya` shows, counted.",
            queries={"{{ready}} {{reason}}": "sum by (ready, reason) (asya_operator_actors) > 0"},
        ),
        Panel(
            title="Leader",
            tells="1: a process leads. 0 or nothing: changes to AsyncActors wait; actors run and scale on.",
            queries={"leads": "max(asya_operator_leader)"},
        ),
        Panel(
            title="Longest queues",
            tells="The ten actors with the most waiting messages.",
            queries={"{{namespace}} {{actor}}": 'topk(10, sum by (namespace, actor) (asya_operator_queue_messages{state="waiting"}))'},
        ),
        Panel(
            title="Reconciles",
            tells="Per second. conflict, unavailable: pass by themselves; failed, refused: told in the status; error: a fault of Asya.",
            queries={"{{outcome}}": "sum by (outcome) (rate(asya_operator_reconciles_total[R]))"},
            unit="ops",
        ),
        Panel(
            title="Time of a reconcile",
            tells="With a slow API server or broker it grows.",
            queries={
                "half": "histogram_quantile(0.5, sum by (le) (rate(asya_operator_reconcile_seconds_bucket[R])))",
                "95 %": "histogram_quantile(0.95, sum by (le) (rate(asya_operator_reconcile_seconds_bucket[R])))",
            },
            unit="s",
        ),
        Panel(
            title="Actors that wait for a reconcile",
            tells="Should fall to 0 within seconds of a change.",
            queries={"waiting": "max(asya_operator_queue_depth)"},
        ),
        Panel(
            title="Calls of the Kubernetes API",
            tells="By kind and HTTP status; code 0: no answer. At rest there are watches and the Lease only.",
            queries={"{{verb}} {{kind}} {{code}}": "sum by (verb, kind, code) (rate(asya_operator_api_calls_total[R]))"},
            unit="ops",
        ),
        Panel(
            title="Calls of brokers",
            tells="Declares, reads and deletes of queues by outcome.",
            queries={"{{transport}} {{call}} {{outcome}}": "sum by (transport, call, outcome) (rate(asya_operator_broker_calls_total[R]))"},
            unit="ops",
        ),
        Panel(
            title="Lists and watches begun anew",
            tells="Unplanned ones. Many: the API server or the way to it is unwell.",
            queries={"{{kind}} {{reason}}": "sum by (kind, reason) (increase(asya_operator_watch_restarts_total[R]))"},
        ),
    ),
)

GATEWAY = Dashboard(
    chart="asya-gateway",
    uid="asya-gateway",
    title="Asya / Gateway",
    description="Calls of tools from request to final status, and what the gateway stands on: store and broker.",
    variables=(Variable(name="namespace", query="asya_gateway_tools"),),
    selector='namespace=~"$namespace"',
    panels=(
        Panel(
            title="Calls by tool",
            tells="Accepted per second.",
            queries={"{{tool}}": "sum by (tool) (rate(asya_gateway_tool_calls_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Ends by status",
            tells="Envelopes that became final per second. expired: the tool's timeout passed first.",
            queries={"{{status}}": "sum by (status) (rate(asya_gateway_envelopes_ended_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="From call to final status",
            tells="Queues, cold starts and handlers together: what a caller waits.",
            queries={
                "half": "histogram_quantile(0.5, sum by (le) (rate(asya_gateway_envelope_seconds_bucket{SEL}[R])))",
                "95 %": "histogram_quantile(0.95, sum by (le) (rate(asya_gateway_envelope_seconds_bucket{SEL}[R])))",
            },
            unit="s",
        ),
        Panel(
            title="Requests",
            tells="Answered per second, by route and HTTP status.",
            queries={"{{route}} {{status}}": "sum by (route, status) (rate(asya_gateway_requests_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Time of a request",
            tells="Until its answer begins; streams are not in it, calls that wait for their result are.",
            queries={"95 %": "histogram_quantile(0.95, sum by (le) (rate(asya_gateway_request_seconds_bucket{SEL}[R])))"},
            unit="s",
        ),
        Panel(
            title="Refusals",
            tells="Requests refused before their work began: no credential, too many, too large.",
            queries={"{{code}}": "sum by (code) (rate(asya_gateway_refusals_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Waiting for the broker",
            tells="Accepted envelopes without a confirm, and the age of the oldest. Nothing is lost; over 10,000 calls are 503.",
            queries={"waiting": "max(asya_gateway_outbox_waiting{SEL})", "oldest, seconds": "max(asya_gateway_outbox_oldest_seconds{SEL})"},
        ),
        Panel(
            title="First publishes",
            tells="returned: the actor's queue does not exist.",
            queries={"{{outcome}}": "sum by (outcome) (rate(asya_gateway_publishes_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Time of the store",
            tells="95 % were quicker. A slow disk or database slows every call.",
            queries={
                "read": "histogram_quantile(0.95, sum by (le) (rate(asya_gateway_store_read_seconds_bucket{SEL}[R])))",
                "write": "histogram_quantile(0.95, sum by (le) (rate(asya_gateway_store_write_seconds_bucket{SEL}[R])))",
            },
            unit="s",
        ),
        Panel(
            title="Reports of sidecars",
            tells="Progress taken and dropped; late finals came after another final status, such as a cancellation.",
            queries={
                "progress": "sum(rate(asya_gateway_progress_reports_total{SEL}[R]))",
                "progress dropped": "sum(rate(asya_gateway_progress_dropped_total{SEL}[R]))",
                "late finals": "sum(rate(asya_gateway_late_finals_total{SEL}[R]))",
            },
            unit="ops",
        ),
        Panel(
            title="Open streams and held calls",
            tells="Callers that wait or watch now.",
            queries={"{{namespace}}": "sum by (namespace) (asya_gateway_streams{SEL})"},
        ),
        Panel(
            title="Spans of traces",
            tells="By what became of them. 0 without an OTLP endpoint.",
            queries={"{{result}}": "sum by (result) (rate(asya_gateway_spans_total{SEL}[R]))"},
            unit="ops",
        ),
        Panel(
            title="Tools",
            tells="In force; refused = 1 while the files on disk are refused and older ones are in force; reloads in the range.",
            queries={
                "{{namespace}} tools": "max by (namespace) (asya_gateway_tools{SEL})",
                "{{namespace}} refused": "max by (namespace) (asya_gateway_tools_refused{SEL})",
                "{{namespace}} reloads {{outcome}}": "sum by (namespace, outcome) (increase(asya_gateway_tool_reloads_total{SEL}[R]))",
            },
        ),
    ),
)

DASHBOARDS = (ACTOR, FLOW, OPERATOR, GATEWAY)


def model(dashboard: Dashboard) -> Json:
    """Grafana's JSON."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["asya"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Asya", "tags": ["asya"], "asDropdown": False, "includeVars": True, "keepTime": True}],
        "templating": {"list": [_source_variable(), *map(_variable, dashboard.variables)]},
        "panels": [_panel(number, each, dashboard.selector) for number, each in enumerate(dashboard.panels)],
    }


def _source_variable() -> Json:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(variable: Variable) -> Json:
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({variable.query}, {variable.name})",
        "includeAll": True,
        "allValue": variable.every,
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Panel, selector: str) -> Json:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.tells,
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": 12, "x": number % 2 * 12, "y": number // 2 * 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query.replace("SEL", selector).replace("[R]", "[$__rate_interval]"),
                "legendFormat": legend,
            }
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    for dashboard in DASHBOARDS:
        file = ROOT / "charts" / dashboard.chart / "files" / "dashboards" / f"{dashboard.uid}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(model(dashboard), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
