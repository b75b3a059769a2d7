"""The SQS servers of ci/services.sh as tests of queues, operator, gateway and command use them, and a recorder that stands before one.

ElasticMQ and moto's server are two independent programs, neither of them ours.
"""

import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from asya_core.transports.sqs import SqsSettings

REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
SERVERS = ("sqs", "moto")
"""ElasticMQ and moto's server."""


def endpoint(name: str) -> str:
    """The address of a server. Missing is a skip on a laptop, a failure where CI is set."""
    variable = f"ASYA_TEST_{name.upper()}_ENDPOINT"
    found = os.environ.get(variable)
    if found is None:
        message = f"{variable} is not set: ci/services.sh start {name}, then eval its env"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def settings(where: str, **more: Any) -> SqsSettings:
    """Settings of a server, with keys that it takes."""
    return SqsSettings(region=REGION, endpoint=where, access_key_id="test", secret_access_key="test", **more)


def new_namespace() -> str:
    """A namespace that no other case has."""
    return f"t{uuid.uuid4().hex[:10]}"


class Refusal(Exception):
    """What a recorder answers in place of the server: the error's name without prefix, its status, its text."""

    def __init__(self, code: str, status: int = 400, message: str = "said the test") -> None:
        super().__init__(code)
        self.code, self.status, self.message = code, status, message


class Recorder:
    """Stands before a server of SQS and S3, writes down which actions are called on what, and may refuse some.

    Attributes:
        calls: as policies name them, such as ``sqs:SendMessage``, in order; a batch counts as its single action.
        resources: of each call, such as ``arn:aws:sqs:REGION:ACCOUNT:asya-demo-ocr`` or ``arn:aws:s3:::bucket/key``.
        agents: of each call, the header User-Agent.
        refuse: called with each action and its resource; raises `Refusal` to answer it in place of the server.
    """

    def __init__(self, behind: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.calls: list[str] = []
        self.resources: list[str] = []
        self.agents: list[str] = []
        self._lock = threading.Lock()  # the three belong together, whoever calls at the same time
        self.refuse: Callable[[str, str], None] = lambda action, resource: None
        target = urlsplit(behind)
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                target_header = self.headers.get("X-Amz-Target")
                action, resource = action_of(self.command, self.path, target_header), resource_of(self.path, target_header, body)
                with recorder._lock:
                    recorder.calls.append(action)
                    recorder.resources.append(resource)
                    recorder.agents.append(self.headers.get("User-Agent", ""))
                try:
                    recorder.refuse(action, resource)
                except Refusal as refusal:
                    text = json.dumps({"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}).encode()
                    self.answer(refusal.status, {"Content-Type": "application/x-amz-json-1.0"}, text)
                    return
                connection = HTTPConnection(str(target.hostname), target.port, timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    found = connection.getresponse()
                    self.answer(found.status, dict(found.headers.items()), found.read())
                finally:
                    connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server", "content-length"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server; connections end with their clients."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def recorder(name: str = "moto") -> Iterator[Recorder]:
    """A recorder before a server of ci/services.sh."""
    made = Recorder(endpoint(name))
    try:
        yield made
    finally:
        made.close()


def action_of(method: str, path: str, target: str | None) -> str:
    """The action that a policy must allow for a call of SQS or, without `target`, of S3."""
    if target is not None:
        return "sqs:" + target.rpartition(".")[2].removesuffix("Batch")
    parts = urlsplit(path)
    has_key = re.fullmatch(r"/[^/]+/.+", parts.path) is not None
    match method, has_key:
        case "PUT", True:
            return "s3:PutObject"
        case "GET" | "HEAD", True:
            return "s3:GetObject"
        case "DELETE", True:
            return "s3:DeleteObject"
        case "GET" | "HEAD", False:
            return "s3:ListBucket"
        case _:
            return f"s3:{method} {parts.path}"


def resource_of(path: str, target: str | None, body: bytes) -> str:
    """What a call is about, as policies name it."""
    if target is None:
        return "arn:aws:s3:::" + urlsplit(path).path.strip("/")
    told = json.loads(body)
    queue = told.get("QueueName") or str(told.get("QueueUrl", "")).rpartition("/")[2]
    return f"arn:aws:sqs:REGION:ACCOUNT:{queue}"
