"""The only entry of the benchmarks: chooses what runs, lets contenders take turns, prints the table and writes results/DATE.json.

    python -m benchmarks.run [--only B1,B3] [--quick] [--systems celery] [--rounds N] [--update-docs]

`make bench` calls it. Exit 0 whatever was measured, as machines differ: a missed target is printed, not an error.
"""

import argparse
import dataclasses
import datetime
import importlib
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks import guards, report
from benchmarks.brokers import RabbitNode
from benchmarks.measure import Case, Sample, dump, run_once

ROOT = Path(__file__).parents[1]
WORKLOADS = {
    "B1": "b01_one_hop",
    "B2": "b02_progress",
    "B3": "b03_latency",
    "B4": "b04_quorum",
    "B5": "b05_payload",
    "B6": "b06_sqs",
    "B7": "b07_slow_handler",
    "B8": "b08_gateway",
}
DOCS = ROOT / "docs" / "reference" / "benchmarks.md"
BUSY_LOAD = 0.5


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    started = datetime.datetime.now(datetime.UTC)
    machine = _machine()
    print(f"bench: {machine['cpus']} CPUs, {machine['model']}, fdatasync {machine['fsync_us']} µs, load {machine['load']}", file=sys.stderr)
    verdicts = report.Verdicts()
    texts: list[str] = []
    rows: list[dict[str, object]] = []
    versions: dict[str, dict[str, str]] = {}
    legend: dict[str, str] = {}
    for bench in options.only:
        module = importlib.import_module(f"benchmarks.workloads.{WORKLOADS[bench]}")
        for case in module.cases(options.quick):
            result = _run_case(_chosen(case, options), versions)
            text = report.table(result, verdicts)
            print(text, flush=True)
            texts.append(text)
            rows += _rows(result, versions, machine)
            legend |= {c.label: c.system.setup for c, samples in zip(result.case.contenders, result.samples, strict=True) if samples}
    if options.guards:
        measured = guards.measure_all(quick=options.quick)
        text = report.guards_table(measured, verdicts)
        print(text, flush=True)
        texts.append(text)
        rows += [
            {"bench": "guards", "system": "asya", "value": g.value, "unit": g.unit, "name": g.name, "limit": g.limit} for g in measured
        ]
    head = _head(started, machine, versions, legend)
    print(head)
    print(f"targets: {len(verdicts.met)} met, {len(verdicts.missed)} missed")
    for line in verdicts.missed:
        print(f"missed: {line}")
    path = ROOT / "benchmarks" / "results" / f"{started:%Y-%m-%dT%H%M%S}.json"
    dump(rows, path)
    print(f"bench: results in {path.relative_to(ROOT)}", file=sys.stderr)
    if options.update_docs:
        _update_docs(head + "\n" + "\n".join(texts))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.run", description="Benchmarks of Asya beside other systems, in one run on one broker."
    )
    parser.add_argument("--only", default=",".join(WORKLOADS), help=f"benchmarks, separated by commas: {', '.join(WORKLOADS)}, guards")
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds")
    parser.add_argument("--systems", default="", help="only contenders whose name begins so, separated by commas (asya is always in)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds instead of each benchmark's own")
    parser.add_argument("--update-docs", action="store_true", help=f"write the tables into {DOCS.relative_to(ROOT)}")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    unknown = [name for name in names if name not in WORKLOADS and name != "guards"]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; expected some of {', '.join(WORKLOADS)}, guards")
    options.guards = "guards" in names or options.only == parser.get_default("only")
    options.only = [name for name in names if name in WORKLOADS]
    options.systems = [name for name in options.systems.split(",") if name]
    return options


def _chosen(case: Case, options: argparse.Namespace) -> Case:
    contenders = tuple(
        c
        for index, c in enumerate(case.contenders)
        if index == 0 or not options.systems or any(c.label.startswith(prefix) for prefix in options.systems)
    )
    return dataclasses.replace(case, contenders=contenders, rounds=options.rounds or case.rounds)


