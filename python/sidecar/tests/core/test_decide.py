"""What a sidecar does about each event. Rows and rules: docs/reference/sidecar-lifecycle.md."""

import json
from itertools import pairwise
from typing import Any

import pytest
from core_bench import Bench, broken, message, one

from asya_core.transports.base import PublishOutcome, Receipt, SettledOutcome
from asya_core.wire.errors import Bug
from asya_core.wire.reply import EnvelopesReply, PayloadsReply
from asya_sidecar import effects as fx
from asya_sidecar.decide import _readable
from asya_sidecar.delivery import Delivery
from asya_sidecar.effects import TimerKind
from asya_sidecar.lifecycle import State
from asya_sidecar.retry import RetryPolicy

CONFIRMED, RETURNED, REFUSED = PublishOutcome.CONFIRMED, PublishOutcome.RETURNED, PublishOutcome.REFUSED
TOO_LARGE, LOST = PublishOutcome.TOO_LARGE, PublishOutcome.LOST


def kinds(bench: Bench) -> list[str]:
    return [type(effect).__name__ for effect in bench.said]


# ------------------------------------------------------------------------------------------------------- the plain way


def test_nothing_is_consumed_before_hello() -> None:
    bench = Bench(ready=False)
    assert not bench.has(fx.SetPrefetch)
    bench.take(fx.RuntimeReady(3))
    assert bench.one(fx.SetPrefetch).prefetch == bench.decider.prefetch == 3
    assert bench.decider.is_runtime_ready


def test_output_is_published_with_the_bytes_of_the_vector() -> None:
    bench = Bench()
    bench.arrive()
    assert bench.one(fx.Call) == fx.Call(1, 300_000, message())
    bench.reply(1, one(b'{"x":1,"y":2}'))
    assert bench.one(fx.Publish).body == (
        b'{"id":"7","route":{"actors":["a","b"],"current":1},"payload":{"x":1,"y":2},"headers":{"asya-hops":1}}'
    )
    assert bench.decider.in_flight == {State.PUBLISHING: 1}
    assert bench.decider.unconfirmed == 1


@pytest.mark.behaviour("delivery:ack:after-confirm")
def test_ack_comes_with_the_last_confirm_only() -> None:
    bench = Bench()
    receipt = bench.arrive()
    bench.reply(1, PayloadsReply((b"1", b"2"), True))
    assert [json.loads(effect.body)["id"] for effect in bench.all(fx.Publish)] == ["7.0.0", "7.0.1"]
    bench.ended(2)
    assert bench.said == []
    bench.ended(1)
    assert bench.one(fx.Ack).receipt == receipt
    assert bench.record().outcome is fx.Outcome.OK
    assert (bench.record().items, bench.record().next, bench.record().bytes_in) == (2, ("b",), len(message()))
    assert bench.decider.is_idle


def test_second_message_waits_for_the_slot() -> None:
    bench = Bench(prefetch=2)
    bench.arrive()
    bench.arrive(id="8")
    assert not bench.has(fx.Call)
    bench.reply(1, one())
    assert kinds(bench) == ["Call", "Publish"]


def test_next_call_leaves_before_the_answer_is_worked_on() -> None:
    bench = Bench(prefetch=2)
    bench.arrive()
    bench.arrive(id="8")
    bench.take(fx.CallsEnded((1,)))
    assert [effect.call for effect in bench.all(fx.Call)] == [2]
    bench.reply(1, one())
    assert json.loads(bench.one(fx.Publish).body)["id"] == "7"


def test_end_of_an_unknown_call_changes_nothing() -> None:
    assert Bench().take(fx.CallsEnded((9,))) == []


def test_reply_to_an_unknown_call_changes_nothing() -> None:
    assert Bench().reply(9, one()) == []


def test_ended_envelope_goes_to_happy_end_as_it_came() -> None:
    bench = Bench()
    bench.arrive()
    bench.reply(1, PayloadsReply((), False))
    publish = bench.one(fx.Publish)
    assert publish.queue == "asya-n-happy-end"
    assert json.loads(publish.body)["payload"] == {"x": 1}
    assert json.loads(publish.body)["route"]["current"] == 0
    bench.ended(1)
    assert bench.record().outcome is fx.Outcome.ENDED


def test_progress_is_reported_only_with_a_gateway() -> None:
    bench = Bench(reports_progress=True)
    bench.arrive()
    assert [effect.status for effect in bench.all(fx.Report)] == ["received", "running"]
    bench.reply(1, one())
    bench.ended(1)
    assert bench.one(fx.Report) == fx.Report("7", fx.ProgressStatus.DONE, 0, 1, ("a", "b"), None)


