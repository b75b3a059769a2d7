"""A real receiver of OTLP over HTTP: what it gets is decoded by OpenTelemetry's own protocol package. For tests of traces."""

import gzip
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

WAIT = 30.0
"""The one bound of every wait here, seconds: processes import and export within it on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """One span as it came. Ids in hex, times in ns; a parent's id is empty where there is none."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start: int
    end: int
    is_error: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    trace_state: str

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


class Receiver:
    """Listens on a free port of loopback while entered.

    Attributes:
        status: what it answers; anything but 200 takes nothing.
        hold: requests wait for this before they are answered.
    """

    def __init__(self) -> None:
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.requests = 0
        self._spans: list[ReceivedSpan] = []
        self._came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._came:
                    receiver.requests += 1
                    receiver._came.notify_all()
                receiver.hold.wait(WAIT)
                if receiver.status == 200 and self.path == "/v1/traces":
                    receiver._take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:  # a process that ended in mid-request
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="otlp-receiver")

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join(WAIT)
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All that came so far."""
        with self._came:
            return list(self._spans)

    def wait_for(self, is_enough: Callable[[list[ReceivedSpan]], Any], what: str) -> Any:
        """What `is_enough` makes of the spans, as soon as that is true."""
        deadline = time.monotonic() + WAIT
        with self._came:
            while not (found := is_enough(self._spans)):
                left = deadline - time.monotonic()
                names = sorted(f"{span.name} ({span.service})" for span in self._spans)
                assert left > 0, f"no {what} within {WAIT} s; {self.requests} requests, spans: {names}"
                self._came.wait(left)
            return found

    def wait_for_request(self) -> None:
        """Wait until somebody has sent something."""
        self.wait_for(lambda spans: self.requests, "request")

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            ReceivedSpan(
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                name=span.name,
                kind=span.kind,
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
                is_error=span.status.code == 2,
                attributes=_values(span.attributes),
                resource=_values(group.resource.attributes),
                trace_state=span.trace_state,
            )
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        with self._came:
            self._spans += spans
            self._came.notify_all()


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
