"""How the flow compiler's time grows with the flow: 250 to 2,000 statements of three shapes, in turns, in one process.

    python -m benchmarks.flow_compiler [--rounds N] [--update-docs]

Time is the CPU time of the process, so that what else the machine does counts little; the whole command is measured beside it, as one.
Exit 0 whatever was measured: a missed target is printed. `benchmarks.run` takes the limits from here as guards.
"""

import argparse
import datetime
import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asya_flowc import Compilation, Image, Options, compile_source
from benchmarks.report import Guard, number

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "reference" / "flow-compiler-benchmark.md"
START, END = "<!-- results: written by benchmarks.flow_compiler -->", "<!-- end of results -->"
SIZES = (250, 500, 1_000, 2_000)
MOST_GROWTH = 1.3
MOST_SECONDS = 2.0
_HEAD = "from handlers import a, b, c\n\n\ndef flow(p: dict) -> dict:\n"


def straight(statements: int) -> str:
    """Handlers one after the other: one start router."""
    return _HEAD + "    p = a(p)\n" * (statements - 1) + "    return p\n"


def branching(statements: int) -> str:
    """Per 20 statements a mutation, an `if` with an arm of two, and 16 handlers: two routers, one of them an `if`."""
    block = "    p['k{n}'] = {n}\n    if p['n'] > {n}:\n        p = a(p)\n        p['x'] = 1\n" + "    p = b(p)\n    p = c(p)\n" * 8
    return _HEAD + "".join(block.format(n=number) for number in range(statements // 20)) + "    return p\n"


def looping(statements: int) -> str:
    """Per 20 statements a loop over items, a bounded loop, and 14 handlers: four routers, two of them loops."""
    block = (
        "    for x in p['xs']:\n        p['x'] = x\n        p = a(p)\n    while p['n'] < {n}:\n        p['n'] += 1\n        p = b(p)\n"
        + "    p = b(p)\n    p = c(p)\n" * 7
    )
    return _HEAD + "".join(block.format(n=number) for number in range(statements // 20)) + "    return p\n"


SHAPES: dict[str, Callable[[int], str]] = {"straight": straight, "branching": branching, "looping": looping}


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One shape. `per_statement`: size → CPU µs per statement, a value each round. `command`: CPU s of the command at the largest size."""

    shape: str
    routers: int
    per_statement: dict[int, list[float]]
    command: float

    @property
    def ratio(self) -> float:
        """Largest by smallest time per statement, median of the rounds; 1 is linear."""
        rounds = zip(*self.per_statement.values(), strict=True)
        return statistics.median(max(one) / min(one) for one in rounds)


def measure(*, rounds: int) -> list[Growth]:
    """All shapes; the sizes of a shape take turns, round after round."""
    return [_growth(shape, make, rounds) for shape, make in SHAPES.items()]


def _growth(shape: str, make: Callable[[int], str], rounds: int) -> Growth:
    texts = {size: make(size) for size in SIZES}
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    routers = 0
    for turn in range(rounds + 1):
        for size, text in texts.items():
            gc.collect()
            start = time.process_time()
            done = compile_source(text, "flow.py", Options(image=Image(repository="r", tag="v1")))
            seconds = time.process_time() - start
            assert isinstance(done, Compilation), shape
            routers = len(done.routers)
            if turn:  # the first warms up
                taken[size].append(seconds / size * 1e6)
    return Growth(shape=shape, routers=routers, per_statement=taken, command=statistics.median(_command(make) for _ in range(3)))


def _command(make: Callable[[int], str]) -> float:
    """CPU seconds of ``asya flow compile`` of the largest flow, the values holding the routers."""
    with tempfile.TemporaryDirectory(prefix="asya-bench-") as folder:
        (Path(folder) / "flow.py").write_text(make(SIZES[-1]), encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["flow", "compile", "flow.py", "--output-dir", "compiled"]
        subprocess.run([sys.executable, "-m", "asya_cli", *words], cwd=folder, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def guards(*, quick: bool) -> list[Guard]:
    """The limits as rows: linear within a third, and the largest flow within two seconds of CPU time."""
    rows: list[Guard] = []
    for one in measure(rounds=3 if quick else 9):
        sizes = f"{SIZES[0]} to {SIZES[-1]:,} statements"
        rows.append(
            Guard(
                name=f"flow compiler, {one.shape}: growth of time per statement", value=one.ratio, limit=MOST_GROWTH, unit="times",
                method=f"CPU time, {sizes} in turns",
            )
        )  # fmt: skip
        rows.append(
            Guard(
                name=f"asya flow compile, {one.shape}, {SIZES[-1]:,} statements", value=one.command, limit=MOST_SECONDS, unit="s",
                method="CPU time of the process",
            )
        )  # fmt: skip
    return rows


def table(found: list[Growth]) -> str:
    """The Markdown of all shapes."""
    head = ["shape", f"routers at {SIZES[-1]:,}", *(f"{size:,}" for size in SIZES), "growth", "target", "command", "target"]
    lines = ["CPU µs per statement by statements of the flow; `command` is the CPU time of `asya flow compile` at the largest.", ""]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in found:
        times = [number(statistics.median(values)) for values in one.per_statement.values()]
        growth = [f"{one.ratio:.2f}", f"≤ {MOST_GROWTH}: {_verdict(one.ratio <= MOST_GROWTH)}"]
        command = [f"{one.command:.2f} s", f"≤ {MOST_SECONDS:g} s: {_verdict(one.command <= MOST_SECONDS)}"]
        lines.append(f"| {' | '.join([one.shape, str(one.routers), *times, *growth, *command])} |")
    return "\n".join(lines) + "\n"


def _verdict(holds: bool) -> str:
    return "met" if holds else "**missed**"


def main() -> int:
    """Measure, print, and write the page if asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.flow_compiler", description="How the flow compiler's time grows with the flow.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--update-docs", action="store_true", help=f"write the table into {DOCS.relative_to(ROOT)}")
    options = parser.parse_args()
    text = table(measure(rounds=options.rounds))
    print(text)
    if options.update_docs:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        python = sys.version.split()[0]
        head = (
            f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} at commit {commit}, Python {python}, {options.rounds} rounds.\n\n"
        )
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        DOCS.write_text(f"{before}{START}\n\n{head}{text}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
