"""The reporter against a real HTTP server on loopback that plays the gateway."""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asya_core.ops.logs import Log
from asya_sidecar import reporter as reporter_module
from asya_sidecar.effects import Cancelled, FinalAnswer, FinalReported, ProgressStatus, Report, ReportFinal
from asya_sidecar.reporter import GatewayConnection, Reporter

WAIT = 30.0


class Gateway:
    """Keeps requests; answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.connections = 0
        self.open: list[socket.socket] = []
        self.status = 200
        self.statuses: list[int] = []
        self.answer: Any = {"recorded": True}
        self.headers: dict[str, str] = {}
        self.holds: tuple[str, ...] = ("/internal/v1/progress", "/internal/v1/final")
        """Paths that wait while `hold` is clear."""
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Semaphore(0)
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                gateway.connections += 1
                gateway.open.append(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.requests.append((self.path, self.headers.get("Authorization"), body))
                gateway.came.release()
                if self.path in gateway.holds:
                    gateway.hold.wait(WAIT)
                answer = json.dumps(gateway.answer).encode()
                self.send_response(gateway.statuses.pop(0) if gateway.statuses else gateway.status)
                self.send_header("Content-Length", str(len(answer)))
                for name, value in gateway.headers.items():
                    self.send_header(name, value)
                with contextlib.suppress(OSError):  # the reporter did not wait for it
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    async def request(self) -> None:
        """Wait until one more request has come."""
        assert await asyncio.to_thread(self.came.acquire, timeout=WAIT)

    def drop_connections(self) -> None:
        """Close all connections, as a server does with idle ones."""
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


class RawServer:
    """Sends the same bytes to each connection once it has sent something, and closes it."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(self._answer)

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(WAIT)


class Stage:
    def __init__(self, gateway: Gateway, events: Any, log: Log, token_file: Path | None = None) -> None:
        self.gateway = gateway
        self.events = events
        self.dropped = 0
        self.dropped_some = asyncio.Event()
        self.reporter = Reporter(
            lambda: GatewayConnection(gateway.url, token_file), actor="a", sink=events, log=log, dropped=self._drop, wall=lambda: 0.5
        )

    def _drop(self, count: int) -> None:
        self.dropped += count
        self.dropped_some.set()

    def report(self, envelope_id: str, status: ProgressStatus = ProgressStatus.RUNNING, parent_id: str | None = None) -> None:
        self.reporter.report(Report(envelope_id, status, 1, 2, ("s", "a"), parent_id))


Play = Callable[..., None]


