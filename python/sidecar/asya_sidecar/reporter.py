"""Reports to the gateway: progress, of which the newest per envelope is kept until taken, and final status, whose every answer is told.

Made by `app` if a gateway is set; called by `perform`; answers go to `consume`. Decides nothing: final reports that found no gateway are
tried again by the core. What reports say is made in `reports`, in the threads here: the loop's thread only remembers. No delivery waits for
anything here but an end actor's. Progress is lost only over a bound, when the gateway refuses it for good, and when the process ends.

One thread for progress and a few for final reports, each with a connection of its own: at most ten progress requests a second are no hot
path.
"""

import asyncio
import functools
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from asya_core.ops.logs import Log
from asya_sidecar.effects import Cancelled, FinalAnswer, FinalReported, ProgressStatus, Report, ReportFinal
from asya_sidecar.gateway_client import GatewayConnection
from asya_sidecar.reports import final_body, final_without_result, is_recorded, progress_bodies, told_cancelled

__all__ = ["GatewayConnection", "Reporter"]

_MAX_WAITING: Final = 10_000
_MAX_NEW: Final = 1_000
_MAX_BATCH: Final = 500
_PERIOD_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 2.0
_FINAL_TIMEOUT_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LAST_PAUSE_SECONDS: Final = 30.0
_FINAL_THREADS: Final = 4
_GIVEN_UP: Final = HTTPStatus.UNPROCESSABLE_ENTITY
"""The one answer after which the same report is not sent again; all others are: a token may be rotated, an address corrected."""
_NEVER_TAKEN: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _GIVEN_UP)
"""Answers after which the same progress is not sent again: one bad report must not hold up all that come after it."""


class _Waiting(msgspec.Struct, gc=False):
    """A report, its time, and the one of the same attempt that it took the place of."""

    report: Report
    at: float
    before: "_Waiting | None" = None

    def earlier(self) -> dict[ProgressStatus, float]:
        """When the same attempt was in other states before, the first one first."""
        told: list[_Waiting] = []
        while (before := (told[-1] if told else self).before) is not None:
            told.append(before)
        return {each.report.status: each.at for each in reversed(told)}