# ------------------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("policy", "arrival", "code"),
    [
        ({}, {"route": {"actors": ["b"], "current": 0}}, "route_mismatch"),
        ({}, {"route": {"actors": ["a"], "current": 1}}, "route_mismatch"),
        ({"max_hops": 3}, {"headers": {"asya-hops": 4}}, "route_too_long"),
        ({}, {"deadline": "2026-01-01T11:59:54Z"}, "deadline_exceeded"),
        ({}, {"attempt": 21}, "too_many_deliveries"),
        ({}, {"payload": ..., "asya_claim": {"key": "k", "bytes": 1, "sha256": "0" * 64}}, "claim_invalid"),
        ({}, {"body": b"[]"}, "bad_envelope"),
    ],
)
def test_failed_check_becomes_one_error_record(policy: dict[str, Any], arrival: dict[str, Any], code: str) -> None:
    bench = Bench(**policy)
    bench.arrive(**arrival)
    assert bench.one(fx.Publish).queue == "asya-n-error-end"
    assert bench.error()["code"] == code
    assert set(bench.error()) == {"code", "type", "mro", "message", "traceback", "actor", "attempt", "at"}
    assert not bench.has(fx.Call)
    bench.ended(1)
    assert bench.has(fx.Ack)
    assert (bench.record().outcome, bench.record().code) == (fx.Outcome.ERROR, code)


@pytest.mark.parametrize(
    ("policy", "arrival"),
    [
        ({"max_hops": 3}, {"headers": {"asya-hops": 3}}),
        ({}, {"deadline": "2026-01-01T11:59:56Z"}),
        ({}, {"attempt": 20}),
        ({"retry": RetryPolicy(max_attempts=30)}, {"attempt": 40}),
        ({}, {"route": {"actors": ["a:step", "b"]}}),
        ({"actor": "error-end"}, {"attempt": 99, "deadline": "2020-01-01T00:00:00Z", "headers": {"asya-hops": 99_999}}),
    ],
)
def test_check_at_its_limit_holds(policy: dict[str, Any], arrival: dict[str, Any]) -> None:
    bench = Bench(**policy)
    bench.arrive(**arrival)
    assert bench.has(fx.Call)


def test_limit_is_what_the_deadline_leaves() -> None:
    bench = Bench()
    bench.arrive(deadline="2026-01-01T12:00:10Z")
    assert bench.one(fx.Call).limit_ms == 15_000


def test_cancelled_id_is_not_run_whether_told_before_or_while_it_waits() -> None:
    bench = Bench(prefetch=2)
    bench.take(fx.Cancelled(("7",)))
    bench.arrive()
    assert bench.error()["code"] == "cancelled"
    bench.arrive(id="8")
    bench.arrive(id="9")
    bench.take(fx.Cancelled(("9",)))
    bench.reply(1, one())
    assert [json.loads(publish.body)["id"] for publish in bench.all(fx.Publish)] == ["8", "9"]


def test_last_ten_thousand_cancelled_ids_are_kept() -> None:
    bench = Bench()
    bench.take(fx.Cancelled(("7", "old")))
    bench.take(fx.Cancelled(("7", *(str(number) for number in range(100, 10_099)))))
    bench.arrive()
    assert bench.error()["code"] == "cancelled"
    bench.arrive(id="old")
    assert bench.has(fx.Call)


@pytest.mark.behaviour("sidecar:unreadable")
def test_unreadable_message_keeps_its_bytes() -> None:
    bench = Bench()
    bench.arrive(b"\x00\xff")
    record = json.loads(bench.one(fx.Publish).body)
    assert record["payload"]["base64"] == "AP8="
    assert record["payload"]["bytes"] == 2
    assert record["route"] == {"actors": ["a"], "current": 0}


# ------------------------------------------------------------------------------------------------------- failures


@pytest.mark.behaviour("sidecar:retry")
def test_exception_is_retried_while_attempts_are_left() -> None:
    bench = Bench(retry=RetryPolicy(max_attempts=2), reports_progress=True)
    receipt = bench.arrive()
    bench.reply(1, broken("handler_error", "ValueError"))
    assert bench.one(fx.Retry).receipt == receipt
    assert 0 < bench.one(fx.Retry).delay_seconds <= 1
    assert bench.one(fx.Report).status == "retrying"
    bench.take(fx.RetryEnded(receipt, SettledOutcome.OK))
    assert bench.record().outcome is fx.Outcome.RETRY
    bench.arrive(attempt=2)
    bench.reply(2, broken("handler_error", "ValueError", traceback="T"))
    assert bench.error() | {"at": None} == {
        "code": "handler_error", "type": "ValueError", "mro": ["ValueError"], "message": "bad", "traceback": "T",
        "actor": "a", "attempt": 2, "at": None,
    }  # fmt: skip
    assert bench.error()["at"] == "2026-01-01T12:00:00.200Z"


