"""Metrics: counters, gauges and histograms, declared once, and their text for Prometheus (exposition format 0.0.4).

Called by each component's metrics table; from the declarations docs/reference/metrics.md is made (ci/metrics_reference.py), and tests
compare them with what processes really print. One thread: no locks.

Ours and not prometheus_client (0.26), measured on the machine of docs/reference/benchmarks.md: importing that takes 79 ms and 14 MB (it
brings an HTTP server, TLS and the mail parser), half the import time and 40 % of the memory that an idle sidecar may have; an increment
costs 0.55 µs and an observation 1.2 µs there, for locks and several processes that we do not have.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

import msgspec

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Histogram", "Label", "Metric", "Registry"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNITS: Final = ("seconds", "bytes")


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One label of a metric.

    Attributes:
        name: its name.
        values: all that it may have; empty if that is not known beforehand.
        meaning: of its values, in Markdown; for those that are not known beforehand.
    """

    name: str
    values: tuple[str, ...] = ()
    meaning: str = ""


class Metric:
    """What all kinds have in common.

    Args:
        name: whole, with its unit: Prometheus' rule.
        help: one sentence.
        labels: besides the registry's own; values are given in this order.
    """

    kind = ""

    def __init__(self, name: str, help: str, labels: Sequence[Label]) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._names = tuple(label.name for label in labels)

    @property
    def unit(self) -> str:
        """As its name says it; empty for what is counted."""
        words = self.name.split("_")
        return next((unit for unit in _UNITS if unit in words), "")

    def _known(self) -> list[tuple[str, ...]]:
        """All combinations of label values, if those of all labels are known beforehand."""
        return list(product(*(label.values for label in self.labels)))

    def samples(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Suffix, labels and value of each sample."""
        raise NotImplementedError


class Counter(Metric):
    """A number that only grows, per combination of label values.

    Combinations that are known beforehand are there from the start, as 0: a first increase is then seen as one, and a missing series is
    a missing process.
    """

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[Label] = ()) -> None:
        super().__init__(name, help, labels)
        self._values: dict[tuple[str, ...], float] = dict.fromkeys(self._known(), 0.0)

    def add(self, *values: str, by: float = 1.0) -> None:
        """Count `by` more for these label values, given in the order of the labels."""
        held = self._values
        held[values] = held.get(values, 0.0) + by

    def value(self, *values: str) -> float:
        """The count for these label values."""
        return self._values.get(values, 0.0)

    def samples(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """One per combination that was counted."""
        for values, value in self._values.items():
            yield "", tuple(zip(self._names, values, strict=True)), value


class Gauge(Counter):
    """A number that is set, per combination of label values."""

    kind = "gauge"

    def set(self, value: float, *values: str) -> None:
        """The number for these label values is now `value`."""
        self._values[values] = value

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """These are all that there are now; what is not among them is no series any more."""
        self._values = dict(values)


class Histogram(Metric):
    """Counts observations by upper bound, and sums them.

    Args:
        name: the metric's name, with its unit.
        help: one sentence.
        bounds: upper bounds, rising, without infinity.
    """

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        super().__init__(name, help, ())
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take one observation; a bound holds what is equal to it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self._counts)

    def samples(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Cumulative buckets, sum, count."""
        total = 0
        for bound, count in zip([*self._bounds, float("inf")], self._counts, strict=True):
            total += count
            yield "_bucket", (("le", _number(bound)),), total
        yield "_sum", (), self._sum
        yield "_count", (), total


class Registry:
    """The metrics of one process.

    Args:
        prefix: of every name.
        constant: labels of every sample.
    """

    def __init__(self, prefix: str, constant: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._constant = tuple(constant.items())
        self._metrics: list[Metric] = []

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that were declared, in their order."""
        return tuple(self._metrics)

    @property
    def constant(self) -> Mapping[str, str]:
        """The labels of every sample."""
        return dict(self._constant)

    def counter(self, name: str, help: str, labels: Sequence[Label] = ()) -> Counter:
        """A new counter."""
        metric = Counter(self._prefix + name, help, labels)
        self._metrics.append(metric)
        return metric

    def gauge(self, name: str, help: str, labels: Sequence[Label] = ()) -> Gauge:
        """A new gauge."""
        metric = Gauge(self._prefix + name, help, labels)
        self._metrics.append(metric)
        return metric

    def histogram(self, name: str, help: str, bounds: Sequence[float]) -> Histogram:
        """A new histogram."""
        metric = Histogram(self._prefix + name, help, bounds)
        self._metrics.append(metric)
        return metric

    def markdown_table(self) -> str:
        """The table of the reference page."""
        lines = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
        for metric in self._metrics:
            labels = "; ".join(_described(label) for label in metric.labels) or "–"
            lines.append(f"| `{metric.name}` | {metric.kind} | {metric.unit or '–'} | {labels} | {metric.help} |")
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """What Prometheus reads: `CONTENT_TYPE`."""
        lines: list[str] = []
        for metric in self._metrics:
            lines.append(f"# HELP {metric.name} {_escape(metric.help)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            for suffix, labels, value in metric.samples():
                every = ",".join(f'{name}="{_escape(text)}"' for name, text in (*self._constant, *labels))
                lines.append(f"{metric.name}{suffix}{{{every}}} {_number(value)}" if every else f"{metric.name}{suffix} {_number(value)}")
        lines.append("")
        return "\n".join(lines)


def _described(label: Label) -> str:
    values = " ".join(f"`{value}`" for value in label.values) or label.meaning
    return f"`{label.name}`: {values}" if values else f"`{label.name}`"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