class Reporter:
    """Sends reports.

    Args:
        connect: makes a connection to the gateway; each thread has its own.
        actor: told in each report.
        sink: takes `Cancelled` and `FinalReported`, in the loop's thread.
        log: one line per change.
        dropped: counts progress reports that were lost.
        reported: counts final reports by answer.
        wall: wall clock in seconds.
    """

    def __init__(
        self,
        connect: Callable[[], GatewayConnection],
        *,
        actor: str,
        sink: Callable[[Cancelled | FinalReported], None],
        log: Log,
        dropped: Callable[[int], None] = lambda count: None,
        reported: Callable[[FinalAnswer], None] = lambda answer: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._actor = actor
        self._sink = sink
        self._log = log
        self._dropped = dropped
        self._reported = reported
        self._wall = wall
        self._new: list[_Waiting] = []
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._is_sending = False
        self._pause = 0.0
        self._is_closed = False
        self._is_final_down = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._progress_jobs: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._final_jobs: queue.SimpleQueue[ReportFinal | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def report(self, report: Report) -> None:
        """Remember the envelope's state as the latest; it goes with the next batch, and so do the times of this attempt's earlier ones."""
        self._new.append(_Waiting(report, self._wall()))
        if len(self._new) == _MAX_NEW:
            self._sort_new()
        if self._timer is None and not self._is_sending:
            self._timer = self._loop.call_later(max(self._pause, _PERIOD_SECONDS), self._send)

    def report_final(self, report: ReportFinal) -> None:
        """Send a final report; answered by one `FinalReported`."""
        if sum(thread.name == "final" for thread in self._threads) < _FINAL_THREADS:
            self._start("final", self._final_worker)
        self._final_jobs.put(report)

    async def close(self, timeout_seconds: float) -> None:
        """Send what is left of progress, once, and stop; at most `timeout_seconds`."""
        self._is_closed = True
        self._sort_new()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pause == 0.0 and (self._waiting or self._is_sending):
            if not self._is_sending:
                self._send()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._idle.wait()
            except TimeoutError:
                self._dropped(len(self._waiting))
        elif self._waiting:
            self._dropped(len(self._waiting))
        for thread in self._threads:
            (self._progress_jobs if thread.name == "progress" else self._final_jobs).put(None)

    # ------------------------------------------------------------------------------------------------------------ progress

    def _sort_new(self) -> None:
        """Let what is new take the place of what waits, by envelope; over the bound the oldest are dropped.

        Many at once, as each then costs a third of what it does between the steps of a delivery (0.9 µs against 3.2, of which a message
        has three).
        """
        waiting = self._waiting
        for new in self._new:
            report = new.report
            before = waiting.get(report.envelope_id)
            if before is not None and before.report.current == report.current and before.report.attempt == report.attempt:
                new.before = before.before if before.report.status is report.status else before
            waiting[report.envelope_id] = new
        self._new.clear()
        surplus = len(waiting) - _MAX_WAITING
        if surplus > 0:
            for _ in range(surplus):
                waiting.popitem(last=False)
            self._dropped(surplus)

    def _send(self) -> None:
        self._timer = None
        self._sort_new()
        batch = [self._waiting.popitem(last=False)[1] for _ in range(min(_MAX_BATCH, len(self._waiting)))]
        self._is_sending = True
        if not any(thread.name == "progress" for thread in self._threads):
            self._start("progress", self._progress_worker)
        self._progress_jobs.put(batch)

    def _sent(self, unsent: list[_Waiting], problem: str, asked_pause: float, is_refused: bool) -> None:
        """A batch is through; `problem` is empty if all of it was taken, `unsent` is what was not, `is_refused` for good."""
        self._is_sending = False
        self._sort_new()
        if problem:
            if is_refused:
                self._dropped(len(unsent))
            else:
                self._keep(unsent)
            if self._pause == 0.0:
                self._log.warning("progress reports fail", reason=problem)
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS, asked_pause), _LAST_PAUSE_SECONDS)
        else:
            if self._pause:
                self._log.info("progress reports succeed again")
            self._pause = 0.0
        if self._waiting and not (self._is_closed and problem):
            pause = 0.0 if self._is_closed else max(self._pause, _PERIOD_SECONDS)
            self._timer = self._loop.call_later(pause, self._send)
        elif self._is_closed:
            self._dropped(len(self._waiting))
            self._idle.set()

    def _keep(self, unsent: list[_Waiting]) -> None:
        """Put back, as the oldest, what no newer report of its envelope has replaced meanwhile; over the bound the oldest are dropped."""
        older = [each for each in unsent if each.report.envelope_id not in self._waiting]
        room = max(0, _MAX_WAITING - len(self._waiting))
        if len(older) > room:
            self._dropped(len(older) - room)
            older = older[len(older) - room :]
        for each in reversed(older):
            self._waiting[each.report.envelope_id] = each
            self._waiting.move_to_end(each.report.envelope_id, last=False)

    def _progress_worker(self) -> None:
        connection = self._connect()
        cursor: Any = None
        while (batch := self._progress_jobs.get()) is not None:
            left, problem, asked_pause, is_refused = len(batch), "", 0.0, False
            reports = (
                (told.report, _timestamp(told.at), {status.value: _timestamp(then) for status, then in told.earlier().items()})
                for told in batch
            )
            for body, count in progress_bodies(reports, actor=self._actor, cursor=cursor):
                try:
                    answer = connection.post("/internal/v1/progress", body, _TIMEOUT_SECONDS)
                except OSError as error:
                    problem = str(error)
                    break
                if answer.status != HTTPStatus.OK:
                    problem, asked_pause = answer.problem, answer.retry_after_seconds
                    is_refused = answer.status in _NEVER_TAKEN
                    break
                left -= count
                cancelled, cursor = told_cancelled(answer.body, cursor)
                if cancelled:
                    self._in_loop(self._sink, Cancelled(cancelled))
            self._in_loop(self._sent, batch[len(batch) - left :], problem, asked_pause, is_refused)
        connection.close()

    # --------------------------------------------------------------------------------------------------------------- final

    def _final_sent(self, report: ReportFinal, answer: FinalAnswer, problem: str) -> None:
        is_down = answer is FinalAnswer.UNAVAILABLE
        if is_down != self._is_final_down:
            self._is_final_down = is_down
            if is_down:
                self._log.warning("final reports fail", reason=problem)
            else:
                self._log.info("final reports succeed again")
        if answer is FinalAnswer.REFUSED:
            self._log.error("final report refused", envelope_id=report.envelope_id, reason=problem)
        self._reported(answer)
        self._sink(FinalReported(report.delivery, answer))

    def _final_worker(self) -> None:
        connection = self._connect()
        while (report := self._final_jobs.get()) is not None:
            try:
                answer, problem = self._tell_final(connection, report)
            except OSError as error:
                answer, problem = FinalAnswer.UNAVAILABLE, str(error)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                answer, problem = FinalAnswer.REFUSED, f"the end actor's output is no envelope: {error}"
            self._in_loop(self._final_sent, report, answer, problem)
        connection.close()

    def _tell_final(self, connection: GatewayConnection, report: ReportFinal) -> tuple[FinalAnswer, str]:
        """The answer, and what is wrong with it. Raises OSError without one, MsgspecError for what is no envelope."""
        body = final_body(report.body, self._actor, _timestamp(self._wall()))
        told = connection.post("/internal/v1/final", body, _FINAL_TIMEOUT_SECONDS)
        if told.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            smaller = final_without_result(body, report.body)
            if smaller is not None:
                told = connection.post("/internal/v1/final", smaller, _FINAL_TIMEOUT_SECONDS)
        if told.status == _GIVEN_UP:
            return FinalAnswer.REFUSED, told.problem
        if told.status != HTTPStatus.OK:
            return FinalAnswer.UNAVAILABLE, told.problem
        if not is_recorded(told.body):
            return FinalAnswer.UNAVAILABLE, "what answers at this address is no gateway"
        return FinalAnswer.RECORDED, ""

    # -------------------------------------------------------------------------------------------------------------- inside

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)  # daemon: a gateway that swallows packets must not hold up the exit
        self._threads.append(thread)
        thread.start()

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has been closed: nobody is left to tell
            pass


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _timestamp(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"