@pytest.mark.parametrize("code", ["bad_message", "result_not_serialisable", "timeout"])
def test_other_failures_are_not_retried(code: str) -> None:
    bench = Bench(retry=RetryPolicy(max_attempts=9))
    bench.arrive()
    bench.reply(1, broken(code))
    assert bench.error()["code"] == code


def test_lost_retry_is_asked_for_again() -> None:
    bench = Bench(retry=RetryPolicy(max_attempts=2))
    receipt = bench.arrive()
    retry = bench.reply(1, broken("handler_error"))[0]
    bench.take(fx.RetryEnded(receipt, SettledOutcome.LOST))
    assert bench.one(fx.Timer).kind is TimerKind.RETRY
    assert bench.fire(TimerKind.RETRY, 1) == [retry]
    bench.take(fx.ConsumeLinkChanged(False))
    assert bench.record().outcome is fx.Outcome.DROPPED
    assert bench.take(fx.RetryEnded(receipt, SettledOutcome.LOST)) == []


@pytest.mark.parametrize(("code", "attempt", "delay"), [("runtime_crashed", 1, 1), ("bad_reply", 2, 2), ("runtime_crashed", 3, None)])
def test_crash_counts_an_attempt_and_three_are_enough(code: str, attempt: int, delay: float | None) -> None:
    bench = Bench()
    bench.arrive(attempt=attempt)
    bench.take(fx.RuntimeLost(code, "signal 9"))
    if delay is None:
        assert bench.error()["code"] == code
    else:
        assert bench.one(fx.Retry).delay_seconds == delay
    assert bench.take(fx.RuntimeLost(code, "again")) == []


def test_timeout_sends_one_record_and_others_wait_without_an_attempt() -> None:
    bench = Bench(concurrency=2, prefetch=4, timeout_seconds=10)
    bench.arrive()
    assert bench.one(fx.Timer) == fx.Timer(TimerKind.LIMIT, 0, 10.5)
    bench.now += 5
    bench.arrive(id="8")
    assert not bench.has(fx.Timer)
    bench.fire(TimerKind.LIMIT, after=5.5)
    assert kinds(bench) == ["CloseRuntime", "Timer", "Publish"]
    assert bench.error()["code"] == "timeout"
    assert bench.decider.in_flight == {State.PUBLISHING: 1, State.WAITING: 1}
    assert bench.reply(1, one()) == []
    bench.take(fx.RuntimeReady(2))
    assert json.loads(bench.one(fx.Call).body)["id"] == "8"


def test_limit_timer_follows_the_open_calls() -> None:
    bench = Bench(timeout_seconds=10)
    bench.arrive()
    bench.reply(1, one(), after=4)
    bench.arrive(id="8")
    bench.fire(TimerKind.LIMIT, after=6.5)
    assert bench.one(fx.Timer) == fx.Timer(TimerKind.LIMIT, 0, 4.0)
    bench.reply(2, one())
    assert bench.fire(TimerKind.LIMIT, after=4) == []


def test_earlier_deadline_rearms_the_limit_timer() -> None:
    bench = Bench(concurrency=2, prefetch=2)
    bench.arrive()
    bench.arrive(id="8", deadline="2026-01-01T12:00:01Z")
    assert bench.one(fx.Timer).delay_seconds == 6.5


def test_withdrawn_call_is_given_back_in_a_drain() -> None:
    bench = Bench(concurrency=2, prefetch=2, timeout_seconds=10)
    bench.arrive()
    bench.now += 5
    receipt = bench.arrive(id="8")
    bench.take(fx.DrainRequested(True))
    bench.fire(TimerKind.LIMIT, after=5.5)
    assert bench.one(fx.Requeue).receipt == receipt


# -------------------------------------------------------------------------------------------------------- calls ahead


def quick(*, ahead: int = 1, concurrency: int = 1, run_seconds: float = 0.1, **policy: Any) -> Bench:
    """A bench whose runtime takes calls ahead, after eight runs."""
    bench = Bench(ready=False, **{"prefetch": 8, "timeout_seconds": 10, **policy})
    bench.take(fx.RuntimeReady(concurrency, ahead))
    for call in range(1, 9):
        bench.arrive()
        bench.reply(call, one(), after=run_seconds)
        bench.ended(call)
    return bench


def test_call_is_handed_ahead_and_begins_with_the_answer_before_it() -> None:
    bench = quick(reports_progress=True)
    bench.arrive(id="9")
    bench.arrive(id="10")
    assert bench.one(fx.Call).call == 10
    assert not bench.has(fx.Timer)  # the limit counts from its beginning
    assert [report.status for report in bench.all(fx.Report)] == [fx.ProgressStatus.RECEIVED]
    assert bench.arrive(id="11")
    assert not bench.has(fx.Call)
    assert bench.decider.in_flight == {State.RUNNING: 1, State.AHEAD: 1, State.WAITING: 1}
    bench.take(fx.CallsEnded((9,)), after=3)
    assert bench.one(fx.Call).call == 11
    assert [(report.envelope_id, report.status) for report in bench.all(fx.Report)] == [("10", fx.ProgressStatus.RUNNING)]
    bench.take(fx.Replied(9, one()))
    bench.reply(10, one(), after=4)
    bench.ended(10)
    record = bench.record()
    assert (record.envelope_id, record.wait_ms, record.handler_ms) == ("10", 3000, 4000)


