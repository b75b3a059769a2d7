"""Limits of Asya's own processes and of the flow compiler: memory and CPU time, import times, growth. A miss is a row.

Called by `run`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import flow_compiler
from benchmarks.brokers import RabbitNode
from benchmarks.processes import usage
from benchmarks.report import Guard
from benchmarks.systems.asya import RUNTIME, Asya
from benchmarks.systems.base import Handler, Harness, Job, QueueType, payload_of

_WARM_UP = 200
_REPEATS = 10


def measure_all(*, quick: bool) -> list[Guard]:
    """All guards. Idle processes are watched for 60 s, 10 s if `quick`."""
    return [*_imports(), *_idle(10 if quick else 60), *flow_compiler.guards(quick=quick)]


def _idle(seconds: int) -> list[Guard]:
    system = Asya()
    with RabbitNode() as broker, tempfile.TemporaryDirectory(prefix="asya-bench-") as folder:
        job = Job(
            broker=broker,
            run="guards",
            queue_type=QueueType.QUORUM,
            handler=Handler.IDENTITY,
            handler_seconds=0.0,
            concurrency=None,
            folder=Path(folder),
        )
        harness = Harness(system, job)
        try:
            message = system.message(job, payload_of(1_000))
            harness.fill(message(number) for number in range(_WARM_UP))
            harness.wait_done(_WARM_UP)
            time.sleep(6)  # the prefetch is looked at every 5 s; idle begins after it
            supervisor, sidecar = harness.processes.roots()
            before = {pid: usage([pid]) for pid in (supervisor, sidecar)}
            time.sleep(seconds)
            after = {pid: usage([pid]) for pid in (supervisor, sidecar)}
        finally:
            harness.close()
    watched = f"/proc, after {_WARM_UP} messages, {seconds} s idle on RabbitMQ"

    def share(pid: int) -> float:
        return (after[pid].cpu_seconds - before[pid].cpu_seconds) / seconds * 100

    return [
        Guard(name="idle sidecar, resident", value=after[sidecar].rss_mb, limit=35, unit="MB", method=watched),
        Guard(name="idle sidecar, share of a core", value=share(sidecar), limit=0.2, unit="%", method=watched),
        Guard(name="idle supervisor, resident", value=after[supervisor].rss_mb, limit=11, unit="MB", method=watched),
        Guard(name="idle supervisor, share of a core", value=share(supervisor), limit=0.02, unit="%", method=watched),
    ]


def _imports() -> list[Guard]:
    sidecar = "import asya_sidecar.app, asya_core.transports.rabbitmq.transport"
    runtime = f"import importlib.util as u; s = u.spec_from_file_location('asya_runtime', {str(RUNTIME)!r}); m = u.module_from_spec(s)"
    runtime += "; import sys; sys.modules['asya_runtime'] = m; s.loader.exec_module(m)"
    asya = str(Path(sys.executable).with_name("asya"))
    how = f"wall time of the process, interpreter included, median of {_REPEATS}"
    return [
        Guard(name="import of the sidecar", value=_wall_ms([sys.executable, "-c", sidecar]), limit=150, unit="ms", method=how),
        Guard(name="import of the runtime", value=_wall_ms([sys.executable, "-c", runtime]), limit=60, unit="ms", method=how),
        Guard(name="asya --help", value=_wall_ms([asya, "--help"]), limit=250, unit="ms", method=how),
    ]


def _wall_ms(command: list[str]) -> float:
    took = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:]) * 1e3
