"""The manifest of what Asya promises: id → sentence, source, components.

Tests carry ``@pytest.mark.behaviour("id")``; tests/docs/test_behaviours.py wants each id proved and each mark known, and
docs/reference/behaviours.md is made from this table by ``python -m tests.behaviours``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One promise.

    Attributes:
        sentence: what holds, for users and operators.
        source: where the rule comes from: a page of docs/, or a specification.
        components: who keeps it.
        divergence: today's differing behaviour, which a test pins; empty if the promise is kept.
    """

    sentence: str
    source: str
    components: tuple[str, ...]
    divergence: str = ""


_DELIVERY = "docs/explanation/delivery-guarantees.md"
_SIDECAR = "docs/explanation/sidecar-behaviour.md"
_RUNTIME = "docs/reference/runtime.md"
_ENVELOPE = "docs/reference/envelope.md"
_RABBITMQ = "docs/reference/rabbitmq.md"
_SQS = "docs/reference/sqs.md"
_TRANSPORTS = "docs/reference/transports.md"
_RESULTS = "docs/reference/results.md"
_STORAGE = "docs/reference/storage.md"
_CLI = "docs/how-to/run-locally.md"
_GATEWAY = "docs/reference/gateway.md"
_ACTOR = "docs/reference/asyncactor.md"
_OPERATOR = "docs/reference/operator.md"
_METRICS = "docs/reference/metrics.md"
_TRACING = "docs/reference/tracing.md"
_ALERTS = "docs/how-to/alerts.md"
_GITOPS = "docs/how-to/deploy-from-git.md"
_MONITOR = "docs/how-to/monitor.md"