@pytest.mark.parametrize(
    ("bench", "members"),
    [
        (quick(run_seconds=0.5), {}),
        (quick(ahead=0), {}),
        (quick(), {"deadline": "2026-01-01T13:00:00Z"}),
        (quick(), {"payload": "x" * 65_536}),
    ],
    ids=["slow runs", "a runtime that takes none", "a limit that depends on the beginning", "a large message"],
)
def test_call_is_not_handed_ahead(bench: Bench, members: dict[str, Any]) -> None:
    bench.arrive()
    assert bench.has(fx.Call)
    bench.arrive(**members)
    assert not bench.has(fx.Call)
    bench.arrive()
    assert not bench.has(fx.Call)  # nor does one behind it go first
    bench.reply(9, one())
    assert bench.all(fx.Call)[0].call == 10


def test_crash_counts_an_attempt_for_what_was_begun_only() -> None:
    bench = quick(concurrency=2, ahead=2)
    for number in range(9, 13):
        bench.arrive(id=str(number))
    bench.take(fx.RuntimeLost("runtime_crashed", "signal 9"))
    assert [retry.receipt for retry in bench.all(fx.Retry)] == ["r9", "r10"]
    assert bench.decider.in_flight == {State.RETRYING: 2, State.WAITING: 2}
    bench.take(fx.RuntimeReady(2, 2))
    assert [json.loads(call.body)["id"] for call in bench.all(fx.Call)] == ["11", "12"]
    assert bench.decider.in_flight[State.RUNNING] == 2


def test_limit_of_a_call_ahead_counts_from_its_beginning_and_a_timeout_leaves_it_waiting() -> None:
    bench = quick()
    bench.arrive(id="9")
    bench.arrive(id="10")
    bench.fire(TimerKind.LIMIT, after=10.5)
    assert bench.error()["code"] == "timeout"
    assert bench.decider.in_flight == {State.PUBLISHING: 1, State.WAITING: 1}
    bench.take(fx.RuntimeReady(1, 1))
    assert json.loads(bench.one(fx.Call).body)["id"] == "10"
    assert bench.all(fx.Timer)[-1] == fx.Timer(TimerKind.LIMIT, 0, 10.5)


def test_drain_of_the_runtime_gives_back_what_is_ahead_and_sigterm_lets_it_run() -> None:
    bench = quick()
    bench.arrive()
    ahead = bench.arrive(id="9")
    bench.take(fx.DrainRequested(False))
    assert [requeue.receipt for requeue in bench.all(fx.Requeue)] == [ahead]
    assert bench.decider.in_flight == {State.RUNNING: 1}
    bench = quick()
    bench.arrive()
    bench.arrive(id="9")
    bench.take(fx.DrainRequested(True))
    assert not bench.has(fx.Requeue)
    bench.reply(9, one())
    assert bench.decider.in_flight == {State.PUBLISHING: 1, State.RUNNING: 1}


def test_orphan_that_is_ahead_is_adopted_and_runs_once() -> None:
    bench = quick()
    bench.arrive()
    bench.arrive(id="9")
    bench.take(fx.ConsumeLinkChanged(False))
    assert bench.decider.in_flight == {State.ORPHANED: 2}
    again = bench.arrive(id="9", attempt=2)
    assert not bench.has(fx.Call)
    bench.reply(9, one())
    bench.reply(10, one())
    bench.ended(9)
    assert bench.one(fx.Ack).receipt == again


def test_orphan_that_is_ahead_is_forgotten_with_its_runtime() -> None:
    bench = quick()
    bench.arrive()
    bench.arrive(id="9")
    bench.take(fx.ConsumeLinkChanged(False))
    bench.take(fx.RuntimeLost("runtime_crashed", "signal 9"))
    assert bench.decider.is_idle


def test_call_ahead_that_fits_no_frame_frees_no_slot() -> None:
    bench = quick(ahead=2)
    for number in (9, 10, 11):
        bench.arrive(id=str(number))
    bench.reply(10, broken("payload_too_large"))
    assert bench.error()["code"] == "payload_too_large"
    assert bench.decider.in_flight == {State.RUNNING: 1, State.AHEAD: 1, State.PUBLISHING: 1}


def test_hello_with_open_calls_is_a_bug() -> None:
    bench = Bench()
    bench.arrive()
    with pytest.raises(Bug):
        bench.take(fx.RuntimeReady(1))


