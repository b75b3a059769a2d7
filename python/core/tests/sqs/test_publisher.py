"""What an answer of SQS means for each message, and how messages are batched."""

import asyncio
from typing import Any

import pytest
from python.core.tests.sqs.scripted import AtOnce, ScriptedCalls, move_on, run, turns

from asya_core.transports.base import PublishOutcome
from asya_core.transports.sqs.calls import Answer
from asya_core.transports.sqs.client import Fault
from asya_core.transports.sqs.publisher import Publisher

CONFIRMED = PublishOutcome.CONFIRMED


class Bed:
    """A publisher and what it told."""

    def __init__(self, *, is_loaded: bool = False, is_held: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.calls = ScriptedCalls()
        self.threads = AtOnce(loop, is_held=is_held)
        self.outcomes: dict[int, PublishOutcome] = {}
        self.throttled: list[bool] = []
        self.publisher = Publisher(
            self.calls,  # type: ignore[arg-type]
            self.threads,  # type: ignore[arg-type]
            on_outcome=self.outcomes.__setitem__,
            on_answer=lambda answer: None,
            on_throttled=self.throttled.append,
            more_will_come=lambda: is_loaded,
        )

    def publish(self, count: int, size: int = 1, first: int = 0) -> None:
        for token in range(first, first + count):
            self.publisher.publish(token, "q", b"x" * size)

    def sizes(self) -> list[int]:
        return [len(batch) for _, batch in self.calls.of("send")]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(entries=[None]), CONFIRMED),
        (Answer(fault=Fault.NO_QUEUE), PublishOutcome.RETURNED),
        (Answer(fault=Fault.UNCERTAIN), PublishOutcome.LOST),
        (Answer(fault=Fault.DENIED), PublishOutcome.REFUSED),
        (
            Answer(fault=Fault.BAD_REQUEST, reason="400 InvalidParameterValue: Message must be shorter than 2 bytes"),
            PublishOutcome.TOO_LARGE,
        ),
        (Answer(fault=Fault.BAD_REQUEST, reason="400 UnsupportedOperation"), PublishOutcome.REFUSED),
        (Answer(entries=[(Fault.BAD_REQUEST, "InvalidParameterValue: Message must be shorter than 2 bytes")]), PublishOutcome.TOO_LARGE),
        (Answer(fault=Fault.THROTTLED), CONFIRMED),
        (Answer(fault=Fault.NOT_SENT), CONFIRMED),
        (Answer(entries=[(Fault.NOT_SENT, "InternalError")]), CONFIRMED),
        (Answer(entries=[(Fault.UNCERTAIN, "the answer does not tell")]), PublishOutcome.LOST),
    ],
)
def test_outcome_follows_from_the_answer(answer: Answer, outcome: PublishOutcome) -> None:
    async def work() -> None:
        bed = Bed()
        bed.calls.script("send", answer)
        bed.publish(1)
        await turns()
        await move_on(10)
        assert bed.outcomes == {0: outcome}

    run(work())


def test_one_bad_message_costs_its_neighbours_a_second_call_and_nothing_else() -> None:
    async def work() -> None:
        bed = Bed()
        too_long = Answer(fault=Fault.BAD_REQUEST, reason="Message must be shorter than 9 bytes")
        bed.calls.script("send", too_long, Answer(entries=[None]), too_long, Answer(entries=[None]))
        bed.publish(3)
        await turns(20)
        assert bed.outcomes == {0: CONFIRMED, 1: PublishOutcome.TOO_LARGE, 2: CONFIRMED}
        assert bed.sizes() == [3, 1, 1, 1]

    run(work())


def test_throttling_is_told_once_and_its_end_once() -> None:
    async def work() -> None:
        bed = Bed()
        bed.calls.script("send", *[Answer(fault=Fault.THROTTLED)] * 3)
        bed.publish(1)
        await turns()
        for _ in range(4):
            await move_on(10)
        assert (bed.throttled, bed.outcomes) == ([True, False], {0: CONFIRMED})

    run(work())


def test_batch_holds_ten_messages_and_one_mebibyte() -> None:
    async def work() -> None:
        bed = Bed()
        bed.publish(25)
        await turns(20)
        bed.publish(5, size=300_000, first=25)
        await turns(20)
        assert sorted(bed.sizes()) == [2, 3, 5, 10, 10]
        assert len(bed.outcomes) == 30

    run(work())


def test_one_message_leaves_at_once_and_others_gather_meanwhile() -> None:
    async def work() -> None:
        bed = Bed(is_held=True)
        bed.publish(1)
        await turns()
        bed.publish(4, first=1)
        await turns()
        assert len(bed.threads.held) == 1
        bed.threads.let_go()
        await turns()
        bed.threads.let_go()
        await turns()
        assert bed.sizes() == [1, 4]

    run(work())


def test_under_load_a_call_waits_ten_milliseconds_for_ten() -> None:
    async def work() -> None:
        bed = Bed(is_loaded=True)
        bed.publish(3)
        await turns()
        assert bed.sizes() == []
        bed.publish(7, first=3)
        await turns()
        assert bed.sizes() == [10]
        bed.publish(2, first=10)
        await turns()
        await move_on(0.011)
        assert bed.sizes() == [10, 2]

    run(work())


def test_escaped_body_over_the_limit_is_too_large() -> None:
    async def work() -> None:
        bed = Bed()
        bed.publisher.publish(1, "q", b"\xff" * 300_000)
        await turns()
        assert (bed.outcomes, bed.sizes()) == ({1: PublishOutcome.TOO_LARGE}, [])

    run(work())


def test_giving_up_answers_everything_once() -> None:
    async def work() -> None:
        bed = Bed(is_held=True)
        bed.publish(15)
        await turns()
        told: dict[int, Any] = dict(bed.outcomes)
        bed.publisher.give_up()
        while bed.threads.held:
            bed.threads.let_go()
        await turns()
        assert told == {}
        assert set(bed.outcomes.values()) == {PublishOutcome.LOST}
        assert len(bed.outcomes) == 15

    run(work())
