"""B5: one hop with larger payloads; messages per second and CPU time per message."""

from benchmarks.measure import Case, Contender, throughput
from benchmarks.workloads import contenders as systems

SIZES = (("1 kB", 1_000, 4_000, 2.5), ("10 kB", 10_000, 3_000, 3.5), ("100 kB", 100_000, 1_000, 4.0), ("1 MB", 1_000_000, 150, 3.0))
"""Title, bytes, messages, target against a peer. Celery has a target for CPU time."""


def cases(quick: bool) -> list[Case]:
    """One case per size."""
    return [
        Case(
            bench="B5",
            title=f"one hop, {count // (3 if quick else 1):,} × {title}, identity, classic queue",
            contenders=(
                Contender(system=systems.ASYA),
                Contender(system=systems.PEER, targets={"msg/s": target, "CPU µs/message": 0.5}),
                Contender(system=systems.CELERY_THREADS, targets={"CPU µs/message": 0.5}),
            ),
            measure=throughput,
            rounds=3,
            count=count // (3 if quick else 1),
            warm_up=max(10, count // 20),
            payload_bytes=size,
        )
        for title, size, count, target in SIZES
    ]