# ------------------------------------------------------------------------------------------------------- publishing


def run(bench: Bench, reply: Any = None, **members: Any) -> None:
    bench.arrive(**members)
    bench.reply(1, reply or one())


def test_missing_queue_is_tried_eight_times_over_95_seconds() -> None:
    bench = Bench()
    run(bench)
    delays = []
    for token in range(1, 8):
        bench.ended(token, RETURNED)
        delays.append(bench.one(fx.Timer).delay_seconds)
        bench.fire(TimerKind.STALLED, 1, after=delays[-1] or 0)
        assert bench.one(fx.Publish).queue == "asya-n-b"
    assert delays == pytest.approx([1, 2, 4, 8, 16, 32, 32])
    bench.ended(8, RETURNED)
    record = json.loads(bench.one(fx.Publish).body)
    assert record["error"]["code"] == "unroutable"
    assert (record["route"]["current"], record["payload"]) == (1, {"x": 2})
    bench.ended(9)
    assert bench.record().code == "unroutable"


@pytest.mark.parametrize("outcome", [REFUSED, RETURNED])
def test_error_record_never_gives_up(outcome: PublishOutcome) -> None:
    bench = Bench(unroutable_tries=0)
    bench.arrive(b"")
    for token in range(1, 60):
        bench.ended(token, outcome)
        assert 0 < (bench.one(fx.Timer).delay_seconds or 0) <= 30
        bench.fire(TimerKind.STALLED, 1, after=30)
        assert bench.one(fx.Publish).queue == "asya-n-error-end"


def test_obstructed_outputs_each_keep_their_time() -> None:
    bench = Bench()
    run(bench, PayloadsReply((b"1", b"2", b"3"), True))
    bench.ended(1, RETURNED)
    bench.now += 0.5
    assert bench.ended(2, RETURNED) == []
    bench.ended(3)
    assert bench.decider.in_flight == {State.STALLED: 1}
    bench.fire(TimerKind.STALLED, 1, after=0.5)
    assert bench.one(fx.Timer).delay_seconds == pytest.approx(0.5)
    assert len(bench.all(fx.Publish)) == 1
    bench.fire(TimerKind.STALLED, 1, after=0.5)
    bench.ended(4)
    bench.ended(5)
    assert bench.has(fx.Ack)


def test_lost_publish_is_sent_again_when_the_link_is_back() -> None:
    bench = Bench()
    run(bench)
    bench.take(fx.PublishLinkChanged(False))
    assert bench.ended(1, LOST) == []
    bench.take(fx.PublishLinkChanged(True))
    assert bench.one(fx.Publish).token == 2


def test_window_bounds_open_publishes() -> None:
    bench = Bench(publish_window=2)
    run(bench, PayloadsReply((b"1", b"2", b"3"), True))
    assert len(bench.all(fx.Publish)) == 2
    bench.ended(1)
    assert len(bench.all(fx.Publish)) == 1


def test_too_large_output_fails_alone_with_the_input_payload() -> None:
    bench = Bench()
    run(bench, PayloadsReply((b"1", b"2"), True))
    bench.ended(1, TOO_LARGE)
    record = json.loads(bench.one(fx.Publish).body)
    assert record["error"]["code"] == "payload_too_large"
    assert (record["id"], record["parent_id"], record["payload"], record["route"]["current"]) == ("7.0.0", "7", {"x": 1}, 0)


def test_too_large_list_is_not_sent_in_part() -> None:
    bench = Bench(max_message_bytes=500)
    run(bench, PayloadsReply((b"1", b'"' + b"x" * 500 + b'"'), True))
    assert bench.error()["code"] == "payload_too_large"
    assert json.loads(bench.one(fx.Publish).body)["payload"] == {"x": 1}


def test_too_large_catch_keeps_its_error() -> None:
    bench = Bench()
    run(bench, broken("handler_error", "KeyError"), headers={"asya-catch": ["c"]})
    assert bench.one(fx.Publish).queue == "asya-n-c"
    bench.ended(1, TOO_LARGE)
    assert bench.one(fx.Publish).queue == "asya-n-error-end"
    assert bench.error()["type"] == "KeyError"
    bench.ended(2)
    assert bench.record().error_codes == ("handler_error",)


@pytest.mark.parametrize("body", [message(payload="y" * 3000), b"y" * 3000, b"\xff" * 3000])
def test_error_record_shrinks_until_the_broker_takes_it_and_then_waits(body: bytes) -> None:
    bench = Bench()
    bench.take(fx.Cancelled(("7",)))
    bench.arrive(body)
    facts = None
    for token in range(1, 30):
        bench.ended(token, TOO_LARGE)
        if bench.has(fx.Timer):
            break
        payload = json.loads(bench.one(fx.Publish).body)["payload"]
        facts = facts or (payload["bytes"], payload["sha256"])
        assert (payload["bytes"], payload["sha256"]) == facts
    assert bench.one(fx.Timer).kind is TimerKind.STALLED


