"""Keys that wait: coalesced, never two at a time, user changes first, back-off that grows and is forgotten."""

import asyncio
from collections.abc import Awaitable, Callable

from asya_core.ops.clock import FakeClock
from asya_operator.workqueue import WorkQueue

A, B, C = ("n", "a"), ("n", "b"), ("n", "c")


def run(body: Callable[[WorkQueue, FakeClock], Awaitable[None]]) -> None:
    async def whole() -> None:
        clock = FakeClock()
        async with asyncio.timeout(5):
            await body(WorkQueue(clock.monotonic, lambda: 0.0), clock)

    asyncio.run(whole())


async def is_idle(queue: WorkQueue) -> bool:
    """Whether nothing is to be taken at this moment."""
    task = asyncio.create_task(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return False
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return True


def test_equal_keys_are_one():
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        for _ in range(3):
            queue.add(A)
        assert await queue.take() == A
        queue.done(A)
        assert await is_idle(queue)

    run(body)


def test_key_that_changes_while_it_runs_runs_once_more_afterwards():
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        queue.add(A)
        await queue.take()
        queue.add(A)
        queue.add(A)
        assert await is_idle(queue)
        queue.done(A)
        assert await queue.take() == A
        queue.done(A)
        assert await is_idle(queue)

    run(body)


def test_urgent_keys_come_first_even_if_they_waited_as_others():
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        queue.add(A, urgent=False)
        queue.add(B, urgent=False)
        queue.add(C)
        queue.add(B)
        assert [await queue.take() for _ in range(3)] == [C, B, A]
        assert await is_idle(queue)

    run(body)


def test_failed_key_waits_longer_each_time_and_not_after_a_success():
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        waits = [queue.failed(A) for _ in range(12)]
        assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
        assert waits[-1] == 300.0
        queue.succeeded(A)
        assert queue.failed(A) == 0.5
        assert queue.failed(B, 7.0) == 7.0

    run(body)


def test_timer_brings_a_key_when_its_time_has_come():
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_after(A, 5.0)
        queue.add_after(A, 50.0)
        assert await is_idle(queue)
        clock.advance(5.1)
        assert await queue.take() == A
        queue.done(A)
        clock.advance(100)
        assert await is_idle(queue)

    run(body)


def test_forgotten_key_does_not_come():
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_after(A, 1.0)
        queue.forget(A)
        clock.advance(2)
        assert await is_idle(queue)

    run(body)
