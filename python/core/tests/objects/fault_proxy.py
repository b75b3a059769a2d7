"""A real HTTP proxy in front of an S3 server that does what networks and overloaded servers do."""

import contextlib
import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

Headers = dict[str, str]


@dataclass(kw_only=True)
class Fault:
    """What happens to one request; without any of it the request goes through.

    Attributes:
        status: answered in place of the server.
        code: S3's error code in that answer.
        after: the request reaches the server all the same.
        reset: the connection is closed without an answer, after the server has answered if `after`.
        hold: waited for before anything is done.
        change_request: body → body on its way to the server.
        change_answer: body → body on its way back.
    """

    status: int = 0
    code: str = "InternalError"
    after: bool = False
    reset: bool = False
    hold: threading.Event | None = None
    change_request: Callable[[bytes], bytes] | None = None
    change_answer: Callable[[bytes], bytes] | None = None


@dataclass(kw_only=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: Headers = field(default_factory=dict)


class FaultProxy:
    """Listens on loopback, passes on to `endpoint`; the faults in `faults` meet the next requests, one each.

    The host name of a request is part of its signature, so it is passed on as it came.
    """

    def __init__(self, endpoint: str) -> None:
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        target = urlsplit(endpoint)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen.append(
                    Seen(method=self.command, path=self.path, headers={name.lower(): value for name, value in self.headers.items()})
                )
                fault = proxy.faults.pop(0) if proxy.faults else Fault()
                if fault.hold is not None:
                    fault.hold.wait(10)
                if fault.change_request is not None:
                    body = fault.change_request(body)
                answer: tuple[int, list[tuple[str, str]], bytes] = (0, [], b"")
                if not (fault.status or fault.reset) or fault.after:
                    answer = self._pass_on(body)
                if fault.reset:
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault.status:
                    text = f"<Error><Code>{fault.code}</Code><Message>told to</Message></Error>".encode()
                    answer = (fault.status, [("Content-Type", "application/xml")], text)
                if fault.change_answer is not None:
                    answer = (*answer[:2], fault.change_answer(answer[2]))
                with contextlib.suppress(OSError):
                    self._answer(*answer)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

            def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
                connection.request(self.command, self.path, body, headers)
                told = connection.getresponse()
                content = told.read()
                kept = [(name, value) for name, value in told.getheaders() if name.lower() not in ("connection", "transfer-encoding")]
                connection.close()
                return told.status, kept, content

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                has_length = False
                for name, value in headers:
                    has_length = has_length or name.lower() == "content-length"
                    self.send_header(name, value)
                if not has_length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
