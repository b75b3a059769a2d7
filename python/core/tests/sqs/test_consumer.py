"""Receiving and settling, against a scripted API and a clock that can be moved."""

import asyncio
import time
from typing import Any

import pytest
from python.core.tests.sqs.scripted import AtOnce, ScriptedCalls, message, move_on, run, turns

from asya_core.transports.base import Delivered, Receipt, Settled, SettledOutcome
from asya_core.transports.sqs.calls import Answer
from asya_core.transports.sqs.client import Fault
from asya_core.transports.sqs.consumer import Consumer
from asya_core.transports.sqs.settings import SqsSettings

HOUR = 3600


class Bed:
    """A consumer whose polls are answered when the test says so."""

    def __init__(self, visibility_seconds: int = 120) -> None:
        loop = asyncio.get_running_loop()
        self.calls = ScriptedCalls()
        self.polls = AtOnce(loop, is_held=True)
        self.delivered: list[Delivered] = []
        self.settled: list[Settled] = []
        self.refused: list[str | None] = []
        self.consumer = Consumer(
            SqsSettings(region="x", visibility_seconds=visibility_seconds),
            self.calls,  # type: ignore[arg-type]
            AtOnce(loop),  # type: ignore[arg-type]
            self.polls,  # type: ignore[arg-type]
            deliver=self.delivered.append,
            settled=self.settled.append,
            on_answer=lambda answer: None,
            on_refused=self.refused.append,
        )

    async def bring(self, *messages: Any, fault: Fault | None = None, reason: str = "") -> None:
        """Answer the oldest poll."""
        self.calls.script("receive", Answer(messages=messages, fault=fault, reason=reason))
        self.polls.let_go()
        await turns()

    async def hold(self, number: int = 1, **more: Any) -> Receipt:
        """Subscribe and take one message."""
        self.consumer.subscribe("q", 1)
        await self.bring(message(number, **more))
        return self.delivered[-1].receipt


def test_attempt_counts_receives_and_origin_is_told() -> None:
    async def work() -> None:
        bed = Bed()
        await bed.hold(receives=3, source="asya-d-ocr")
        assert (bed.delivered[0].attempt, bed.delivered[0].origin, bed.delivered[0].body) == (3, "asya-d-ocr", b"m1")

    run(work())


def test_poll_asks_for_no_more_than_is_free_and_for_ten_at_most() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 12)
        await bed.bring(*map(message, range(10)))
        bed.polls.let_go()
        await turns()
        assert [asked[1] for asked in bed.calls.of("receive")] == [10, 2]

    run(work())


def test_poll_waits_twenty_seconds_and_those_beside_it_not_at_all() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 40)
        await bed.bring(*map(message, range(10)))
        while bed.polls.held:
            bed.polls.let_go()
        assert [asked[2] for asked in bed.calls.of("receive")] == [20, 20, 0, 0]

    run(work())


def test_renewal_comes_each_third_until_the_twelve_hours_are_over() -> None:
    async def work() -> None:
        bed = Bed(visibility_seconds=120)
        receipt = await bed.hold()
        await move_on(39)
        assert bed.calls.of("hide") == []
        await move_on(2)
        await move_on(20)
        assert bed.calls.of("hide") == [("q", [("h1", 120)])]
        for _ in range(11 * 60 + 58):
            await move_on(60)
        last = [handles[0][1] for _, handles in bed.calls.of("hide")]
        assert set(last[:-3]) == {120}
        assert 0 < last[-1] < 120  # no more than is left
        await move_on(180)
        bed.consumer.ack(receipt)
        await turns()
        assert bed.calls.of("delete") == []  # it is another's
        assert len(bed.polls.held) == 1  # and its place is free

    run(work())


def test_message_whose_renewal_is_refused_frees_its_place() -> None:
    async def work() -> None:
        bed = Bed()
        receipt = await bed.hold()
        bed.calls.script("hide", Answer(entries=[(Fault.BAD_REQUEST, "ReceiptHandleIsInvalid")]))
        await move_on(41)
        await move_on(20)
        assert len(bed.polls.held) == 1
        bed.consumer.retry(receipt, 1)
        await turns()
        assert bed.settled == [Settled(receipt, SettledOutcome.LOST)]

    run(work())


def test_message_that_could_not_be_renewed_in_time_may_be_anothers() -> None:
    async def work() -> None:
        bed = Bed(visibility_seconds=3)
        await bed.hold()
        bed.calls.script("hide", *[Answer(fault=Fault.NOT_SENT)] * 100)
        assert not bed.consumer.expired()
        await move_on(2.9)
        await move_on(0.2)
        assert bed.consumer.expired()

    run(work())


