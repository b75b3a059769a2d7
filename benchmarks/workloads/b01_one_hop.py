"""B1: one hop of an identity handler, 1 kB, classic queue."""

from benchmarks.measure import Case, Contender, throughput
from benchmarks.workloads import contenders as systems


def cases(quick: bool) -> list[Case]:
    """One case."""
    count = 3_000 if quick else 10_000
    return [
        Case(
            bench="B1",
            title=f"one hop, {count:,} × 1 kB, identity, classic queue",
            contenders=(
                Contender(system=systems.ASYA),
                Contender(system=systems.PEER, targets={"msg/s": 2.5}),
                Contender(system=systems.DRAMATIQ_8, targets={"msg/s": 1.25}),
                Contender(system=systems.DRAMATIQ_1, targets={"msg/s": 1.25}),
                Contender(system=systems.DRAMATIQ_2X8),
                Contender(system=systems.FASTSTREAM, targets={"msg/s": 1.5}),
                Contender(system=systems.CELERY_THREADS, targets={"msg/s": 3.5}),
                Contender(system=systems.CELERY_SOLO, targets={"msg/s": 3.5}),
                Contender(system=systems.CELERY_PREFORK),
            ),
            measure=throughput,
            rounds=3 if quick else 5,
            count=count,
            warm_up=500,
        )
    ]