def test_unknown_token_is_a_bug() -> None:
    with pytest.raises(Bug):
        Bench().ended(5)


# ------------------------------------------------------------------------------------------------------- end actors


def stored(head: dict[str, Any] | None = None) -> EnvelopesReply:
    return EnvelopesReply(((json.dumps(head or {**json.loads(message(payload=...)), "asya_stored": 1}).encode(), b'{"x":1}'),), False)


@pytest.mark.parametrize("answer", [fx.FinalAnswer.RECORDED, fx.FinalAnswer.REFUSED])
def test_end_actor_reports_before_it_acks(answer: fx.FinalAnswer) -> None:
    bench = Bench(actor="happy-end", reports_progress=True)
    receipt = bench.arrive()
    assert not bench.has(fx.Report)
    bench.reply(1, stored())
    assert bench.one(fx.ReportFinal).envelope_id == "7"
    assert b'"asya_stored":' in bench.one(fx.ReportFinal).body
    bench.take(fx.FinalReported(1, answer))
    assert bench.one(fx.Ack).receipt == receipt
    assert bench.take(fx.FinalReported(1, answer)) == []


def test_absent_gateway_is_asked_again_without_end() -> None:
    bench = Bench(actor="error-end")
    bench.arrive(attempt=5000)
    bench.reply(1, stored())
    bench.take(fx.FinalReported(1, fx.FinalAnswer.UNAVAILABLE))
    assert bench.has(fx.Retry)
    assert bench.take(fx.FinalReported(1, fx.FinalAnswer.RECORDED)) == []


@pytest.mark.parametrize("reply", [one(), EnvelopesReply((), False), stored({"id": "8", "route": {"actors": ["a"]}}), broken("timeout")])
def test_unstored_result_is_tried_a_hundred_times(reply: Any) -> None:
    bench = Bench(actor="happy-end")
    bench.arrive(attempt=99)
    bench.reply(1, reply)
    assert bench.has(fx.Retry)
    bench.arrive(attempt=100)
    bench.reply(2, reply)
    assert bench.error()["code"] == "result_not_stored"


def test_error_end_rejects_after_a_hundred_tries() -> None:
    bench = Bench(actor="error-end")
    receipt = bench.arrive(attempt=100)
    bench.reply(1, EnvelopesReply(((b"[]", b"1"),), False))
    assert bench.one(fx.Reject).receipt == receipt
    bench.take(fx.RetryEnded(receipt, SettledOutcome.OK))
    assert bench.record().outcome is fx.Outcome.ERROR


def test_error_end_names_the_actor_that_the_broker_gave_up_on() -> None:
    bench = Bench(actor="error-end")
    bench.arrive(origin="asya-n-b")
    error = json.loads(bench.one(fx.Call).body)["error"]
    assert (error["code"], error["actor"]) == ("too_many_deliveries", "b")
    bench.reply(1, stored())
    bench.arrive(b"x", origin="asya-n-b")
    assert bench.error()["actor"] == "b"


def test_error_that_is_there_already_is_kept() -> None:
    bench = Bench(actor="error-end")
    bench.arrive(origin="asya-n-b", error={"code": "mine"})
    assert json.loads(bench.one(fx.Call).body)["error"] == {"code": "mine"}


# ------------------------------------------------------------------------------------------------------- orphans


def blink(bench: Bench) -> None:
    bench.take(fx.ConsumeLinkChanged(False))
    bench.take(fx.ConsumeLinkChanged(True))


def test_message_that_comes_again_adopts_its_run() -> None:
    bench = Bench()
    bench.arrive()
    blink(bench)
    assert bench.decider.in_flight == {State.ORPHANED: 1}
    receipt = bench.arrive(attempt=2)
    assert not bench.has(fx.Call)
    bench.reply(1, one())
    bench.ended(1)
    assert bench.one(fx.Ack).receipt == receipt
    assert bench.record().attempt == 2


def test_reply_to_an_orphan_is_kept_and_nothing_sent() -> None:
    bench = Bench()
    bench.arrive()
    blink(bench)
    bench.reply(1, one())
    assert bench.said == [fx.Timer(TimerKind.ORPHAN, 1, 60.0)]
    bench.arrive()
    assert kinds(bench) == ["Timer", "Publish"]


def test_confirmed_orphan_is_only_acked() -> None:
    bench = Bench()
    run(bench, PayloadsReply((b"1", b"2"), True))
    blink(bench)
    bench.ended(1)
    assert bench.ended(2) == []
    receipt = bench.arrive()
    assert bench.one(fx.Ack).receipt == receipt
    assert bench.decider.is_idle