@pytest.fixture
def play(run: Any, new_events: Any, log: Log, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setattr(reporter_module, "_PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(reporter_module, "_FIRST_PAUSE_SECONDS", 0.02)

    def play(scene: Callable[[Stage], Any], token_file: Path | None = None) -> None:
        async def body() -> None:
            stage = Stage(gateway, new_events(), log, token_file)
            try:
                await scene(stage)
            finally:
                gateway.hold.set()
                await stage.reporter.close(WAIT)

        run(body())

    return play


def test_reports_of_one_period_go_as_one_request_with_the_latest_state_each_and_the_times_of_earlier_ones(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.report("1")
        stage.report("2", parent_id="1")
        stage.report("1", ProgressStatus.DONE)

        await stage.gateway.request()

        path, token, body = stage.gateway.requests[0]
        assert (path, token) == ("/internal/v1/progress", None)
        assert body == {
            "reports": [
                {
                    "id": "1",
                    "actor": "a",
                    "hop": 1,
                    "attempt": 2,
                    "state": "done",
                    "route": ["s", "a"],
                    "at": "1970-01-01T00:00:00.500Z",
                    "earlier": {"running": "1970-01-01T00:00:00.500Z"},
                },
                {
                    "id": "2",
                    "parent_id": "1",
                    "actor": "a",
                    "hop": 1,
                    "attempt": 2,
                    "state": "running",
                    "route": ["s", "a"],
                    "at": "1970-01-01T00:00:00.500Z",
                },
            ]
        }

    play(scene)


def test_envelope_given_back_again_and_again_while_the_gateway_is_away_is_told_as_one_and_uses_no_more_memory(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(20_000):  # deeper than Python's and the machine's stack would bear, were each kept below the next
            stage.report("1", ProgressStatus.RECEIVED)
        stage.report("1", ProgressStatus.RUNNING)
        stage.report("1", ProgressStatus.DONE)

        await stage.gateway.request()

        [told] = stage.gateway.requests[0][2]["reports"]
        assert (told["state"], list(told["earlier"])) == ("done", ["received", "running"])

    play(scene)


def test_times_of_another_attempt_are_not_told_with_the_latest_one(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.reporter.report(Report("1", ProgressStatus.RETRYING, 1, 1, ("s", "a"), None))
        stage.reporter.report(Report("1", ProgressStatus.RECEIVED, 1, 2, ("s", "a"), None))

        await stage.gateway.request()

        [told] = stage.gateway.requests[0][2]["reports"]
        assert (told["attempt"], told["state"], "earlier" in told) == (2, "received", False)

    play(scene)


def test_at_most_500_reports_go_in_one_request_and_one_request_is_open_at_a_time(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.hold.clear()
        for number in range(1100):
            stage.report(str(number))
        await stage.gateway.request()
        await asyncio.sleep(0.05)  # time in which a second request would come, if it were sent
        assert len(stage.gateway.requests) == 1

        stage.gateway.hold.set()
        await stage.gateway.request()
        await stage.gateway.request()

        assert [len(body["reports"]) for _, _, body in stage.gateway.requests] == [500, 500, 100]
        assert stage.gateway.connections == 1

    play(scene)


def test_over_10000_waiting_reports_the_oldest_is_dropped(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        for number in range(10_003):
            stage.report(str(number))

        await stage.gateway.request()

        assert stage.dropped == 3
        assert stage.gateway.requests[0][2]["reports"][0]["id"] == "3"

    play(scene)


def test_ids_told_as_cancelled_are_handed_on_and_the_cursor_comes_back(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.answer = {"cancelled": ["x", "y", 3], "cursor": 17}
        stage.report("1")
        assert await stage.events.next() == Cancelled(("x", "y"))

        stage.report("2")
        await stage.gateway.request()
        await stage.gateway.request()

        assert stage.gateway.requests[1][2]["cursor"] == 17

    play(scene)


@pytest.mark.parametrize("answer", [[], {"cancelled": 3}, {"cancelled": None}, "x"])
def test_an_answer_that_is_not_as_it_should_be_harms_nothing(play: Play, answer: Any) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.answer = answer
        stage.report("1")
        await stage.gateway.request()
        stage.report("2")
        await stage.gateway.request()

        assert stage.events.is_empty

    play(scene)


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_reports_that_a_gateway_did_not_take_go_again_as_the_oldest(play: Play, status: int) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [status]
        stage.gateway.hold.clear()  # so that the answer comes after the third report
        for each in ("1", "2"):
            stage.report(each)
        await stage.gateway.request()
        stage.report("3")
        stage.gateway.hold.set()

        await stage.gateway.request()

        assert [each["id"] for each in stage.gateway.requests[1][2]["reports"]] == ["1", "2", "3"]
        assert stage.dropped == 0

    play(scene)


def test_a_batch_without_an_answer_in_time_goes_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "_TIMEOUT_SECONDS", 0.05)

    async def scene(stage: Stage) -> None:
        stage.gateway.hold.clear()
        stage.report("1")
        await stage.gateway.request()
        await stage.gateway.request()  # the second begins only after the first was given up

        stage.gateway.hold.set()
        assert [body["reports"][0]["id"] for _, _, body in stage.gateway.requests[:2]] == ["1", "1"]
        assert stage.dropped == 0

    play(scene)


def test_a_newer_report_replaces_the_one_that_was_not_taken(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [500]
        stage.gateway.hold.clear()
        stage.report("1")
        await stage.gateway.request()
        stage.report("1", ProgressStatus.DONE)
        stage.gateway.hold.set()

        await stage.gateway.request()

        assert [(each["id"], each["state"]) for each in stage.gateway.requests[1][2]["reports"]] == [("1", "done")]

    play(scene)


def test_of_reports_that_were_not_taken_the_newest_10000_are_kept(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [500]
        stage.gateway.hold.clear()
        for number in range(500):
            stage.report(f"old-{number}")
        await stage.gateway.request()
        for number in range(9_997):
            stage.report(str(number))
        stage.gateway.hold.set()

        await stage.gateway.request()

        assert stage.dropped == 497
        assert [each["id"] for each in stage.gateway.requests[1][2]["reports"][:4]] == ["old-497", "old-498", "old-499", "0"]

    play(scene)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_reports_that_will_never_be_taken_are_dropped_and_the_next_ones_go(play: Play, status: int) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [status]
        stage.report("1")
        await stage.gateway.request()
        await asyncio.wait_for(stage.dropped_some.wait(), WAIT)
        stage.report("2")

        await stage.gateway.request()

        assert stage.dropped == 1
        assert [each["id"] for each in stage.gateway.requests[1][2]["reports"]] == ["2"]

    play(scene)


def test_closing_sends_what_is_left(play: Play, gateway: Gateway) -> None:
    async def scene(stage: Stage) -> None:
        stage.report("1")
        await stage.reporter.close(WAIT)

        assert [body["reports"][0]["id"] for _, _, body in gateway.requests] == ["1"]

    play(scene)


def test_the_token_is_read_again_when_its_file_changes(play: Play, folder: Path) -> None:
    token_file = folder / "token"
    token_file.write_text("one\n")

    async def scene(stage: Stage) -> None:
        stage.report("1")
        await stage.gateway.request()
        replacement = folder / "new"
        replacement.write_text("two")
        replacement.replace(token_file)
        stage.report("2")
        await stage.gateway.request()

        assert [token for _, token, _ in stage.gateway.requests] == ["Bearer one", "Bearer two"]

    play(scene, token_file)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, FinalAnswer.RECORDED),
        (422, FinalAnswer.REFUSED),
        *[(status, FinalAnswer.UNAVAILABLE) for status in (204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503)],
    ],
)
def test_the_answer_to_a_final_report_is_told(play: Play, status: int, answer: FinalAnswer) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.status = status

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, answer)
        assert stage.gateway.requests[0][0] == "/internal/v1/final"

    play(scene)


@pytest.mark.parametrize("told", [{"recorded": False, "status": "cancelled"}, {"recorded": True}])
def test_a_final_status_that_stands_settles_the_report(play: Play, told: Any) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.answer = told
        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.RECORDED)

    play(scene)


@pytest.mark.parametrize("told", [{}, [], "ok", {"recorded": "yes"}])
def test_an_answer_that_is_no_gateways_is_not_taken_for_recorded(play: Play, told: Any) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.answer = told
        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.UNAVAILABLE)

    play(scene)


def test_a_report_that_is_too_large_goes_once_more_with_the_reference(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [413]
        stage.reporter.report_final(ReportFinal(5, "7", b'{"id":"7","payload":[1],"asya_stored":{"key":"k","bytes":3,"sha256":"a"}}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.RECORDED)
        first, second = [body for _, _, body in stage.gateway.requests]
        reference = {"key": "k", "bytes": 3, "sha256": "a"}
        assert second == {**{key: value for key, value in first.items() if key != "result"}, "result_ref": reference}

    play(scene)


def test_a_gateway_that_is_away_makes_a_final_report_unavailable(play: Play, gateway: Gateway) -> None:
    async def scene(stage: Stage) -> None:
        gateway.close()

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.UNAVAILABLE)

    play(scene)


def test_a_gateway_that_never_answers_makes_a_final_report_unavailable(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "_FINAL_TIMEOUT_SECONDS", 0.05)

    async def scene(stage: Stage) -> None:
        stage.gateway.hold.clear()

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.UNAVAILABLE)

    play(scene)


RAW_ANSWERS = {
    "closed at once": b"",
    "no http": b"SSH-2.0-OpenSSH\r\n",
    "cut in the body": b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"recorded": true}',
    "endless": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 5_000_000,
}


@pytest.mark.parametrize("name", RAW_ANSWERS)
def test_a_broken_answer_makes_a_final_report_unavailable(play: Play, gateway: Gateway, name: str) -> None:
    with RawServer(RAW_ANSWERS[name]) as raw:
        gateway.url = raw.url

        async def scene(stage: Stage) -> None:
            stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

            assert await stage.events.next() == FinalReported(5, FinalAnswer.UNAVAILABLE)

        play(scene)


def test_a_connection_that_the_gateway_closed_while_idle_is_replaced(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.headers = {"Connection": "keep-alive"}
        for delivery in (1, 2):
            stage.reporter.report_final(ReportFinal(delivery, "7", b'{"id": "7", "payload": 1}'))
            assert (await stage.events.next()).answer is FinalAnswer.RECORDED
            stage.gateway.drop_connections()

    play(scene)


@pytest.mark.parametrize("content", [None, b"two\nlines", "schlüssel".encode()])
def test_a_token_that_cannot_be_sent_makes_a_final_report_unavailable(play: Play, folder: Path, content: bytes | None) -> None:
    token_file = folder / "token"
    if content is not None:
        token_file.write_bytes(content)

    async def scene(stage: Stage) -> None:
        for delivery in (5, 6):
            stage.reporter.report_final(ReportFinal(delivery, "7", b'{"id": "7", "payload": 1}'))
            assert await stage.events.next() == FinalReported(delivery, FinalAnswer.UNAVAILABLE)

    play(scene, token_file)


def test_a_token_is_read_again_after_a_refusal(play: Play, folder: Path) -> None:
    token_file = folder / "token"
    token_file.write_text("one")
    made = token_file.stat()

    async def scene(stage: Stage) -> None:
        stage.gateway.statuses = [401]
        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))
        assert (await stage.events.next()).answer is FinalAnswer.UNAVAILABLE
        token_file.write_text("two")  # the same file, size and time: only the refusal tells
        os.utime(token_file, ns=(made.st_atime_ns, made.st_mtime_ns))
        stage.reporter.report_final(ReportFinal(6, "7", b'{"id": "7", "payload": 1}'))
        assert (await stage.events.next()).answer is FinalAnswer.RECORDED

        assert [token for _, token, _ in stage.gateway.requests] == ["Bearer one", "Bearer two"]

    play(scene, token_file)


def test_final_reports_do_not_wait_for_progress(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.hold.clear()
        stage.report("1")
        await stage.gateway.request()
        stage.gateway.holds = ("/internal/v1/progress",)

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.RECORDED)

    play(scene)


def test_a_pause_that_the_gateway_asks_for_is_kept(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.status = 422  # dropped at once, which tells that the answer has been heard
        stage.gateway.headers = {"Retry-After": "30"}
        stage.report("1")
        await stage.gateway.request()
        await stage.dropped_some.wait()
        stage.report("2")
        await stage.reporter.close(WAIT)

        assert len(stage.gateway.requests) == 1

    play(scene)


def test_an_output_that_is_no_envelope_is_refused(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.reporter.report_final(ReportFinal(5, "7", b"[]"))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.REFUSED)

    play(scene)
