"""Results as a Markdown table and as JSON. Called by `run`."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.measure import LESS_IS_BETTER, Case, Ratio, Sample, compare

START, END = "<!-- results: written by make bench -->", "<!-- end of results -->"


@dataclass(slots=True)
class CaseResult:
    """All samples of a case, one list per contender in its order; absent contenders have a reason instead."""

    case: Case
    samples: list[list[Sample]]
    absent: list[str | None]
    seconds: float = 0.0

    def values(self, contender: int, unit: str) -> list[float]:
        """One value per round."""
        return [sample.values[unit] for sample in self.samples[contender]]

    @property
    def units(self) -> list[str]:
        """What was measured."""
        return [unit for unit in self.samples[0][0].values if unit != "CPU µs/message"] if self.samples[0] else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A limit of Asya's own, not a ratio."""

    name: str
    value: float
    limit: float
    unit: str
    method: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


@dataclass(slots=True)
class Verdicts:
    """What met its target and what did not."""

    met: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, what: str, met: bool) -> str:
        """Keep it, and give the table's word."""
        (self.met if met else self.missed).append(what)
        return "met" if met else "**missed**"


def table(result: CaseResult, verdicts: Verdicts) -> str:
    """The Markdown of one case."""
    case = result.case
    units = result.units
    head = ["system", *units, "CPU µs per message", "broker CPU µs", "RSS MB", *(f"Asya ÷ this, {unit}" for unit in units), "target"]
    lines = [f"### {case.bench}: {case.title}", "", _row(head), _row(["---"] * len(head))]
    for index, contender in enumerate(case.contenders):
        samples = result.samples[index]
        if not samples:
            lines.append(_row([contender.label, f"absent: {result.absent[index]}", *[""] * (len(head) - 2)]))
            continue
        cells = [contender.label, *(spread(result.values(index, unit), unit) for unit in units)]
        cells.append(number(statistics.median(s.cpu_seconds for s in samples) / case.count * 1e6))
        cells.append(number(statistics.median(s.broker_cpu_seconds for s in samples) / case.count * 1e6))
        cells.append(number(statistics.median(s.rss_mb for s in samples)))
        if index == 0:
            cells += ["1"] * len(units)
            cells.append(_limits(result, verdicts))
        else:
            cells += [ratio_text(_ratio(result, index, unit)) for unit in units]
            cells.append(_targets(result, index, verdicts))
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _ratio(result: CaseResult, index: int, unit: str) -> Ratio:
    own, other = result.values(0, unit), result.values(index, unit)
    rounds = min(len(own), len(other))
    return compare(own[:rounds], other[:rounds])


def _limits(result: CaseResult, verdicts: Verdicts) -> str:
    texts = []
    for unit, limit in result.case.limits.items():
        value = statistics.median(result.values(0, unit))
        less = unit in LESS_IS_BETTER
        what = f"{result.case.bench} {result.case.title}: {unit} {value:.3f}, target {limit:g}"
        verdict = verdicts.add(what, value <= limit if less else value >= limit)
        texts.append(f"{'≤' if less else '≥'} {limit:g} {unit}: {verdict}")
    return "; ".join(texts)


def _targets(result: CaseResult, index: int, verdicts: Verdicts) -> str:
    contender = result.case.contenders[index]
    texts = []
    for unit, target in contender.targets.items():
        ratio = _ratio(result, index, unit).median
        less = unit in LESS_IS_BETTER
        sign = "≤" if less else "≥"
        what = f"{result.case.bench} {result.case.title}: {unit}, Asya ÷ {contender.label} = {ratio:.2f}, target {sign} {target}"
        verdict = verdicts.add(what, ratio <= target if less else ratio >= target)
        texts.append(f"{sign} {target}{' ' + unit if len(contender.targets) > 1 or unit.startswith('CPU') else ''}: {verdict}")
    return "; ".join(texts) or "–"


def guards_table(guards: Sequence[Guard], verdicts: Verdicts) -> str:
    """The Markdown of the guards."""
    lines = ["### Guards", "", _row(["what", "value", "limit", "verdict", "how"]), _row(["---"] * 5)]
    for guard in guards:
        verdict = verdicts.add(f"guard {guard.name}: {number(guard.value)} {guard.unit}, limit {guard.limit:g}", guard.holds)
        lines.append(_row([guard.name, f"{number(guard.value)} {guard.unit}", f"≤ {guard.limit:g} {guard.unit}", verdict, guard.method]))
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], unit: str) -> str:
    """Median, smallest and largest."""
    digits = 3 if unit.startswith("of ") else None
    return f"{number(statistics.median(values), digits)} ({number(min(values), digits)}–{number(max(values), digits)})"


def ratio_text(ratio: Ratio) -> str:
    """A ratio with its spread."""
    return f"{ratio.median:.2f} ({ratio.smallest:.2f}–{ratio.largest:.2f})"


def number(value: float, digits: int | None = None) -> str:
    """Three significant digits, thousands separated."""
    if digits is not None:
        return f"{value:.{digits}f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
