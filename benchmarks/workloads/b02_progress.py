"""B2: what progress costs: one hop with reports to a gateway that answers soon, late, never, or is absent, beside the hop without."""

import math

from benchmarks.doubles import ABSENT
from benchmarks.measure import Case, Contender, throughput
from benchmarks.systems.asya import Asya
from benchmarks.systems.peer import Peer

SHARE = 0.9
"""Of the rate without a gateway."""
GATEWAYS: dict[str, tuple[float, float | None]] = {
    "answers at once": (0.0, 4.5),
    "answers in 5 ms": (0.005, 40.0),
    "answers in 50 ms": (0.05, 350.0),
    "never answers": (math.inf, None),
    "is absent": (ABSENT, None),
}
"""By what the gateway does: seconds to its answer, and how many times a peer's rate is wanted."""


def cases(quick: bool) -> list[Case]:
    """One per behaviour of the gateway, and one of about a minute without one, as its absence may last."""
    count = 3_000 if quick else 10_000
    found = [_case(f"gateway {name}", *GATEWAYS[name], count=count, rounds=3 if quick else 5) for name in GATEWAYS]
    if not quick:
        found.append(_case("gateway is absent for about a minute", ABSENT, None, count=150_000, rounds=1))
    return found


def _case(title: str, answers_after: float, times_peer: float | None, *, count: int, rounds: int) -> Case:
    contenders = [
        Contender(system=Asya("asya with progress", gateway_answers_after=answers_after)),
        Contender(system=Asya("asya without a gateway"), targets={"msg/s": SHARE}),
    ]
    if times_peer is not None:
        contenders.append(Contender(system=Peer(answers_after), targets={"msg/s": times_peer}))
    return Case(
        bench="B2",
        title=f"{title}, {count:,} × 1 kB, identity, classic queue",
        contenders=tuple(contenders),
        measure=throughput,
        rounds=rounds,
        count=count,
        warm_up=500,
    )
