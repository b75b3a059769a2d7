"""Reports to the gateway: progress, which may be lost, and final status, whose every answer is told.

Made by `app` if a gateway is set; called by `perform`; answers go to `consume`. Decides nothing: final reports that found no gateway are
tried again by the core. Nothing here is waited for by a delivery that is not an end actor's.

HTTP is the standard library's `http.client`, kept connections, one thread for progress and a few for final reports: at most ten progress
requests a second are no hot path, and httpx would cost an idle sidecar 12 MB. It is imported with this module, so only where a gateway is
set.
"""

import asyncio
import http.client
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from asya_core.ops.logs import Log
from asya_sidecar.effects import Cancelled, FinalAnswer, FinalReported, Report, ReportFinal

__all__ = ["GatewayConnection", "Reporter", "final_body"]

_MAX_WAITING: Final = 10_000
_MAX_BATCH: Final = 500
_PERIOD_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 2.0
_FINAL_TIMEOUT_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LAST_PAUSE_SECONDS: Final = 30.0
_FINAL_THREADS: Final = 4
_MAX_RESULT_BYTES: Final = 1_048_576
_MAX_ANSWER_BYTES: Final = 4_194_304
_GIVEN_UP: Final = (400, 404, 409, 413, 422)
"""Answers that the same report would get for ever; all others (also 401 and 403: a token is being rotated) are tried again."""

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.encode


class GatewayConnection:
    """One kept HTTP connection to the gateway, used by one thread at a time.

    Args:
        url: ``http://`` or ``https://``, host, port, optional path.
        token_file: bearer token, read again when the file has changed; None sends none.
    """

    def __init__(self, url: str, token_file: Path | None) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._path = parts.path.rstrip("/")
        self._token_file = token_file
        self._token: tuple[int, str] = (0, "")
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        """POST JSON; gives status and body. Raises OSError if there is no answer.

        A kept connection that turns out dead is replaced once.
        """
        was_kept = self._connection is not None
        try:
            return self._post(path, body, timeout_seconds)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if was_kept and isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                try:
                    return self._post(path, body, timeout_seconds)
                except (OSError, http.client.HTTPException) as second:
                    self.close()
                    raise OSError(_sentence(second)) from second
            raise OSError(_sentence(error)) from error

    def close(self) -> None:
        """Let go of the connection; the next post makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        if self._connection is None:
            make = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
            self._connection = make(self._host, self._port, timeout=timeout_seconds)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._read_token(self._token_file)}"
        self._connection.request("POST", self._path + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read(_MAX_ANSWER_BYTES)

    def _read_token(self, path: Path) -> str:
        changed = path.stat().st_mtime_ns
        if changed != self._token[0]:
            self._token = (changed, path.read_text(encoding="ascii", errors="replace").strip())
        return self._token[1]


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
        self._waiting: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._cursor: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_sending = False
        self._pause = 0.0
        self._is_closed = False
        self._is_final_down = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._progress_jobs: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._final_jobs: queue.SimpleQueue[ReportFinal | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def report(self, report: Report) -> None:
        """Remember the envelope's state as the latest; it goes out with the next batch."""
        self._waiting[report.envelope_id] = {
            "id": report.envelope_id,
            "actor": self._actor,
            "hop": report.current,
            "attempt": report.attempt,
            "state": report.status.value,
            "at": _timestamp(self._wall()),
        }
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popitem(last=False)
            self._dropped(1)
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pause == 0.0 and (self._waiting or self._is_sending):
            if not self._is_sending:
                self._send()
            try:
                await asyncio.wait_for(self._idle.wait(), timeout_seconds)
            except TimeoutError:
                self._dropped(len(self._waiting))
        for thread in self._threads:
            (self._progress_jobs if thread.name == "progress" else self._final_jobs).put(None)

    # ------------------------------------------------------------------------------------------------------------ progress

    def _send(self) -> None:
        self._timer = None
        batch = [self._waiting.popitem(last=False)[1] for _ in range(min(_MAX_BATCH, len(self._waiting)))]
        body: dict[str, Any] = {"reports": batch}
        if self._cursor is not None:
            body["cursor"] = self._cursor
        self._is_sending = True
        if not any(thread.name == "progress" for thread in self._threads):
            self._start("progress", self._progress_worker)
        self._progress_jobs.put((_encode(body), len(batch)))

    def _sent(self, count: int, answer: bytes | None, problem: str) -> None:
        self._is_sending = False
        if answer is None:
            self._dropped(count)
            if self._pause == 0.0:
                self._log.warning("progress reports fail", reason=problem)
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
        else:
            if self._pause:
                self._log.info("progress reports succeed again")
            self._pause = 0.0
            self._take_answer(answer)
        if self._waiting and not (self._is_closed and answer is None):
            pause = 0.0 if self._is_closed else max(self._pause, _PERIOD_SECONDS)
            self._timer = self._loop.call_later(pause, self._send)
        elif self._is_closed:
            self._dropped(len(self._waiting))
            self._idle.set()

    def _take_answer(self, answer: bytes) -> None:
        try:
            told = _decode_any(answer)
            cancelled = tuple(each for each in told.get("cancelled", ()) if isinstance(each, str))
            self._cursor = told.get("cursor", self._cursor)
        except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError, TypeError):
            return
        if cancelled:
            self._sink(Cancelled(cancelled))

    def _progress_worker(self) -> None:
        connection = self._connect()
        while (job := self._progress_jobs.get()) is not None:
            body, count = job
            answer, problem = None, ""
            try:
                status, told = connection.post("/internal/v1/progress", body, _TIMEOUT_SECONDS)
                answer, problem = (told, "") if status == 200 else (None, f"the gateway answered {status}")
            except OSError as error:
                problem = str(error)
            self._in_loop(self._sent, count, answer, problem)
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
            problem = ""
            try:
                body = final_body(report.body, self._actor, _timestamp(self._wall()))
                status, _ = connection.post("/internal/v1/final", body, _FINAL_TIMEOUT_SECONDS)
                answer = FinalAnswer.RECORDED if status == 200 else FinalAnswer.REFUSED if status in _GIVEN_UP else FinalAnswer.UNAVAILABLE
                problem = f"the gateway answered {status}"
            except OSError as error:
                answer, problem = FinalAnswer.UNAVAILABLE, str(error)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                answer, problem = FinalAnswer.REFUSED, f"the end actor's output is no envelope: {error}"
            self._in_loop(self._final_sent, report, answer, problem)
        connection.close()

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


