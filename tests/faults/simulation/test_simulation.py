"""The sidecar's core under ten thousand seeds of faults; and deciders that break a promise, which must be found out."""

import multiprocessing
from pathlib import Path

import broken
import pytest
import world

from asya_sidecar.decide import Decider

SEEDS = 10_000
FOUND_WITHIN = 400
KNOWN = [
    int(line.partition("#")[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line.partition("#")[0].strip()
]


def explain(failures: list[str]) -> str:
    seed = int(failures[0].split()[1].rstrip(":"))
    command = f"replay with: python tests/faults/simulation/world.py {seed}; add the seed to seeds.txt"
    return "\n".join([*failures[:20], command, *world.trace(seed).splitlines()[-80:]])


@pytest.mark.slow
@pytest.mark.behaviour("delivery:nothing-lost")
@pytest.mark.behaviour("delivery:ack:after-confirm")
@pytest.mark.timeout(900)  # 25 s of CPU, in a lane that gives way to all others
def test_ten_thousand_seeds_lose_and_invent_nothing() -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        failures = [failure for failure in pool.imap_unordered(world.outcome, range(SEEDS), chunksize=100) if failure]
    assert not failures, explain(failures)


@pytest.mark.parametrize("seed", KNOWN)
def test_a_seed_that_failed_once_keeps_all_promises(seed: int) -> None:
    failure = world.outcome(seed)
    assert failure is None, explain([failure or ""])


@pytest.mark.parametrize("name", broken.__all__)
def test_simulation_finds_out_a_broken_decider(name: str) -> None:
    make: type[Decider] = getattr(broken, name)
    assert any(world.outcome(seed, make) for seed in range(FOUND_WITHIN)), f"{name} passed {FOUND_WITHIN} seeds"


def test_a_seed_replays_exactly() -> None:
    first, second = (world.trace(17) for _ in range(2))
    assert first == second
