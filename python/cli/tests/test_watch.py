"""What a run waits for is seen whenever it comes: a change before the wait begins must not be slept through."""

import asyncio
import time
from collections.abc import Callable

import pytest

from asya_cli.output import Talk
from asya_cli.run.lines import Lines
from asya_cli.run.pair import Refusal
from asya_cli.run.watch import Watch
from asya_core.wire.errors import AsyaError, RemoteFault

BOUND = 30.0
REFUSED = Refusal(message="no module 'handler'", hint="handlers", traceback=(), code=78)


def watch() -> Watch:
    talk = Talk()
    return Watch(talk, Lines(talk, ["a"], only=frozenset(), least="error"), {"a"}, tells_hops=False)


def wait(
    seen: Watch, *, meanwhile: Callable[[asyncio.Event], None] | None = None, interrupted: bool = False, seconds: float = BOUND
) -> None:
    """Wait for `a` to be ready; `meanwhile` happens while the wait lasts."""

    async def waits() -> None:
        signal = asyncio.Event()
        if interrupted:
            signal.set()
        if meanwhile is not None:
            asyncio.get_running_loop().call_soon(meanwhile, signal)
        async with asyncio.timeout(BOUND):
            await seen.until(lambda: not seen.awaited, interrupted=signal, deadline=time.monotonic() + seconds)

    asyncio.run(waits())


EVENTS = {
    "ready": lambda seen: seen.ready("a"),
    "refused": lambda seen: seen.refused("a", REFUSED),
    "died": lambda seen: seen.died("a", "runtime", -9, ""),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_change_ends_the_wait_whenever_it_comes(event, when):
    seen = watch()
    if when == "before":
        EVENTS[event](seen)
    told: AsyaError | None = None
    try:
        wait(seen, meanwhile=None if when == "before" else lambda _: EVENTS[event](seen))
    except AsyaError as fault:
        told = fault
    assert told is seen.fault
    assert (told is None) is (event == "ready")


def test_what_is_complete_wins_over_a_process_that_ended_then():
    seen = watch()
    seen.ready("a")
    seen.died("a", "sidecar", 1, "")
    wait(seen)


def test_a_signal_ends_the_wait_whenever_it_comes():
    wait(watch(), interrupted=True)
    wait(watch(), meanwhile=lambda signal: signal.set())


def test_the_deadline_ends_the_wait():
    with pytest.raises(TimeoutError):
        wait(watch(), seconds=0.0)


def test_the_first_fault_is_the_one_that_is_told():
    seen = watch()
    seen.refused("a", REFUSED)
    seen.died("a", "sidecar", 1, "")
    with pytest.raises(RemoteFault, match="no module 'handler'"):
        wait(seen)