def test_adopted_orphan_waits_for_the_confirm_that_is_open() -> None:
    bench = Bench()
    run(bench, PayloadsReply((b"1", b"2"), True))
    blink(bench)
    bench.ended(1)
    bench.arrive()
    assert not bench.has(fx.Publish)
    bench.ended(2)
    assert bench.has(fx.Ack)


@pytest.mark.parametrize("outcome", [LOST, RETURNED, REFUSED, TOO_LARGE])
def test_orphan_sends_nothing_new_until_adopted(outcome: PublishOutcome) -> None:
    bench = Bench()
    run(bench)
    blink(bench)
    assert bench.ended(1, outcome) == []
    bench.arrive()
    assert bench.has(fx.Publish)


def test_stalled_orphan_stops_its_timer() -> None:
    bench = Bench(publish_window=1)
    run(bench, PayloadsReply((b"1", b"2"), True))
    bench.take(fx.PublishLinkChanged(False))
    bench.ended(1, RETURNED)
    bench.take(fx.ConsumeLinkChanged(False))
    assert fx.Timer(TimerKind.STALLED, 1, None) in bench.said
    assert bench.fire(TimerKind.STALLED, 1) == []
    assert bench.take(fx.PublishLinkChanged(True)) == []
    bench.arrive()
    assert len(bench.all(fx.Publish)) == 1


def test_orphan_is_forgotten_after_a_minute() -> None:
    bench = Bench()
    run(bench)
    blink(bench)
    bench.fire(TimerKind.ORPHAN, 1, after=60)
    assert bench.record().outcome is fx.Outcome.DROPPED
    assert bench.ended(1) == []
    assert bench.fire(TimerKind.ORPHAN, 1) == []


def test_output_of_a_forgotten_delivery_is_not_sent() -> None:
    bench = Bench(publish_window=1)
    run(bench, PayloadsReply((b"1", b"2"), True))
    bench.take(fx.PublishLinkChanged(False))
    blink(bench)
    bench.fire(TimerKind.ORPHAN, 1, after=60)
    bench.ended(1)
    assert bench.take(fx.PublishLinkChanged(True)) == []


def test_orphans_over_64_mib_are_forgotten_oldest_first() -> None:
    bench = Bench(concurrency=3, prefetch=4)
    big = b'"' + b"x" * (40 << 20) + b'"'
    for name in ("1", "2", "3"):
        bench.arrive(id=name)
    blink(bench)
    bench.reply(1, EnvelopesReply(((b"{}", big),), False))
    bench.reply(2, PayloadsReply((big,), False))
    assert bench.record().envelope_id == "1"
    bench.reply(3, broken(traceback="T"))
    assert not bench.has(fx.LogDelivery)
    assert bench.decider.in_flight == {State.ORPHANED: 2}


def test_orphan_that_is_too_big_alone_is_forgotten() -> None:
    bench = Bench()
    bench.arrive()
    blink(bench)
    bench.reply(1, PayloadsReply((b'"' + b"x" * (65 << 20) + b'"',), False))
    assert bench.decider.is_idle


def test_copies_of_one_message_adopt_one_orphan_each() -> None:
    bench = Bench(concurrency=2, prefetch=2)
    bench.arrive()
    bench.arrive()
    blink(bench)
    for _ in range(2):
        bench.arrive()
        assert not bench.has(fx.Call)
    assert bench.decider.in_flight == {State.RUNNING: 2}


def test_orphan_whose_runtime_is_gone_is_forgotten() -> None:
    bench = Bench()
    bench.arrive()
    blink(bench)
    bench.take(fx.RuntimeLost("runtime_crashed", "gone"))
    assert bench.record().outcome is fx.Outcome.DROPPED


def test_orphan_past_its_limit_becomes_one_record_when_adopted() -> None:
    bench = Bench(concurrency=2, prefetch=2, timeout_seconds=10)
    bench.arrive()
    bench.now += 1
    bench.arrive(id="8")
    blink(bench)
    bench.fire(TimerKind.LIMIT, after=9.5)
    assert bench.record().envelope_id == "8"
    assert not bench.has(fx.Publish)
    bench.arrive()
    assert bench.error()["code"] == "timeout"


def test_waiting_and_reporting_deliveries_are_dropped_with_their_receipt() -> None:
    bench = Bench(actor="happy-end", prefetch=2)
    bench.arrive()
    bench.reply(1, stored())
    bench.arrive(id="8")
    bench.arrive(id="9")
    bench.take(fx.ConsumeLinkChanged(False))
    assert [effect.record.envelope_id for effect in bench.all(fx.LogDelivery)] == ["7", "9"]
    blink(bench)
    assert bench.said == []


# ------------------------------------------------------------------------------------------------------- drain


