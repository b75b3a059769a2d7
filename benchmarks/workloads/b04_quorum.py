"""B4: B1 on quorum queues, the default of Asya; not slower than on classic ones."""

from benchmarks.measure import Case, Contender, throughput
from benchmarks.systems.base import QueueType
from benchmarks.workloads import contenders as systems


def cases(quick: bool) -> list[Case]:
    """One case; Asya on classic queues is a contender."""
    count = 3_000 if quick else 10_000
    return [
        Case(
            bench="B4",
            title=f"one hop, {count:,} × 1 kB, identity, quorum queue",
            contenders=(
                Contender(system=systems.ASYA),
                Contender(system=systems.ASYA, name="asya on classic (B1)", queue_type=QueueType.CLASSIC, targets={"msg/s": 1.0}),
                Contender(system=systems.PEER, targets={"msg/s": 4.5}),
                Contender(system=systems.FASTSTREAM, targets={"msg/s": 1.5}),
            ),
            measure=throughput,
            rounds=3 if quick else 5,
            count=count,
            warm_up=500,
            queue_type=QueueType.QUORUM,
        )
    ]