def final_body(envelope: bytes, actor: str, at: str) -> bytes:
    """The body of ``/internal/v1/final`` for an end actor's output.

    ``{"id", "parent_id"?, "fanout"?, "status", "result" | "result_ref", "error"?, "actor", "attempt", "at"}``; ``status`` is ``failed``
    if the envelope has an error, else ``succeeded``. The payload travels as ``result`` up to 1 MiB, above it ``result_ref`` alone. An
    error's traceback stays in the stored record.

    Raises msgspec.MsgspecError or UnicodeDecodeError if `envelope` is no envelope.
    """
    members = _decode_members(envelope)
    headers = _decode_members(members.get("headers", b"{}"))
    body: dict[str, Any] = {"id": members["id"]} if "id" in members else {}
    if "parent_id" in members:
        body["parent_id"] = members["parent_id"]
    if "asya-fanout" in headers:
        body["fanout"] = headers["asya-fanout"]
    error = _decode_any(members["error"]) if "error" in members else None
    body["status"] = "succeeded" if error is None else "failed"
    payload = members.get("payload")
    if error is None and payload is not None and len(bytes(payload)) <= _MAX_RESULT_BYTES:
        body["result"] = payload
    elif "asya_stored" in members:
        body["result_ref"] = members["asya_stored"]
    attempt = 1
    if isinstance(error, dict):
        attempt = error.get("attempt", 1)
        actor = error.get("actor", actor)
        body["error"] = {key: value for key, value in error.items() if key != "traceback"}
    body.update(actor=actor, attempt=attempt, at=at)
    return _encode(body)


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