BEHAVIOURS: dict[str, Behaviour] = {
    "delivery:ack:after-confirm": Behaviour(
        sentence="A delivery is acknowledged only after every output is confirmed by the broker and none was returned.",
        source=_DELIVERY,
        components=("sidecar",),
    ),
    "delivery:nothing-lost": Behaviour(
        sentence="An accepted envelope reaches a terminal record after any single fault of one component, and none is invented.",
        source=_DELIVERY,
        components=("sidecar", "runtime", "transports"),
    ),
    "delivery:broker-restart": Behaviour(
        sentence="A broker that is killed and restarted, or closes all connections, loses nothing and needs no restart of a sidecar.",
        source=_SIDECAR,
        components=("sidecar", "rabbitmq"),
    ),
    "sqs:faults": Behaviour(
        sentence="Throttling, server errors, answers that never come, batches that fail in part and double deliveries of SQS lose nothing, "
        "and double only what SQS doubled.",
        source=_SQS,
        components=("sidecar", "sqs"),
    ),
    "sqs:renewed": Behaviour(
        sentence="A message on SQS is renewed from its receive to its delete: a handler may run for longer than the visibility timeout.",
        source=_SQS,
        components=("sidecar", "sqs"),
    ),
    "sqs:calls": Behaviour(
        sentence="Messages on SQS travel in batches: at most 0.35 API calls per message under load, and no wait without it.",
        source=_SQS,
        components=("sidecar", "sqs"),
    ),
    "crew:one-object-per-id": Behaviour(
        sentence="An end actor keeps one object per envelope id; a redelivery changes nothing and is answered with what is stored.",
        source=_RESULTS,
        components=("crew",),
    ),
    "crew:stored-before-reported": Behaviour(
        sentence="Nothing is reported to the gateway or acknowledged before it is stored, whatever the storage does.",
        source=_RESULTS,
        components=("crew", "sidecar"),
    ),
    "crew:outage": Behaviour(
        sentence="A storage that is away for a while loses no result and no error record.",
        source=_RESULTS,
        components=("crew", "sidecar"),
    ),
    "gateway:final-until-recorded": Behaviour(
        sentence="A final status is reported until the gateway has recorded it or refused it for good.",
        source=_SIDECAR,
        components=("sidecar", "gateway"),
    ),
    "tracing:one-tree": Behaviour(
        sentence="Where tracing is on, all spans of an envelope are one tree: the gateway's call, queues, handlers and retries, its end.",
        source=_TRACING,
        components=("gateway", "sidecar"),
    ),
    "tracing:delays-nothing": Behaviour(
        sentence="A receiver of spans that hangs or refuses delays no delivery and no leaving; what it did not take is counted.",
        source=_TRACING,
        components=("gateway", "sidecar"),
    ),
    "tracing:off": Behaviour(
        sentence="Without an endpoint nothing that makes spans is loaded, and trace context passes byte for byte.",
        source=_TRACING,
        components=("gateway", "sidecar"),
    ),
    "claims:equal-bytes": Behaviour(
        sentence="A payload of any size comes out as it went in; large ones travel as a reference with size and hash.",
        source=_ENVELOPE,
        components=("sidecar",),
    ),
    "objects:contract": Behaviour(
        sentence="Every object store keeps the same contract: written once, whole or absent, errors in one sentence.",
        source=_STORAGE,
        components=("crew", "gateway"),
    ),
    "rabbitmq:rotated-password": Behaviour(
        sentence="A password that was rotated in the credentials folder is used at the next connect; nothing is restarted.",
        source=_RABBITMQ,
        components=("sidecar", "gateway", "rabbitmq"),
    ),
    "sidecar:timeout:one-copy": Behaviour(
        sentence="A call past its limit sends exactly one record to error-end, the next message is served, and the sidecar lives on.",
        source=_SIDECAR,
        components=("sidecar", "runtime"),
    ),
    "sidecar:crash:counted": Behaviour(
        sentence="A runtime that dies in a call costs an attempt; after three the envelope ends with runtime_crashed.",
        source=_SIDECAR,
        components=("sidecar", "runtime"),
    ),
    "sidecar:drain": Behaviour(
        sentence="On SIGTERM a sidecar takes nothing new, gives back what was not started, finishes what runs, and exits 0.",
        source=_SIDECAR,
        components=("sidecar",),
    ),
    "sidecar:unroutable": Behaviour(
        sentence="A missing next queue is tried for 95 seconds and then ends in error-end; the handler does not run again for it.",
        source=_SIDECAR,
        components=("sidecar",),
    ),
    "sidecar:unreadable": Behaviour(
        sentence="A message that is no envelope becomes one record in error-end that holds its bytes, and never travels in a circle.",
        source=_ENVELOPE,
        components=("sidecar",),
    ),
    "sidecar:retry": Behaviour(
        sentence="A handler's exception is retried by the actor's policy, delayed with full jitter, and never earlier than told.",
        source=_SIDECAR,
        components=("sidecar", "transports"),
    ),
    "envelope:untouched": Behaviour(
        sentence="Headers, unknown members and payload bytes that nobody changed arrive as they were sent.",
        source=_ENVELOPE,
        components=("sidecar", "runtime"),
    ),
    "envelope:fanout-ids": Behaviour(
        sentence="The ids of a fan-out are a pure function of the input, so that a redelivery makes the same children.",
        source=_ENVELOPE,
        components=("sidecar",),
    ),
    "runtime:refusal": Behaviour(
        sentence="A handler that cannot be loaded ends the runtime with exit code 78 and one sentence as its last line.",
        source=_RUNTIME,
        components=("runtime",),
    ),
    "runtime:survives-user-code": Behaviour(
        sentence="Nothing that a handler does to its process keeps the next call from working.",
        source=_RUNTIME,
        components=("runtime",),
    ),
    "runtime:quick-start": Behaviour(
        sentence="Every handler of the public quick start runs as printed.",
        source=_RUNTIME,
        components=("runtime",),
    ),
    "transport:contract": Behaviour(
        sentence="Every transport passes the same contract suite.",
        source=_TRANSPORTS,
        components=("transports",),
    ),
    "run:same-processes": Behaviour(
        sentence="`asya run` gives the same result on the embedded transport and on RabbitMQ, from the same values files.",
        source=_CLI,
        components=("cli",),
    ),
    "run:errors-in-one-line": Behaviour(
        sentence="What a user gave wrong is answered with one line and a hint, a defined exit code, and no traceback of ours.",
        source=_CLI,
        components=("cli",),
    ),
    "dlq:replay": Behaviour(
        sentence="`asya dlq replay` sends a failed envelope on, as a new one, from the actor that failed, with the payload it had there.",
        source="docs/how-to/replay-failed-envelopes.md",
        components=("cli", "gateway"),
    ),
    "dlq:once": Behaviour(
        sentence="A failed envelope is replayed once, however often the command runs; what a killed one left is ended by the next run.",
        source="docs/how-to/replay-failed-envelopes.md",
        components=("cli", "gateway"),
    ),
    "plan:stranded": Behaviour(
        sentence="`asya plan` says what a change adds, removes, renames and restarts, and ends with 1 if messages would be left behind.",
        source="docs/how-to/change-a-flow.md",
        components=("cli",),
    ),
    "doctor:remedy": Behaviour(
        sentence="`asya doctor` tells each fault of an installation in one line with a remedy, goes on, and ends with 1.",
        source="docs/how-to/check-an-installation.md",
        components=("cli",),
    ),
    "flow:same-as-python": Behaviour(
        sentence="A flow gives through its routers what it gives as plain Python: same handlers, payloads seen, result or exception.",
        source="docs/reference/flow-language.md",
        components=("flowc",),
    ),
    "flow:all-or-nothing": Behaviour(
        sentence="A flow that is refused, or cannot be written in full, leaves the output folder as it was; edited files need --overwrite.",
        source="docs/how-to/compile-a-flow.md",
        components=("cli", "flowc"),
    ),
    "flow:deterministic": Behaviour(
        sentence="The same flow and options give the same files to the byte, wherever the folders are.",
        source="docs/how-to/compile-a-flow.md",
        components=("cli", "flowc"),
    ),
    "gateway:mcp:conformance": Behaviour(
        sentence="The official MCP suite passes but for scenarios that tests/contract/mcp_actors/baseline.yaml lists with reasons.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:mcp:clients": Behaviour(
        sentence="The official Python and TypeScript clients and MCP Inspector list and call tools, and hear of what fails and is refused.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:mcp:bad-input": Behaviour(
        sentence="What is no good MCP message has the code that JSON-RPC or MCP gives it, and makes no envelope.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:limits": Behaviour(
        sentence="Too large, too deep, too slow and too many requests are refused with their codes, and their memory stays within 20 MB.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:call:durable": Behaviour(
        sentence="A call that was answered is published, whatever ends in between: once, or again with the same id and the same bytes.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:replicas": Behaviour(
        sentence="On PostgreSQL every replica tells what any was told; a client of one that was killed goes on at another without a gap.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:final:absorbs": Behaviour(
        sentence="The first final status of an envelope stands; events have numbers without gaps, the same on every replica.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:store:away": Behaviour(
        sentence="While the database is away calls and final reports get 503 with Retry-After; nothing is made, all is recorded later.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:sign-in": Behaviour(
        sentence="A pasted key becomes a cookie that no script can read; what comes with it from another page is refused.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:live": Behaviour(
        sentence="One envelope's view follows its stream, shows queue and handler times per hop, and takes up a stream that was cut.",
        source=_GATEWAY,
        components=("gateway", "sidecar"),
    ),
    "page:many": Behaviour(
        sentence="10,000 envelopes are listed by pages of 50 and searched.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:traceback": Behaviour(
        sentence="A traceback is shown to role operate only, from the stored record.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:hostile-values": Behaviour(
        sentence="Markup in payloads, errors and names is shown as text; the page's policy runs its own files alone.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:replay": Behaviour(
        sentence="Replay and cancel ask first, say what runs again, and the key at hand does nothing.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:flows": Behaviour(
        sentence="A flow is shown as a graph and as a list, with the running and failed envelopes of each actor.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "page:accessible": Behaviour(
        sentence="Every view, light and dark, wide and narrow, is clean for axe-core, fits its screen, and works by keyboard alone.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:openapi": Behaviour(
        sentence="The description at /openapi.json has exactly the routes, and real answers are as it says.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:access": Behaviour(
        sentence="A principal reaches exactly what its role allows over REST and MCP; an absent and a foreign envelope look the same.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "gateway:secrets": Behaviour(
        sentence="No log line of the gateway holds a credential, an argument or a result; forged tokens are refused.",
        source=_GATEWAY,
        components=("gateway",),
    ),
    "operator:scale-out": Behaviour(
        sentence="An actor follows its queue from no pod to the most it may have and back, and each message is worked on once.",
        source="docs/tutorials/first-actor.md",
        components=("operator", "charts"),
    ),
    "operator:sqs": Behaviour(
        sentence="On SQS the quick start's manifest works as it is printed, and an actor follows its queue from no pod up and back.",
        source="docs/how-to/run-on-aws.md",
        components=("operator", "charts"),
    ),
    "operator:sqs-queues": Behaviour(
        sentence="A queue on SQS is corrected in place, is its owner's by tag, and is deleted only once it has seemed empty for a minute.",
        source="docs/how-to/run-on-aws.md",
        components=("operator",),
    ),
    "aws:least-rights": Behaviour(
        sentence="Each part works with the policy that is documented for it, and uses all that the policy grants.",
        source="docs/how-to/run-on-aws.md",
        components=("operator", "sidecar", "gateway", "crew"),
    ),
    "operator:scale-in": Behaviour(
        sentence="A pod that works is not taken for want of messages, and one that the autoscaler takes finishes its call first.",
        source=_ACTOR,
        components=("operator", "sidecar"),
    ),
    "operator:rolling-update": Behaviour(
        sentence="A new image, a drained node and killed pods under load lose nothing; where there is grace, nothing runs twice.",
        source=_ACTOR,
        components=("operator", "sidecar"),
    ),
    "operator:new-sidecar": Behaviour(
        sentence="A new sidecar reaches actors that sleep at once and awake ones a few at a time, without losing a message.",
        source=_OPERATOR,
        components=("operator",),
    ),
    "operator:told-in-the-status": Behaviour(
        sentence="Whatever keeps an actor from working is a condition of its status with one sentence, and is gone after the fix.",
        source="docs/reference/conditions.md",
        components=("operator",),
    ),
    "operator:stateful": Behaviour(
        sentence="A stateful actor scales from zero too, and finds its volume again.",
        source=_ACTOR,
        components=("operator",),
    ),
    "operator:prewarm": Behaviour(
        sentence="Messages that wait for an earlier actor wake a later one that asks for it.",
        source=_ACTOR,
        components=("operator",),
    ),
    "operator:drain": Behaviour(
        sentence="A deleted actor works on until nothing is on its way to it, for its time at most; a deleted namespace goes at once.",
        source="docs/how-to/change-a-flow.md",
        components=("operator",),
    ),
    "operator:queue-ends": Behaviour(
        sentence="A queue ends with its actor only where the actor says so, and with messages in it only where it says that too.",
        source=_ACTOR,
        components=("operator",),
    ),
    "operator:converges": Behaviour(
        sentence="Killed at any call, the operator ends where an undisturbed one ends.",
        source=_OPERATOR,
        components=("operator",),
    ),
    "operator:no-idle-writes": Behaviour(
        sentence="A new actor costs at most five writes, one more with source files; a restart of the operator and a resync cost none.",
        source=_OPERATOR,
        components=("operator",),
    ),
    "operator:namespaced": Behaviour(
        sentence="With scope namespace the operator serves the named namespaces and has no rights elsewhere.",
        source=_OPERATOR,
        components=("operator", "charts"),
    ),
    "operator:exact-rights": Behaviour(
        sentence="What the chart grants the operator is what it uses, it is refused nothing, and no actor calls the API server.",
        source=_OPERATOR,
        components=("operator", "charts"),
    ),
    "operator:uninstall": Behaviour(
        sentence="Uninstalling the operator leaves definition, actors, queues and running pods; the next one takes them up.",
        source=_OPERATOR,
        components=("operator", "charts"),
    ),
    "release:upgrade": Behaviour(
        sentence="From the previous release to this one and back, by the documented commands and under load, no envelope is lost.",
        source="docs/contributing/release.md",
        components=("charts", "operator", "sidecar", "gateway", "crew"),
    ),
    "release:compatible": Behaviour(
        sentence="Beside the previous release, the resource AsyncActor has lost no field, narrows and wants none more, keeps each default.",
        source="docs/contributing/release.md",
        components=("operator", "charts"),
    ),
    "release:same-bytes": Behaviour(
        sentence="A release that is made twice of one commit and the same images is the same bytes, charts by either Helm.",
        source="docs/contributing/release.md",
        components=("charts",),
    ),
    "gitops:quiet": Behaviour(
        sentence="While actors scale from no pod to several and back, Argo CD's Applications are Synced and Healthy, and it does nothing.",
        source=_GITOPS,
        components=("operator", "charts"),
    ),
    "gitops:told": Behaviour(
        sentence="Argo CD shows an actor that needs a person as Degraded with the operator's sentence, and a paused one as Suspended.",
        source=_GITOPS,
        components=("operator", "charts"),
    ),
    "gitops:replayed": Behaviour(
        sentence="Envelopes that a commit made fail succeed by `asya dlq replay` after the commit that corrects it, from that actor on.",
        source=_GITOPS,
        components=("operator", "charts", "crew"),
    ),
    "operator:restricted": Behaviour(
        sentence='Every pod that is made of an actor passes Pod Security "restricted", whatever the actor asks for.',
        source=_ACTOR,
        components=("operator",),
    ),
    "charts:first-actor": Behaviour(
        sentence="Three values run a handler of an image, two run a file: from a message to its stored result and back to no pod.",
        source="docs/tutorials/first-actor.md",
        components=("charts", "operator", "crew"),
    ),
    "mcp:quick-start": Behaviour(
        sentence="`asya mcp call` prints what the public quick start prints: envelope id and bar on stderr, the result as JSON on stdout.",
        source="docs/how-to/call-actors.md",
        components=("cli", "gateway"),
    ),
    "metrics:documented": Behaviour(
        sentence="What sidecar, operator and gateway print for Prometheus is what the reference lists, and all of it is printed.",
        source=_METRICS,
        components=("sidecar", "operator", "gateway"),
    ),
    "metrics:alerts": Behaviour(
        sentence="Every alert of the charts fires when it should, is silent when it should be, and has a section that says what to do.",
        source=_ALERTS,
        components=("charts",),
    ),
    "metrics:dashboards": Behaviour(
        sentence="Every query of the dashboards uses documented metrics and returns data from a Prometheus that scrapes a cluster at work.",
        source=_MONITOR,
        components=("charts",),
    ),
    "metrics:scraped": Behaviour(
        sentence="A Prometheus that follows the charts' PodMonitors has every documented metric after some work, but what needs a fault.",
        source=_MONITOR,
        components=("charts", "sidecar", "operator", "gateway"),
    ),
}


def page() -> str:
    """docs/reference/behaviours.md as Markdown."""
    lines = [
        "# Promises",
        "",
        "For operators and reviewers. Each line is proved by at least one test that names its id. Made from `tests/behaviours.py`.",
        "",
        "| id | promise | kept by | more |",
        "|---|---|---|---|",
    ]
    for identity, behaviour in BEHAVIOURS.items():
        link = "../" + behaviour.source.removeprefix("docs/")
        note = f" Today: {behaviour.divergence}" if behaviour.divergence else ""
        more = f"[{behaviour.source.rsplit('/', 1)[1]}]({link})"
        lines.append(f"| `{identity}` | {behaviour.sentence}{note} | {', '.join(behaviour.components)} | {more} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    (Path(__file__).parents[1] / "docs" / "reference" / "behaviours.md").write_text(page())
