"""The operator's metrics. Made by `app`, counted by the edges; one table, from which the reference page is generated."""

from collections.abc import Iterable

from asya_core.ops.metrics import Label, Registry
from asya_operator.conditions import Depth
from asya_operator.resources import ACTORS, DEPLOYMENTS, PODS, SCALED_OBJECTS, STATEFUL_SETS, TRIGGER_AUTHENTICATIONS

__all__ = ["OUTCOMES", "RESTARTS", "Metrics"]

OUTCOMES = ("ok", "failed", "conflict", "unavailable", "refused", "timeout", "fenced", "namespace ends", "error")
"""What becomes of a reconcile; `fenced`: this process leads no more."""
RESTARTS = ("expired", "error", "silent", "broken")
"""Why a list and watch began anew: its version was too old; it was refused or failed; nothing came for too long; the connection broke."""
WATCHED = tuple(each.kind for each in (ACTORS, PODS, DEPLOYMENTS, STATEFUL_SETS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS))
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """All metrics of the operator, prefix ``asya_operator_``."""

    def __init__(self) -> None:
        self.registry = Registry("asya_operator_", {})
        new = self.registry
        outcomes = Label(name="outcome", values=OUTCOMES)
        call = (Label(name="verb"), Label(name="kind", meaning="plural of the resource"), Label(name="code", meaning="HTTP status"))
        restart = (Label(name="kind", values=WATCHED), Label(name="reason", values=RESTARTS))
        broker = (
            Label(name="transport", meaning="`rabbitmq` `sqs`"),
            Label(name="call", meaning="`ensure` `depth` `delete` and the like"),
            Label(name="outcome", meaning="`ok` `mismatch` `refused` `unavailable`"),
        )
        messages = (
            Label(name="namespace", meaning="of the actor"),
            Label(name="actor"),
            Label(name="flow", meaning="the actor's label `asya.sh/flow`"),
            Label(name="state", meaning="`waiting`; `running` where the broker tells it"),
        )
        ready = (Label(name="ready", meaning="`True` `False` `Unknown`"), Label(name="reason", meaning="[of the condition](conditions.md)"))
        self.reconciles = new.counter("reconciles_total", "Reconciles, by what became of them.", (outcomes,))
        self.reconcile_seconds = new.histogram("reconcile_seconds", "Duration of reconciles.", _SECONDS)
        self.queue_depth = new.gauge("queue_depth", "Keys that wait for a reconcile or are in one.")
        self.api_calls = new.counter("api_calls_total", "Calls of the Kubernetes API; code 0: no answer.", call)
        self.watch_restarts = new.counter("watch_restarts_total", "Lists and watches begun anew unplanned.", restart)
        self.broker_calls = new.counter("broker_calls_total", "Calls of brokers' administration.", broker)
        self.actors = new.gauge("actors", "AsyncActors by their condition Ready.", ready)
        self.queue_messages = new.gauge("queue_messages", "Messages in actors' queues, as last read from the broker.", messages)
        self.leader = new.gauge("leader", "1 if this process leads.")

    def read_queues(self, depths: Iterable[tuple[str, str, str, Depth]]) -> None:
        """Set `queue_messages` to these: namespace, actor, flow, depth; what is gone is no series any more."""
        found: dict[tuple[str, ...], float] = {}
        for namespace, actor, flow, depth in depths:
            found[namespace, actor, flow, "waiting"] = depth.waiting
            if depth.in_flight is not None:
                found[namespace, actor, flow, "running"] = depth.in_flight
        self.queue_messages.replace(found)

    def count_actors(self, states: Iterable[tuple[str, str]]) -> None:
        """Set `actors` to these (status, reason) of Ready; what is gone becomes 0."""
        counts: dict[tuple[str, str], int] = {}
        for state in states:
            counts[state] = counts.get(state, 0) + 1
        for _, labels, _ in list(self.actors.samples()):
            values = tuple(value for _, value in labels)
            if values not in counts:
                self.actors.set(0, *values)
        for values, count in counts.items():
            self.actors.set(count, *values)
