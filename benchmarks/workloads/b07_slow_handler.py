"""B7: a handler of 20 ms, with one slot and with 16; how much of the ideal is left."""

from benchmarks.measure import Case, Contender, share_of_ideal
from benchmarks.systems.base import Handler
from benchmarks.workloads import contenders as systems

SECONDS = 0.02


def cases(quick: bool) -> list[Case]:
    """One slot and a blocking handler; 16 slots and an ``async def`` handler (Dramatiq: 16 threads)."""
    rivals = (
        Contender(system=systems.FASTSTREAM, targets={"of ideal": 1.0}),
        Contender(system=systems.DRAMATIQ_8, name="dramatiq", targets={"of ideal": 1.0}),
    )
    one, sixteen = (200, 800) if quick else (500, 2_000)
    return [
        Case(
            bench="B7",
            title=f"handler of 20 ms, {one} messages, 1 slot",
            contenders=(Contender(system=systems.ASYA), *rivals),
            measure=share_of_ideal,
            rounds=3,
            count=one,
            warm_up=20,
            handler=Handler.SLEEP,
            handler_seconds=SECONDS,
            concurrency=1,
            limits={"of ideal": 0.98},
        ),
        Case(
            bench="B7",
            title=f"handler of 20 ms, {sixteen:,} messages, 16 slots",
            contenders=(Contender(system=systems.ASYA), *rivals),
            measure=share_of_ideal,
            rounds=3,
            count=sixteen,
            warm_up=320,
            handler=Handler.ASYNC_SLEEP,
            handler_seconds=SECONDS,
            concurrency=16,
            limits={"of ideal": 0.95},
        ),
    ]