@pytest.mark.parametrize(("delay", "hidden"), [(0, 0), (-1, 0), (0.25, 1), (30, 30), (11.9 * HOUR, 42_840)])
def test_retry_hides_the_message_for_whole_seconds(delay: float, hidden: int) -> None:
    async def work() -> None:
        bed = Bed()
        receipt = await bed.hold()
        bed.consumer.retry(receipt, delay)
        await turns()
        assert bed.calls.of("hide") == [("q", [("h1", hidden)])]
        assert bed.settled == [Settled(receipt, SettledOutcome.OK)]

    run(work())


def test_retry_that_outlasts_the_twelve_hours_leaves_a_copy_that_is_hidden_again_until_its_time() -> None:
    async def work() -> None:
        bed = Bed(visibility_seconds=43_200)
        receipt = await bed.hold(receives=2)
        await move_on(11 * HOUR + 3500)
        bed.consumer.retry(receipt, 2 * HOUR)
        await turns()
        [(queue, handle, target, copy)] = bed.calls.of("move")
        assert (queue, handle, target, copy.text, copy.delay_seconds) == ("q", "h1", "q", "m1", 900)
        assert copy.attributes["asya-attempt"] == "2"
        until = int(copy.attributes["asya-not-before"]) / 1000 - time.time()
        assert until == pytest.approx(2 * HOUR, abs=60)
        assert bed.settled == [Settled(receipt, SettledOutcome.OK)]

        # Fifteen minutes later SQS hands it over: too early.
        await bed.bring(message(2, **{name.replace("-", "_"): value for name, value in copy.attributes.items()}))
        [(_, [(hidden, seconds)])] = [asked for asked in bed.calls.of("hide") if asked[1][0][0] == "h2"]
        assert hidden == "h2"
        assert seconds == pytest.approx(2 * HOUR, abs=60)
        assert len(bed.delivered) == 1

        await bed.bring(message(2, receives=2, asya_attempt="2", asya_not_before="1"))
        assert bed.delivered[1].attempt == 4  # never fewer than runs

    run(work())


def test_reject_moves_a_copy_with_its_origin() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.reject(await bed.hold())
        await turns()
        [(_, handle, target, copy)] = bed.calls.of("move")
        assert (handle, target, copy.attributes) == ("h1", "dead", {"asya-origin": "q"})

    run(work())


def test_what_a_poll_brings_after_unsubscribe_is_given_back() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 5)
        bed.consumer.unsubscribe()
        await bed.bring(message(1), message(2))
        assert bed.delivered == []
        assert bed.calls.of("hide") == [("q", [("h1", 0), ("h2", 0)])]

    run(work())


def test_what_a_poll_brings_after_close_is_given_back_by_its_own_thread() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 5)
        closed = asyncio.Event()
        bed.consumer.close(closed.set, seconds=0.5)
        await asyncio.wait_for(closed.wait(), 30)
        bed.calls.script("receive", Answer(messages=[message(1)]))
        job, _ = bed.polls.held.pop(0)
        job()  # nobody is left to hear what it gives
        assert bed.calls.of("hide") == [("q", [("h1", 0)])]

    run(work())


def test_close_gives_back_what_is_held_and_deletes_what_was_acknowledged() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 2)
        await bed.bring(message(1), message(2))
        bed.consumer.ack(bed.delivered[0].receipt)
        closed = asyncio.Event()
        bed.consumer.close(closed.set, seconds=0.5)
        await asyncio.wait_for(closed.wait(), 30)
        assert (bed.calls.of("delete"), bed.calls.of("hide")) == ([("q", ["h1"])], [("q", [("h2", 0)])])

    run(work())


def test_entries_that_fail_are_deleted_again_and_the_others_are_not() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 2)
        await bed.bring(message(1), message(2))
        bed.calls.script("delete", Answer(entries=[None, (Fault.NOT_SENT, "InternalError")]))
        for delivery in bed.delivered:
            bed.consumer.ack(delivery.receipt)
        await turns()
        await move_on(10)
        assert bed.calls.of("delete") == [("q", ["h1", "h2"]), ("q", ["h2"])]

    run(work())


def test_refused_right_to_receive_is_told_until_it_is_granted() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 1)
        await bed.bring(fault=Fault.DENIED, reason="the server answered 403 AccessDenied")
        await move_on(30)
        await bed.bring()
        assert bed.refused == ["the server answered 403 AccessDenied", None]

    run(work())


def test_queue_that_is_missing_is_asked_for_again() -> None:
    async def work() -> None:
        bed = Bed()
        bed.consumer.subscribe("q", 1)
        await bed.bring(fault=Fault.NO_QUEUE)
        assert bed.polls.held == []
        await move_on(30)
        await bed.bring(message(1))
        assert len(bed.delivered) == 1

    run(work())
