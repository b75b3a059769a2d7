"""What a sidecar does about what happens to it: one event in, effects out. The heart of the sidecar.

Called by `consume` (one event at a time, in one thread); `perform` carries the effects out, in list order. Pure: no clock, no I/O, and
randomness is handed in. Each event has one method; each change of a delivery's state goes through the table in `lifecycle`.
"""

from collections import Counter, deque
from math import inf
from random import Random
from typing import Final, assert_never

from asya_core.transports.base import PublishOutcome, SettledOutcome
from asya_core.wire.envelope import Envelope, parse
from asya_core.wire.errors import Bug, RemoteFault
from asya_core.wire.names import ERROR_END
from asya_core.wire.reply import ErrorReply, Reply
from asya_sidecar import splice
from asya_sidecar.checks import check_before_run, check_receipt, failure, run_limit
from asya_sidecar.delivery import Delivery
from asya_sidecar.effects import (
    Ack,
    Call,
    CallsEnded,
    Cancelled,
    CloseRuntime,
    ConsumeLinkChanged,
    DrainEnded,
    DrainRequested,
    Effect,
    Event,
    Fetch,
    FetchEnded,
    FetchOutcome,
    FinalAnswer,
    FinalReported,
    GraceOver,
    Leave,
    LogDelivery,
    MessageArrived,
    Outcome,
    ProgressStatus,
    PublishEnded,
    PublishLinkChanged,
    Reject,
    Replied,
    Report,
    ReportFinal,
    Requeue,
    Retry,
    RetryEnded,
    RuntimeLost,
    RuntimeReady,
    SetPrefetch,
    Store,
    StoreEnded,
    Timer,
    TimerFired,
    TimerKind,
    Unsubscribe,
)
from asya_sidecar.lifecycle import Happening, State
from asya_sidecar.orphans import ORPHAN_SECONDS, Orphans
from asya_sidecar.outputs import claimed, error_draft, final_body, from_reply, unreadable_draft
from asya_sidecar.policy import Moment, Policy
from asya_sidecar.prefetch import RunMeter
from asya_sidecar.publishing import Publishing
from asya_sidecar.retry import CRASH_ATTEMPTS, END_ACTOR_ATTEMPTS, crash_delay, end_actor_delay, full_jitter

__all__ = ["Decider", "Moment", "Policy"]

_LIMIT_SLACK_SECONDS: Final = 0.5
_TIMER_SLACK_SECONDS: Final = 0.002
_NO_RUNTIME_SECONDS: Final = 30.0
_LOST_RETRY_SECONDS: Final = 30.0
_CANCELLED_IDS: Final = 10_000
_AHEAD_BYTES: Final = 64 * 1024
"""The largest message that is handed ahead: it lies in the socket's buffer (208 KiB) or in the runtime's memory meanwhile."""
_CRASHES: Final = frozenset({"runtime_crashed", "bad_reply"})


