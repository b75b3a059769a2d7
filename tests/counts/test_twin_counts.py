"""What one delivery costs inside the sidecar: Python calls, memory that stays, garbage collections, copies of the payload."""

import asyncio
import gc
import sys
import tracemalloc
from types import FrameType
from typing import Any

from asya_core.wire.envelope import parse
from asya_sidecar import splice
from tests.counts.conftest import Counts
from tests.counts.parts import message
from tests.counts.twin_sidecar import TwinSidecar

DELIVERIES = 1_000
OURS = ("/asya_sidecar/", "/asya_core/wire/", "/asya_core/ops/", "/asya_core/transports/")


def test_python_calls_per_delivery_stay_at_their_baseline(counts: Counts) -> None:
    calls = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call" and any(part in frame.f_code.co_filename for part in OURS):
            calls += 1

    async def count() -> None:
        sidecar = TwinSidecar()
        sidecar.fill(100, message(1_000))
        sidecar.run()
        sidecar.fill(DELIVERIES, message(1_000))
        sys.setprofile(profile)
        try:
            sidecar.run()
        finally:
            sys.setprofile(None)
        assert sidecar.finished() == 100 + DELIVERIES
        sidecar.close()

    asyncio.run(count())
    counts.check("python calls per delivery", calls / DELIVERIES, plus=2)


def test_nothing_that_a_delivery_allocates_outlives_it() -> None:
    async def left_after(thousands: int) -> int:
        sidecar = TwinSidecar()

        async def deliver() -> None:
            sidecar.fill(DELIVERIES, message(1_000))
            sidecar.run()
            sidecar.empty()
            await asyncio.sleep(0)

        for _ in range(2):  # what is made once is there after the first turns
            await deliver()
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.take_snapshot()
        for _ in range(thousands):
            await deliver()
        gc.collect()
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        sidecar.close()
        only = [tracemalloc.Filter(True, f"*{part}*") for part in OURS]
        difference = after.filter_traces(only).compare_to(before.filter_traces(only), "lineno")
        return sum(entry.count_diff for entry in difference)

    # The latest number, time and size of each kind are new objects, about 35, however many deliveries there were.
    few, many = asyncio.run(left_after(1)), asyncio.run(left_after(4))
    assert many - few <= 5


def test_ten_thousand_deliveries_need_at_most_one_full_garbage_collection() -> None:
    full = 0

    def collected(phase: str, info: dict[str, int]) -> None:
        nonlocal full
        full += phase == "stop" and info["generation"] == 2

    async def deliver() -> None:
        sidecar = TwinSidecar()
        gc.collect()
        gc.freeze()
        gc.callbacks.append(collected)
        try:
            for _ in range(10):
                sidecar.fill(1_000, message(1_000))
                sidecar.run()
                sidecar.empty()
                await asyncio.sleep(0)
        finally:
            gc.callbacks.remove(collected)
            gc.unfreeze()
        sidecar.close()

    asyncio.run(deliver())
    assert full <= 1


def test_splicing_copies_the_payload_at_most_twice() -> None:
    body = message(1_000_000)
    payload = b'{"text":"' + b"y" * 999_989 + b'"}'
    splice.advanced(parse(body), payload).encode()
    tracemalloc.start()
    splice.advanced(parse(body), payload).encode()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 2_100_000