def _run_case(case: Case, versions: dict[str, dict[str, str]]) -> report.CaseResult:
    absent = [contender.system.absent() for contender in case.contenders]
    samples: list[list[Sample]] = [[] for _ in case.contenders]
    began = time.monotonic()
    print(f"bench: {case.bench} {case.title}, {case.rounds} rounds", file=sys.stderr)
    with nullcontext() if case.play else RabbitNode() as broker:
        for turn in range(case.rounds):
            for index, contender in enumerate(case.contenders):
                if absent[index] is not None:
                    continue
                versions.setdefault(contender.label, contender.system.versions() | ({"rabbitmq": broker.version} if broker else {}))
                if case.play is not None:
                    sample = case.play(contender, case)
                else:
                    assert broker is not None
                    sample = run_once(case, contender, broker, f"{case.bench.lower()}-{turn}-{index}")
                samples[index].append(sample)
                values = ", ".join(f"{value:.4g} {unit}" for unit, value in sample.values.items())
                left = f", {sample.left} messages left unsettled" if sample.left else ""
                print(f"bench:   {turn + 1} {contender.label}: {values}{left}", file=sys.stderr)
    return report.CaseResult(case=case, samples=samples, absent=absent, seconds=time.monotonic() - began)


def _rows(result: report.CaseResult, versions: dict[str, dict[str, str]], machine: dict[str, object]) -> list[dict[str, object]]:
    commit = _git("rev-parse", "HEAD")
    return [
        {
            "bench": result.case.bench,
            "case": result.case.title,
            "system": contender.label,
            "pair": turn,
            "value": value,
            "unit": unit,
            "cpu_seconds": round(sample.cpu_seconds, 3),
            "broker_cpu_seconds": round(sample.broker_cpu_seconds, 3),
            "rss_mb": round(sample.rss_mb, 1),
            "left": sample.left,
            "versions": versions[contender.label],
            "machine": machine,
            "commit": commit,
        }
        for contender, samples in zip(result.case.contenders, result.samples, strict=True)
        for turn, sample in enumerate(samples)
        for unit, value in sample.values.items()
    ]


def _machine() -> dict[str, object]:
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = os.getloadavg()[0]
    return {
        "cpus": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "fsync_us": _fsync_us(),
        "load": round(load, 2),
        "busy": load > BUSY_LOAD,
    }


def _fsync_us() -> int:
    took = []
    with tempfile.TemporaryFile(dir=tempfile.gettempdir()) as file:
        for _ in range(100):
            file.write(b"x" * 1024)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return round(statistics.median(took) * 1e6)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _head(started: datetime.datetime, machine: dict[str, object], versions: dict[str, dict[str, str]], legend: dict[str, str]) -> str:
    busy = f"; the machine was not idle at the start (load {machine['load']})" if machine["busy"] else ""
    lines = [
        f"Measured on {started:%Y-%m-%d} at commit {_git('rev-parse', '--short', 'HEAD')} with `{_command()}` on {machine['cpus']} CPUs "
        f"({machine['model']}), Linux {machine['kernel']}, Python {machine['python']}, one fdatasync {machine['fsync_us']} µs{busy}.",
        "",
    ]
    for label, setup in legend.items():
        used = ", ".join(f"{name} {version}" for name, version in versions[label].items())
        lines.append(f"- **{label}** ({used}): {setup}.")
    return "\n".join(lines) + "\n"


def _command() -> str:
    return " ".join(["python -m benchmarks.run", *sys.argv[1:]])


def _update_docs(text: str) -> None:
    page = DOCS.read_text()
    before, _, rest = page.partition(report.START)
    _, _, after = rest.partition(report.END)
    DOCS.write_text(f"{before}{report.START}\n\n{text}\n{report.END}{after}")
    print(f"bench: tables written into {DOCS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
