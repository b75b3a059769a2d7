"""The operator's metrics. Made by `app`, counted by the edges; one table, from which the reference page is generated."""

from collections.abc import Iterable

from asya_core.ops.metrics import Registry

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """All metrics of the operator, prefix ``asya_operator_``."""

    def __init__(self) -> None:
        self.registry = Registry("asya_operator_", {})
        new = self.registry
        self.reconciles = new.counter("reconciles_total", "Reconciles, by what became of them.", ("outcome",))
        self.reconcile_seconds = new.histogram("reconcile_seconds", "Duration of reconciles.", _SECONDS)
        self.queue_depth = new.gauge("queue_depth", "Keys that wait for a reconcile or are in one.")
        self.api_calls = new.counter("api_calls_total", "Calls of the Kubernetes API; code 0: no answer.", ("verb", "kind", "code"))
        self.watch_restarts = new.counter("watch_restarts_total", "Lists and watches begun anew unplanned.", ("kind", "reason"))
        self.broker_calls = new.counter("broker_calls_total", "Calls of brokers' administration.", ("transport", "call", "outcome"))
        self.actors = new.gauge("actors", "AsyncActors by their condition Ready.", ("ready", "reason"))
        self.leader = new.gauge("leader", "1 if this process leads.")

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