class Decider:
    """All deliveries of one sidecar process, from their arrival to their settling.

    Args:
        policy: the settings.
        random: where jitter comes from.
    """

    def __init__(self, policy: Policy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._effects: list[Effect] = []
        self._publishing = Publishing(policy, random)
        self._orphans = Orphans()
        self._meter = RunMeter()
        self._deliveries: dict[int, Delivery] = {}
        self._waiting: deque[Delivery] = deque()
        self._calls: dict[int, Delivery] = {}
        self._ahead: deque[Delivery] = deque()
        self._ended: dict[int, Delivery] = {}
        self._retrying: dict[str, Delivery] = {}
        self._claims: dict[int, Delivery] = {}
        self._last_claim_token = 0
        self._cancelled: dict[str, None] = {}
        self._last_delivery = 0
        self._last_call = 0
        self._limit_timer_at: float | None = None
        self._prefetch = 0
        self._concurrency = 1
        self._most_ahead = 0
        self._most_calls = 1
        self._is_runtime_ready = False
        self._is_draining = False
        self._is_drain_final = False
        self._is_drain_told = False
        self._has_left = False

    @property
    def in_flight(self) -> dict[State, int]:
        """Deliveries by state; states without any are absent."""
        return Counter(delivery.state for delivery in self._deliveries.values())

    @property
    def prefetch(self) -> int:
        """The prefetch of the subscription; 0 while there is none."""
        return self._prefetch

    @property
    def unconfirmed(self) -> int:
        """Publishes without an outcome."""
        return self._publishing.unconfirmed

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is taken."""
        return self._is_draining

    @property
    def is_runtime_ready(self) -> bool:
        """Whether the runtime takes calls."""
        return self._is_runtime_ready

    @property
    def is_idle(self) -> bool:
        """Whether no delivery and no publish is open."""
        return not self._deliveries and not self._publishing.unconfirmed

    def handle(self, event: Event, now: Moment) -> list[Effect]:
        """What to do about `event`, in this order; nothing after `Leave`. Raises Bug if the event cannot happen now."""
        if self._has_left:
            return []
        effects = self._effects = []
        match event:
            case MessageArrived():
                self._message_arrived(event, now)
            case CallsEnded():
                self._calls_ended(event, now)
            case Replied():
                self._replied(event, now)
            case PublishEnded():
                self._publish_ended(event, now)
            case RetryEnded():
                self._retry_ended(event, now)
            case TimerFired():
                self._timer_fired(event, now)
            case ConsumeLinkChanged():
                if not event.connected:
                    self._receipts_lost(now)
            case PublishLinkChanged():
                self._publishing.link_changed(event.connected)
            case RuntimeReady():
                self._runtime_ready(event, now)
            case RuntimeLost():
                self._runtime_lost(event, now)
            case FinalReported():
                self._final_reported(event, now)
            case FetchEnded():
                self._fetch_ended(event, now)
            case StoreEnded():
                self._store_ended(event, now)
            case Cancelled():
                self._remember_cancelled(event.ids)
            case DrainRequested():
                self._drain_requested(event, now)
            case GraceOver():
                self._grace_over(now)
                return effects
            case _:
                assert_never(event)
        if self._waiting and self._is_runtime_ready and len(self._calls) < self._most_calls:
            self._start_calls(now)
        self._publishing.pump(effects)
        if self._is_draining:
            self._end_drain()
        return effects

    # ------------------------------------------------------------------------------------------------------------- arriving

    def _message_arrived(self, event: MessageArrived, now: Moment) -> None:
        orphan = self._orphans.find(event.body)
        if orphan is not None:
            self._adopt(orphan, event, now)
            return
        self._last_delivery += 1
        delivery = Delivery(self._last_delivery, event.receipt, body=event.body, attempt=event.attempt, arrived=now.monotonic)
        self._deliveries[delivery.number] = delivery
        try:
            envelope = delivery.envelope = self._named(event, parse(event.body), now)
        except RemoteFault as fault:
            self._unreadable(delivery, fault, event.origin, now)
            return
        if event.origin is not None:
            delivery.call_body = envelope.encode()
        against = check_receipt(envelope, self._policy, attempt=event.attempt, wall=now.wall, cancelled=self._cancelled)
        if against is not None:
            self._fail(delivery, against, now)
            return
        if envelope.claim is not None and self._prefetch:
            delivery.change(Happening.CLAIMED)
            self._effects.append(Fetch(self._claim_token(delivery), envelope.claim))
            return
        delivery.change(Happening.ACCEPTED)
        if self._prefetch:
            self._waiting.append(delivery)
            self._report(delivery, ProgressStatus.RECEIVED)
        else:
            self._give_back(delivery, now)

    def _named(self, event: MessageArrived, envelope: Envelope, now: Moment) -> Envelope:
        """The envelope; one that the broker gave up gets an error that names the actor whose queue it was in."""
        if event.origin is None or self._policy.actor != ERROR_END or "error" in envelope.members:
            return envelope
        reason = failure("too_many_deliveries", f"The broker gave the message up in queue {event.origin}")
        actor = self._origin_actor(event.origin)
        return envelope.changed(error=splice.error_member(reason, actor=actor, attempt=event.attempt, at=now.wall))

    def _origin_actor(self, origin: str | None) -> str:
        return self._policy.actor if origin is None else origin.removeprefix(self._policy.queue(""))

    def _unreadable(self, delivery: Delivery, fault: RemoteFault, origin: str | None, now: Moment) -> None:
        reason = failure(fault.code, fault.message)
        actor = self._origin_actor(origin)
        draft = unreadable_draft(delivery.body, reason, self._policy, actor=actor, attempt=delivery.attempt, at=now.wall)
        delivery.codes.append(fault.code)
        delivery.change(Happening.FAILED)
        self._publishing.add(delivery, [draft])

    def _adopt(self, orphan: Delivery, event: MessageArrived, now: Moment) -> None:
        self._orphans.remove(orphan)
        self._effects.append(Timer(TimerKind.ORPHAN, orphan.number, None))
        orphan.receipt = event.receipt
        orphan.attempt = event.attempt
        if orphan.call:
            orphan.change(Happening.ADOPTED_RUNNING)
        elif orphan.held is not None:
            reply, orphan.held = orphan.held, None
            orphan.change(Happening.ADOPTED_RUNNING)
            self._conclude(orphan, reply, now)
        elif orphan.unconfirmed:
            orphan.change(Happening.ADOPTED_PUBLISHING)
            self._publishing.adopted(orphan)
        else:
            self._done(orphan, Happening.ADOPTED_DONE, now)

    # -------------------------------------------------------------------------------------------------------------- running

    def _start_calls(self, now: Moment) -> None:
        while self._waiting and len(self._calls) < self._most_calls:
            is_ahead = len(self._calls) - len(self._ahead) >= self._concurrency
            if is_ahead and not _may_go_ahead(self._waiting[0]):
                return
            delivery = self._waiting.popleft()
            envelope = _readable(delivery)
            against = check_before_run(envelope, self._policy, wall=now.wall, cancelled=self._cancelled)
            if against is not None:
                self._fail(delivery, against, now)
                continue
            limit = run_limit(envelope, self._policy, now.wall)
            self._last_call += 1
            delivery.call = self._last_call
            self._calls[delivery.call] = delivery
            self._effects.append(Call(delivery.call, max(1, int(limit * 1000)), delivery.call_body))
            if is_ahead:
                delivery.change(Happening.HANDED)
                delivery.limit_at = inf
                self._ahead.append(delivery)
                continue
            delivery.change(Happening.CALLED)
            delivery.called = now.monotonic
            delivery.limit_at = now.monotonic + limit + _LIMIT_SLACK_SECONDS
            self._arm_limit(delivery.limit_at, now.monotonic)
            self._report(delivery, ProgressStatus.RUNNING)

    def _calls_ended(self, event: CallsEnded, now: Moment) -> None:
        for call in event.calls:
            delivery = self._calls.pop(call, None)
            if delivery is not None:
                self._ended[call] = delivery
                if self._ahead:
                    self._slot_freed(delivery, now)

    def _slot_freed(self, ended: Delivery, now: Moment) -> None:
        """A call was answered: the first one that was handed ahead has begun, since the runtime keeps to their order."""
        if ended in self._ahead:  # it had no slot: too large for a frame, or begun out of order
            self._ahead.remove(ended)
            self._begun(ended, now)
        else:
            self._begun(self._ahead.popleft(), now)

    def _begun(self, delivery: Delivery, now: Moment) -> None:
        delivery.called = now.monotonic
        delivery.limit_at = now.monotonic + self._policy.timeout_seconds + _LIMIT_SLACK_SECONDS
        self._arm_limit(delivery.limit_at, now.monotonic)
        if delivery.state is State.AHEAD:
            delivery.change(Happening.BEGUN)
            self._report(delivery, ProgressStatus.RUNNING)

    def _replied(self, event: Replied, now: Moment) -> None:
        delivery = self._ended.pop(event.call, None)
        if delivery is None:
            delivery = self._calls.pop(event.call, None)
            if delivery is None:
                return
            if self._ahead:
                self._slot_freed(delivery, now)
        delivery.call = 0
        delivery.replied = now.monotonic
        self._meter.observe(now.monotonic - (delivery.called or 0.0), len(delivery.call_body))
        if self._most_ahead:
            self._most_calls = self._concurrency + (self._most_ahead if self._meter.is_quick() else 0)
        if delivery.state is State.ORPHANED:
            self._hold(delivery, event.reply, now)
        else:
            self._conclude(delivery, event.reply, now)
        if self._meter.is_due(now.monotonic) and self._prefetch and self._policy.prefetch is None:
            self._set_prefetch(self._concurrency + self._meter.look_ahead(self._concurrency, now.monotonic))

    def _conclude(self, delivery: Delivery, reply: Reply, now: Moment) -> None:
        """Decide what a running delivery becomes by its reply."""
        envelope = _readable(delivery)
        if isinstance(reply, ErrorReply):
            self._run_failed(delivery, reply, now)
            return
        if self._policy.is_end_actor:
            body = final_body(envelope, reply)
            if isinstance(body, ErrorReply):
                self._run_failed(delivery, body, now)
                return
            delivery.change(Happening.RESULT)
            self._effects.append(ReportFinal(delivery.number, envelope.id, body))
            return
        drafts = from_reply(envelope, reply, self._policy, attempt=delivery.attempt, at=now.wall)
        if isinstance(drafts, ErrorReply):
            self._run_failed(delivery, drafts, now)
            return
        threshold = self._policy.claim_threshold
        if threshold is not None:
            moved = claimed(drafts, envelope, threshold, self._policy)
            if isinstance(moved, ErrorReply):
                self._run_failed(delivery, moved, now)
                return
            drafts = moved.drafts
            if moved.objects:
                delivery.change(Happening.LARGE_OUTPUTS)
                delivery.held, delivery.drafts = reply, drafts
                self._effects.append(Store(self._claim_token(delivery), moved.objects))
                return
        delivery.ended = not reply.items
        delivery.codes += [draft.code for draft in drafts if draft.code is not None]
        delivery.change(Happening.OUTPUTS)
        self._publishing.add(delivery, drafts)

    def _run_failed(self, delivery: Delivery, reason: ErrorReply, now: Moment) -> None:
        policy, attempt = self._policy, delivery.attempt
        if policy.is_end_actor:
            if attempt < END_ACTOR_ATTEMPTS:
                self._retry(delivery, end_actor_delay(attempt, self._random), now)
            elif policy.actor == ERROR_END:
                delivery.change(Happening.RETRY)
                self._settle_by(delivery, Reject(delivery.receipt))
            else:
                message = f"Result was not stored in {attempt} attempts; the last one: {reason.code}: {reason.message}"
                unstored = ErrorReply("result_not_stored", reason.type, reason.mro, message, reason.traceback)
                self._fail(delivery, unstored, now)
        elif reason.code == "handler_error" and attempt < policy.retry.max_attempts and policy.retry.takes(reason.mro):
            self._retry(delivery, policy.retry.delay(attempt, self._random, policy.longest_delay_seconds), now)
        elif reason.code in _CRASHES and attempt < max(CRASH_ATTEMPTS, policy.retry.max_attempts):
            self._retry(delivery, min(crash_delay(attempt), policy.longest_delay_seconds), now)
        else:
            self._fail(delivery, reason, now)

    def _fail(self, delivery: Delivery, reason: ErrorReply, now: Moment) -> None:
        draft = error_draft(_readable(delivery), reason, self._policy, attempt=delivery.attempt, at=now.wall)
        delivery.codes.append(reason.code)
        delivery.change(Happening.FAILED)
        self._publishing.add(delivery, [draft])

    def _retry(self, delivery: Delivery, delay: float, now: Moment) -> None:
        delivery.change(Happening.RETRY)
        self._report(delivery, ProgressStatus.RETRYING)
        self._settle_by(delivery, Retry(delivery.receipt, delay))

    def _settle_by(self, delivery: Delivery, effect: Retry | Reject) -> None:
        delivery.settling = effect
        self._retrying[delivery.receipt] = delivery
        self._effects.append(effect)

    # --------------------------------------------------------------------------------------------------------- claim storage

    def _claim_token(self, delivery: Delivery) -> int:
        self._last_claim_token += 1
        delivery.claim_token = self._last_claim_token
        self._claims[self._last_claim_token] = delivery
        return self._last_claim_token

    def _fetch_ended(self, event: FetchEnded, now: Moment) -> None:
        delivery = self._claims.pop(event.token, None)
        if delivery is None:
            return
        match event.outcome:
            case FetchOutcome.FETCHED:
                delivery.call_body = _readable(delivery).changed(payload=event.payload).encode()
                delivery.change(Happening.ACCEPTED)
                self._waiting.append(delivery)
                self._report(delivery, ProgressStatus.RECEIVED)
            case FetchOutcome.INVALID:
                self._fail(delivery, failure("claim_invalid", event.message), now)
            case FetchOutcome.AWAY:
                self._storage_away(delivery, now)
            case _:
                assert_never(event.outcome)

    def _store_ended(self, event: StoreEnded, now: Moment) -> None:
        delivery = self._claims.pop(event.token, None)
        if delivery is None:
            return
        drafts, delivery.held, delivery.drafts = delivery.drafts, None, []
        if event.is_stored:
            delivery.codes += [draft.code for draft in drafts if draft.code is not None]
            delivery.change(Happening.STORED)
            self._publishing.add(delivery, drafts)
        else:
            self._storage_away(delivery, now)

    def _storage_away(self, delivery: Delivery, now: Moment) -> None:
        self._retry(delivery, end_actor_delay(delivery.attempt, self._random), now)

    # -------------------------------------------------------------------------------------------------------------- runtime

    def _runtime_ready(self, event: RuntimeReady, now: Moment) -> None:
        if self._calls:
            raise Bug("calls_open", f"Runtime said HELLO while {len(self._calls)} calls are open")
        self._is_runtime_ready = True
        self._concurrency = self._most_calls = event.concurrency
        self._most_ahead = event.ahead
        self._effects.append(Timer(TimerKind.NO_RUNTIME, 0, None))
        if self._is_drain_final:
            return
        self._is_draining = self._is_drain_told = False
        if not self._prefetch:
            self._set_prefetch(event.concurrency if self._policy.prefetch is None else self._policy.prefetch)

    def _runtime_lost(self, event: RuntimeLost, now: Moment) -> None:
        if not self._is_runtime_ready:
            return
        reason = failure(event.code, event.message)
        for delivery in self._runtime_gone(now):
            if delivery.state is State.ORPHANED:
                self._forget(delivery, now)
            else:
                delivery.replied = now.monotonic
                self._run_failed(delivery, reason, now)

    def _runtime_gone(self, now: Moment) -> list[Delivery]:
        """No calls any more; gives those whose call was open and begun."""
        self._is_runtime_ready = False
        self._effects.append(Timer(TimerKind.NO_RUNTIME, 0, _NO_RUNTIME_SECONDS))
        self._withdraw_ahead(now)
        running = list(self._calls.values())
        self._calls.clear()
        for delivery in running:
            delivery.call = 0
        return running

    def _withdraw_ahead(self, now: Moment) -> None:
        """What was handed ahead has not been begun, and never will be: it waits again, first in line."""
        while self._ahead:
            delivery = self._ahead.pop()
            del self._calls[delivery.call]
            delivery.call = 0
            if delivery.state is State.ORPHANED:
                self._forget(delivery, now)
                continue
            delivery.change(Happening.WITHDRAWN)
            if self._prefetch:
                self._waiting.appendleft(delivery)
            else:
                self._give_back(delivery, now)

    def _arm_limit(self, limit_at: float, now: float) -> None:
        if self._limit_timer_at is None or limit_at < self._limit_timer_at - _TIMER_SLACK_SECONDS:
            self._limit_timer_at = limit_at
            self._effects.append(Timer(TimerKind.LIMIT, 0, max(0.0, limit_at - now)))

    def _limit_reached(self, now: Moment) -> None:
        """One error record for each call that is past its limit; the others, killed with their runtime, wait for the next one."""
        self._limit_timer_at = None
        due = now.monotonic + _TIMER_SLACK_SECONDS
        if not any(delivery.limit_at <= due for delivery in self._calls.values()):
            if self._calls:
                self._arm_limit(min(delivery.limit_at for delivery in self._calls.values()), now.monotonic)
            return
        self._effects.append(CloseRuntime())
        for delivery in reversed(self._runtime_gone(now)):
            if delivery.limit_at <= due:
                self._timed_out(delivery, now)
            elif delivery.state is State.ORPHANED:
                self._forget(delivery, now)
            else:
                delivery.change(Happening.WITHDRAWN)
                if self._prefetch:
                    self._waiting.appendleft(delivery)
                else:
                    self._give_back(delivery, now)

    def _timed_out(self, delivery: Delivery, now: Moment) -> None:
        delivery.replied = now.monotonic
        limit = delivery.limit_at - (delivery.called or 0.0) - _LIMIT_SLACK_SECONDS
        reason = failure("timeout", f"Handler did not answer in {limit:g} s")
        if delivery.state is State.ORPHANED:
            self._hold(delivery, reason, now)
        else:
            self._run_failed(delivery, reason, now)

    # ------------------------------------------------------------------------------------------------------------- settling

    def _publish_ended(self, event: PublishEnded, now: Moment) -> None:
        output = self._publishing.take(event.token)
        delivery = output.delivery
        if delivery.state is State.SETTLED:
            return
        if event.outcome is not PublishOutcome.CONFIRMED:
            self._effects += self._publishing.failed(output, event.outcome, now)
            return
        if not self._publishing.confirmed(output):
            delivery.change(Happening.CONFIRMED)
        elif delivery.state is State.ORPHANED:
            delivery.change(Happening.ALL_CONFIRMED)
        else:
            self._done(delivery, Happening.ALL_CONFIRMED, now)

    def _done(self, delivery: Delivery, happening: Happening, now: Moment) -> None:
        self._effects.append(Ack(delivery.receipt))
        self._settle(delivery, happening, delivery.outcome, now)
        self._report(delivery, ProgressStatus.DONE)

    def _retry_ended(self, event: RetryEnded, now: Moment) -> None:
        delivery = self._retrying.get(event.receipt)
        if delivery is None:
            return
        if event.outcome is SettledOutcome.OK:
            del self._retrying[event.receipt]
            outcome = Outcome.RETRY if isinstance(delivery.settling, Retry) else Outcome.ERROR
            self._settle(delivery, Happening.PUT_BACK, outcome, now)
            return
        delivery.change(Happening.LOST)
        delivery.settle_tries += 1
        jitter = full_jitter(_LOST_RETRY_SECONDS, 1.0, 2.0, delivery.settle_tries, self._random)
        self._effects.append(Timer(TimerKind.RETRY, delivery.number, jitter))

    def _final_reported(self, event: FinalReported, now: Moment) -> None:
        delivery = self._deliveries.get(event.delivery)
        if delivery is None or delivery.state is not State.REPORTING:
            return
        if event.answer is FinalAnswer.UNAVAILABLE:
            self._retry(delivery, end_actor_delay(delivery.attempt, self._random), now)
        else:
            self._done(delivery, Happening.RECORDED, now)

    def _give_back(self, delivery: Delivery, now: Moment) -> None:
        self._effects.append(Requeue(delivery.receipt))
        self._settle(delivery, Happening.GIVEN_BACK, Outcome.REQUEUE, now)

    def _settle(self, delivery: Delivery, happening: Happening, outcome: Outcome, now: Moment) -> None:
        delivery.change(happening)
        del self._deliveries[delivery.number]
        self._effects.append(LogDelivery(delivery.record(outcome, now.monotonic)))

    # ------------------------------------------------------------------------------------------------- links, timers, leaving

    def _receipts_lost(self, now: Moment) -> None:
        self._waiting.clear()
        for delivery in list(self._deliveries.values()):
            state = delivery.state
            if state is State.ORPHANED:
                continue
            self._claims.pop(delivery.claim_token, None)
            if state in (State.AHEAD, State.RUNNING, State.STORING, State.PUBLISHING, State.STALLED):
                delivery.change(Happening.RECEIPT_LOST)
                self._effects += self._publishing.orphaned(delivery)
                self._orphans.add(delivery)
                if not delivery.call:
                    self._await_copy(delivery, now)
            else:
                if state is State.RETRYING:
                    del self._retrying[delivery.receipt]
                    self._effects.append(Timer(TimerKind.RETRY, delivery.number, None))
                self._settle(delivery, Happening.RECEIPT_LOST, Outcome.DROPPED, now)

    def _hold(self, orphan: Delivery, reply: Reply, now: Moment) -> None:
        orphan.change(Happening.RUN_ENDED)
        orphan.held = reply
        self._await_copy(orphan, now)

    def _await_copy(self, orphan: Delivery, now: Moment) -> None:
        """Keep an orphan without a run for a while; not in a drain, as nothing comes any more."""
        if self._is_draining:
            self._forget(orphan, now)
            return
        self._effects.append(Timer(TimerKind.ORPHAN, orphan.number, ORPHAN_SECONDS))
        for surplus in self._orphans.run_ended(orphan):
            self._forget(surplus, now)

    def _forget(self, orphan: Delivery, now: Moment) -> None:
        self._orphans.remove(orphan)
        self._effects.append(Timer(TimerKind.ORPHAN, orphan.number, None))
        self._settle(orphan, Happening.FORGOTTEN, Outcome.DROPPED, now)

    def _timer_fired(self, event: TimerFired, now: Moment) -> None:
        match event.kind:
            case TimerKind.LIMIT:
                self._limit_reached(now)
                return
            case TimerKind.NO_RUNTIME:
                if not self._is_runtime_ready:
                    self._take_nothing(now)
                return
            case TimerKind.STALLED | TimerKind.RETRY | TimerKind.ORPHAN:
                delivery = self._deliveries.get(event.delivery)
            case _:
                assert_never(event.kind)
        if delivery is None:
            return
        if event.kind is TimerKind.STALLED and delivery.state is State.STALLED:
            self._effects += self._publishing.timer_fired(delivery, now.monotonic)
        elif event.kind is TimerKind.RETRY and delivery.settling is not None:
            delivery.change(Happening.TRY_AGAIN)
            self._effects.append(delivery.settling)
        elif event.kind is TimerKind.ORPHAN and delivery.state is State.ORPHANED:
            self._forget(delivery, now)

    def _set_prefetch(self, prefetch: int) -> None:
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            self._effects.append(SetPrefetch(prefetch))

    def _take_nothing(self, now: Moment) -> None:
        """Unsubscribe, and give back what waits."""
        if self._prefetch:
            self._prefetch = 0
            self._effects.append(Unsubscribe())
        while self._waiting:
            self._give_back(self._waiting.popleft(), now)
        for delivery in [each for each in self._claims.values() if each.state is State.FETCHING]:
            del self._claims[delivery.claim_token]
            self._give_back(delivery, now)

    def _drain_requested(self, event: DrainRequested, now: Moment) -> None:
        self._is_draining = True
        self._is_drain_final = self._is_drain_final or event.final
        self._take_nothing(now)
        if not event.final:
            self._withdraw_ahead(now)
        for orphan in self._orphans.idle():
            self._forget(orphan, now)

    def _end_drain(self) -> None:
        if not self.is_idle:
            return
        if self._is_drain_final:
            self._has_left = True
            self._effects.append(Leave())
        elif not self._is_drain_told:
            self._is_drain_told = True
            self._effects.append(DrainEnded())

    def _grace_over(self, now: Moment) -> None:
        self._has_left = True
        for delivery in list(self._deliveries.values()):
            self._settle(delivery, Happening.GRACE_OVER, Outcome.DROPPED, now)
        self._effects.append(Leave())

    def _remember_cancelled(self, ids: tuple[str, ...]) -> None:
        for envelope_id in ids:
            self._cancelled.pop(envelope_id, None)
            self._cancelled[envelope_id] = None
        while len(self._cancelled) > _CANCELLED_IDS:
            del self._cancelled[next(iter(self._cancelled))]

    def _report(self, delivery: Delivery, status: ProgressStatus) -> None:
        if self._policy.reports_progress and not self._policy.is_end_actor and delivery.envelope is not None:
            envelope, route = delivery.envelope, delivery.envelope.route
            self._effects.append(Report(envelope.id, status, route.current, delivery.attempt, route.actors, envelope.parent_id))


def _readable(delivery: Delivery) -> Envelope:
    if delivery.envelope is None:
        raise Bug("no_envelope", f"Delivery {delivery.number} is {delivery.state} and unreadable")
    return delivery.envelope


def _may_go_ahead(delivery: Delivery) -> bool:
    """Whether to hand it over before a slot is free: its limit must not depend on when it begins, and it must not be large."""
    return len(delivery.call_body) <= _AHEAD_BYTES and _readable(delivery).deadline is None