def test_drain_gives_back_what_waits_and_leaves_when_the_run_is_done() -> None:
    bench = Bench(prefetch=2)
    bench.arrive()
    waiting = bench.arrive(id="8")
    bench.take(fx.DrainRequested(True))
    assert bench.decider.is_draining
    assert kinds(bench) == ["Unsubscribe", "Requeue", "LogDelivery"]
    assert bench.one(fx.Requeue).receipt == waiting
    late = bench.arrive(id="9")
    assert bench.one(fx.Requeue).receipt == late
    bench.reply(1, one())
    assert not bench.has(fx.Leave)
    bench.ended(1)
    assert kinds(bench) == ["Ack", "LogDelivery", "Leave"]
    bench.arrive(id="10")
    assert bench.said == []


def test_idle_sidecar_leaves_at_once() -> None:
    bench = Bench(ready=False)
    assert bench.take(fx.DrainRequested(True)) == [fx.Leave()]


def test_early_drain_ends_once_and_hello_resumes() -> None:
    bench = Bench()
    bench.take(fx.DrainRequested(False))
    assert kinds(bench) == ["Unsubscribe", "DrainEnded"]
    bench.take(fx.RuntimeLost("runtime_crashed", "exited"))
    assert not bench.has(fx.DrainEnded)
    bench.take(fx.RuntimeReady(1))
    assert bench.one(fx.SetPrefetch).prefetch == 1
    assert not bench.decider.is_draining


def test_hello_does_not_resume_after_sigterm() -> None:
    bench = Bench()
    run(bench)
    bench.take(fx.DrainRequested(True))
    bench.take(fx.RuntimeReady(1))
    assert not bench.has(fx.SetPrefetch)


def test_drain_forgets_orphans_without_a_run_and_those_whose_run_ends() -> None:
    bench = Bench(concurrency=2, prefetch=2)
    bench.arrive()
    bench.arrive(id="8")
    blink(bench)
    bench.reply(1, one())
    bench.take(fx.DrainRequested(True))
    assert bench.record().envelope_id == "7"
    bench.reply(2, one())
    assert bench.has(fx.Leave)


def test_grace_over_leaves_without_settling() -> None:
    bench = Bench()
    bench.arrive()
    bench.take(fx.DrainRequested(True))
    bench.take(fx.GraceOver())
    assert kinds(bench) == ["LogDelivery", "Leave"]


def test_without_a_runtime_for_30_seconds_waiting_messages_go_back() -> None:
    bench = Bench(prefetch=2)
    bench.arrive()
    bench.take(fx.RuntimeLost("runtime_crashed", "gone"))
    assert fx.Timer(TimerKind.NO_RUNTIME, 0, 30.0) in bench.said
    receipt = bench.arrive(id="8")
    bench.fire(TimerKind.NO_RUNTIME, after=30)
    assert kinds(bench)[0] == "Unsubscribe"
    assert bench.one(fx.Requeue).receipt == receipt
    bench.take(fx.RuntimeReady(1))
    assert bench.one(fx.SetPrefetch).prefetch == 2
    assert bench.fire(TimerKind.NO_RUNTIME) == []


# ------------------------------------------------------------------------------------------------------- prefetch


@pytest.mark.parametrize(
    ("seconds", "concurrency", "padding", "expected"),
    [
        *[(0.0003, 1, 0, 101), (0.02, 1, 0, 17), (0.02, 16, 0, 116), (0.2, 1, 0, 2), (0.6, 1, 0, 1)],
        *[(0.001, 1, 80_000, 101), (0.001, 1, 100_000, 33), (0.001, 1, 1_000_000, 5), (0.001, 1, 9 << 20, 1)],  # 8 MiB wait at most
    ],
)
def test_prefetch_follows_run_length_and_size(seconds: float, concurrency: int, padding: int, expected: int) -> None:
    bench = Bench(concurrency=concurrency)
    body = message(payload="x" * padding)
    for call in range(1, 10):
        bench.arrive(body)
        bench.reply(call, one(), after=seconds)
        bench.ended(call)
    assert bench.decider.prefetch == expected


def test_prefetch_changes_at_most_every_five_seconds() -> None:
    bench = Bench()
    changes = []
    for call in range(1, 120):
        bench.arrive()
        bench.reply(call, one(), after=0.01 if call < 20 else 0.6)
        changes += [(round(bench.now, 2), effect.prefetch) for effect in bench.all(fx.SetPrefetch)]
        bench.ended(call)
    assert changes[-1][1] == 1
    assert len(changes) > 2
    assert all(later[0] - earlier[0] >= 4.99 for earlier, later in pairwise(changes))


def test_unreadable_delivery_cannot_run() -> None:
    with pytest.raises(Bug):
        _readable(Delivery(1, Receipt("r"), body=b"", attempt=1, arrived=0.0))
