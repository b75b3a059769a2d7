"""The reporter against a real HTTP server on loopback that plays the gateway."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asya_core.ops.logs import Log
from asya_sidecar import reporter as reporter_module
from asya_sidecar.effects import Cancelled, FinalAnswer, FinalReported, ProgressStatus, Report, ReportFinal
from asya_sidecar.reporter import GatewayConnection, Reporter, final_body

WAIT = 5.0


class Gateway:
    """Keeps requests; answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.connections = 0
        self.status = 200
        self.answer: dict[str, Any] = {}
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Semaphore(0)
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                gateway.connections += 1

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.requests.append((self.path, self.headers.get("Authorization"), body))
                gateway.came.release()
                gateway.hold.wait(WAIT)
                answer = json.dumps(gateway.answer).encode()
                self.send_response(gateway.status)
                self.send_header("Content-Length", str(len(answer)))
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

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


class Stage:
    def __init__(self, gateway: Gateway, events: Any, log: Log, token_file: Path | None = None) -> None:
        self.gateway = gateway
        self.events = events
        self.dropped = 0
        self.reporter = Reporter(
            lambda: GatewayConnection(gateway.url, token_file), actor="a", sink=events, log=log, dropped=self._drop, wall=lambda: 0.5
        )

    def _drop(self, count: int) -> None:
        self.dropped += count

    def report(self, envelope_id: str, status: ProgressStatus = ProgressStatus.RUNNING) -> None:
        self.reporter.report(Report(envelope_id, status, 1, 2))


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


def test_reports_of_one_period_go_as_one_request_with_the_latest_state_each(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.report("1")
        stage.report("2")
        stage.report("1", ProgressStatus.DONE)

        await stage.gateway.request()

        path, token, body = stage.gateway.requests[0]
        assert (path, token) == ("/internal/v1/progress", None)
        assert sorted((each["id"], each["state"]) for each in body["reports"]) == [("1", "done"), ("2", "running")]
        assert body["reports"][0] == {"id": "1", "actor": "a", "hop": 1, "attempt": 2, "state": "done", "at": "1970-01-01T00:00:00.500Z"}

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


def test_a_failing_gateway_costs_the_reports_of_the_request_and_the_next_ones_go_later(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.status = 500
        stage.report("1")
        await stage.gateway.request()
        stage.gateway.status = 200
        stage.report("2")

        await stage.gateway.request()

        assert stage.dropped == 1
        assert stage.gateway.requests[1][2]["reports"][0]["id"] == "2"

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
        (503, FinalAnswer.UNAVAILABLE),
        (500, FinalAnswer.UNAVAILABLE),
        (401, FinalAnswer.UNAVAILABLE),
        (429, FinalAnswer.UNAVAILABLE),
    ],
)
def test_the_answer_to_a_final_report_is_told(play: Play, status: int, answer: FinalAnswer) -> None:
    async def scene(stage: Stage) -> None:
        stage.gateway.status = status

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, answer)
        assert stage.gateway.requests[0][0] == "/internal/v1/final"

    play(scene)


def test_a_gateway_that_is_away_makes_a_final_report_unavailable(play: Play, gateway: Gateway) -> None:
    async def scene(stage: Stage) -> None:
        gateway.close()

        stage.reporter.report_final(ReportFinal(5, "7", b'{"id": "7", "payload": 1}'))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.UNAVAILABLE)

    play(scene)


def test_an_output_that_is_no_envelope_is_refused(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.reporter.report_final(ReportFinal(5, "7", b"[]"))

        assert await stage.events.next() == FinalReported(5, FinalAnswer.REFUSED)

    play(scene)


def test_a_final_report_holds_result_parent_and_fan_out() -> None:
    envelope = b'{"id":"7.0.1","parent_id":"7","headers":{"asya-fanout":[3]},"payload":{"x":1},"asya_stored":{"key":"k"}}'

    assert json.loads(final_body(envelope, "happy-end", "T")) == {
        "id": "7.0.1",
        "parent_id": "7",
        "fanout": [3],
        "status": "succeeded",
        "result": {"x": 1},
        "actor": "happy-end",
        "attempt": 1,
        "at": "T",
    }


def test_a_result_over_1_mib_is_told_by_reference() -> None:
    envelope = b'{"id":"7","payload":"' + b"x" * 1_048_576 + b'","asya_stored":{"key":"k"}}'

    body = json.loads(final_body(envelope, "happy-end", "T"))

    assert (body.get("result"), body["result_ref"]) == (None, {"key": "k"})


def test_a_failed_envelope_is_told_with_its_error_and_without_traceback() -> None:
    error = {"code": "handler_error", "message": "m", "traceback": "secret", "actor": "b", "attempt": 3}
    envelope = json.dumps({"id": "7", "payload": 1, "error": error, "asya_stored": {"key": "k"}}).encode()

    body = json.loads(final_body(envelope, "error-end", "T"))

    assert (body["status"], body["actor"], body["attempt"], body["result_ref"]) == ("failed", "b", 3, {"key": "k"})
    assert body["error"] == {"code": "handler_error", "message": "m", "actor": "b", "attempt": 3}
    assert "result" not in body
