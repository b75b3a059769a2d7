"""HTTP servers that B8 compares: the gateway on both stores, the bare MCP package, FastAPI with one insert, Starlette's streams."""

import importlib.metadata
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asya_core.transports.base import QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin
from benchmarks.brokers import free_port
from benchmarks.environment import bench_python, bench_versions
from benchmarks.processes import ProcessGroup

APPS = Path(__file__).with_name("apps")
START_SECONDS = 60
TOOLS = {"tools": {"echo": {"actor": "echo", "inputSchema": {"type": "object"}}}}
WITHOUT_POSTGRES = "PostgreSQL does not run: ci/services.sh start postgres, then eval $(ci/services.sh env)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server that runs.

    Attributes:
        port: where it is called.
        internal: where the mesh reports, for gateways.
    """

    group: ProcessGroup
    port: int
    internal: int = 0


class HttpSystem:
    """A server of one process."""

    name = ""
    setup = ""

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("starlette", "uvicorn")}

    @contextmanager
    def serving(self, folder: Path) -> Iterator[Serving]:
        """Runs it; it serves when this is entered."""
        raise NotImplementedError


def _wait(group: ProcessGroup, *ports: int) -> None:
    until = time.monotonic() + START_SECONDS
    for port in ports:
        while True:
            failed = group.failed()
            if failed:
                raise RuntimeError(failed)
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


class _Program(HttpSystem):
    """A program of apps/ that is given its port."""

    def __init__(self, name: str, setup: str, program: str) -> None:
        self.name, self.setup, self._program = name, setup, program

    @contextmanager
    def serving(self, folder: Path) -> Iterator[Serving]:
        group, port = ProcessGroup(folder / "log"), free_port()
        group.start([*self._command(), str(APPS / self._program), str(port), *self._words(folder)], {"PYTHONUNBUFFERED": "1"}, folder)
        try:
            _wait(group, port)
            yield Serving(group=group, port=port)
        finally:
            group.end()

    def _command(self) -> list[str]:
        return [sys.executable]

    def _words(self, folder: Path) -> list[str]:
        return []


class SdkEcho(_Program):
    """The bare MCP package."""

    def __init__(self) -> None:
        super().__init__("MCP package, echo", "low-level server, stateless, uvicorn with uvloop; keeps nothing", "sdk_echo.py")

    def versions(self) -> dict[str, str]:
        return super().versions() | {"mcp": importlib.metadata.version("mcp")}


class StarletteSse(_Program):
    """Starlette's streaming response."""

    def __init__(self) -> None:
        super().__init__("Starlette streams", "StreamingResponse, one future per stream; keeps nothing, checks nothing", "starlette_sse.py")


class FastApiInsert(_Program):
    """FastAPI with one insert per call.

    Args:
        store: sqlite or postgres.
    """

    def __init__(self, store: str) -> None:
        super().__init__(
            f"FastAPI, one insert ({store})",
            "plain functions in threads, a connection per thread, a durable commit each",
            "fastapi_insert.py",
        )
        self._store = store

    def absent(self) -> str | None:
        return WITHOUT_POSTGRES if self._store == "postgres" and not os.environ.get("ASYA_TEST_POSTGRES_URL") else None

    def versions(self) -> dict[str, str]:
        return bench_versions(bench_python(), "fastapi", "starlette", "uvicorn", "psycopg")

    @contextmanager
    def serving(self, folder: Path) -> Iterator[Serving]:
        if self._store == "sqlite":
            with super().serving(folder) as made:
                yield made
            return
        with database() as url:
            self._url = url
            with super().serving(folder) as made:
                yield made

    def _command(self) -> list[str]:
        return [str(bench_python())]

    def _words(self, folder: Path) -> list[str]:
        return ["sqlite", str(folder / "calls.db")] if self._store == "sqlite" else ["postgres", self._url]


@dataclass(slots=True)
class AsyaGateway(HttpSystem):
    """The gateway with default settings, without authentication and rate limits, its outbox on an embedded queue.

    Args:
        store: sqlite or postgres.
    """

    store: str = "sqlite"
    name: str = ""
    setup: str = (
        "default settings but: no authentication, no rate limit, embedded queue; a row, an event and a publish per call, a log line each"
    )
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"asya gateway ({self.store})"

    def absent(self) -> str | None:
        return WITHOUT_POSTGRES if self.store == "postgres" and not os.environ.get("ASYA_TEST_POSTGRES_URL") else None

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("asya", "mcp", "starlette", "uvicorn")}

    @contextmanager
    def serving(self, folder: Path) -> Iterator[Serving]:
        (folder / "tools.yaml").write_text(json.dumps(TOOLS))
        admin = EmbeddedAdmin(folder / "queues.db")
        admin.ensure(QueueSpec("asya-bench-echo"))
        admin.close()
        group, port, internal = ProcessGroup(folder / "log"), free_port(), free_port()
        environment = {
            "ASYA_NAMESPACE": "bench",
            "ASYA_TRANSPORT": "embedded",
            "ASYA_EMBEDDED_PATH": str(folder / "queues.db"),
            "ASYA_GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "ASYA_GATEWAY_INTERNAL_LISTEN": f"127.0.0.1:{internal}",
            "ASYA_GATEWAY_TOOLS": str(folder / "tools.yaml"),
            "ASYA_GATEWAY_SQLITE_PATH": str(folder / "gateway.db"),
            "ASYA_GATEWAY_AUTH": "none",
            "ASYA_GATEWAY_INTERNAL_AUTH": "none",
            "ASYA_GATEWAY_RATE": "1000000",
            "ASYA_GATEWAY_BURST": "1000000",
            "ASYA_GATEWAY_STREAMS": "10000",
            "ASYA_GATEWAY_STREAMS_PER_PRINCIPAL": "10000",
        }
        with database() if self.store == "postgres" else _nothing() as url:
            if url:
                (folder / "url").write_text(url)
                environment |= {"ASYA_GATEWAY_STORE": "postgres", "ASYA_GATEWAY_POSTGRES_URL_FILE": str(folder / "url")}
                migrating = group.start([sys.executable, "-m", "asya_gateway", "migrate"], environment, folder)
                if migrating.wait(START_SECONDS):
                    raise RuntimeError(group.failed())
                group.forget()
            group.start([sys.executable, "-m", "asya_gateway"], environment, folder)
            try:
                _wait(group, port, internal)
                yield Serving(group=group, port=port, internal=internal)
            finally:
                group.end()


@contextmanager
def _nothing() -> Iterator[str]:
    yield ""


@contextmanager
def database() -> Iterator[str]:
    """Address of a new database, dropped at the end."""
    import psycopg

    server = os.environ["ASYA_TEST_POSTGRES_URL"]
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield server.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
