"""B3: one message at a time, from the caller's publish to the next queue's consumer."""

from benchmarks.measure import Case, Contender, latency
from benchmarks.workloads import contenders as systems


def cases(quick: bool) -> list[Case]:
    """One case, two numbers."""
    count = 500 if quick else 2_000
    targets = {"p50 ms": 0.85, "p99 ms": 0.85}
    return [
        Case(
            bench="B3",
            title=f"one message at a time, {count:,} × 1 kB, identity, classic queue",
            contenders=(
                Contender(system=systems.ASYA),
                Contender(system=systems.PEER, targets=targets),
                Contender(system=systems.FASTSTREAM, targets=targets),
                Contender(system=systems.DRAMATIQ_8),
            ),
            measure=latency,
            rounds=3 if quick else 5,
            count=count,
            warm_up=200,
        )
    ]
