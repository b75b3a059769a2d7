"""A scripted API in place of `Calls`, threads that run at once, and a loop whose clock can be moved."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from asya_core.transports.sqs.calls import Answer, Message, Outgoing

T = TypeVar("T")
OK = None


class ScriptedCalls:
    """Answers as it was told, else with success; writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, list[Answer]] = {}

    def script(self, action: str, *answers: Answer) -> None:
        self.answers.setdefault(action, []).extend(answers)

    def of(self, action: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.asked if each[0] == action]

    def receive(self, queue: str, count: int, *, wait_seconds: int, visibility_seconds: int) -> Answer:
        return self._answer("receive", (queue, count, wait_seconds), 0)

    def send(self, queue: str, batch: Sequence[Outgoing]) -> Answer:
        return self._answer("send", (queue, list(batch)), len(batch))

    def delete(self, queue: str, handles: Sequence[str]) -> Answer:
        return self._answer("delete", (queue, list(handles)), len(handles))

    def hide(self, queue: str, handles: Sequence[tuple[str, int]]) -> Answer:
        return self._answer("hide", (queue, list(handles)), len(handles))

    def move(self, queue: str, handle: str, target: str, message: Outgoing) -> Answer:
        return self._answer("move", (queue, handle, target, message), 1)

    def dead_letter_queue(self, queue: str) -> str | None:
        return "dead"

    def _answer(self, action: str, asked: tuple[Any, ...], entries: int) -> Answer:
        self.asked.append((action, *asked))
        scripted = self.answers.get(action)
        return scripted.pop(0) if scripted else Answer(entries=[OK] * entries)


class AtOnce:
    """`Workers` that runs each job in the caller's thread and tells it in the loop's next turn; polls may be held back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, is_held: bool = False) -> None:
        self._loop = loop
        self.is_held = is_held
        self.held: list[tuple[Callable[[], Any], Callable[[Any], None] | None]] = []

    def run(self, job: Callable[[], Any], done: Callable[[Any], None] | None) -> None:
        if self.is_held:
            self.held.append((job, done))
        else:
            self._run(job, done)

    def let_go(self) -> None:
        """Run the oldest job that is held back."""
        self._run(*self.held.pop(0))

    def _run(self, job: Callable[[], Any], done: Callable[[Any], None] | None) -> None:
        result = job()
        if done is not None:
            self._loop.call_soon(done, result)


class MovableLoop(asyncio.SelectorEventLoop):
    """An event loop whose time may be moved on."""

    ahead = 0.0

    def time(self) -> float:
        return time.monotonic() + self.ahead


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run in a loop whose time may be moved on."""
    loop = MovableLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


async def turns(count: int = 8) -> None:
    """Let what is due happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def move_on(seconds: float) -> None:
    """Move the clock on in steps of which no timer is skipped, and let what is due happen."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovableLoop)
    loop.ahead += seconds
    await asyncio.sleep(0.001)
    await turns()


def message(number: int, *, receives: int = 1, source: str | None = None, **attributes: str) -> Message:
    """The n-th message."""
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return Message(handle=f"h{number}", text=f"m{number}", receives=receives, attributes=named, source=source)
