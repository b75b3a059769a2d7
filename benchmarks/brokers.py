"""A RabbitMQ node of the benchmark's own: fresh data, own name and ports, loopback only, ended with the run.

Called by `run`. It shares nothing with the node of ci/services.sh but the installed package. The node's settings are RabbitMQ's
defaults except addresses and the memory alarm, which a filled queue must not reach.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pika
import pika.exceptions

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a node listens."""

    host: str
    port: int
    pid: int
    version: str
    username: str = "guest"
    password: str = field(default="guest", repr=False)

    @property
    def url(self) -> str:
        """Its AMQP address with user and password."""
        return f"amqp://{self.username}:{self.password}@{self.host}:{self.port}/%2F"

    def connect(self) -> pika.BlockingConnection:
        """A connection of the harness."""
        credentials = pika.PlainCredentials(self.username, self.password)
        return pika.BlockingConnection(pika.ConnectionParameters(self.host, self.port, credentials=credentials, heartbeat=0))


def _install() -> None:
    """Install the package the way ci/services.sh does: by its own functions, without starting the system's service."""
    if SERVER.exists():
        return
    script = (
        'say() { echo "bench: $*" >&2; }; fail() { say "$*"; exit 1; }; '
        "source ci/services/rabbitmq.sh; rabbitmq_select rabbitmq; rabbitmq_install"
    )
    subprocess.run(["bash", "-Eeuo", "pipefail", "-c", script], cwd=Path(__file__).parents[1], check=True)


class RabbitNode:
    """Starts a node on entering, ends it and removes its data on leaving."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="asya-bench-rabbitmq-"))
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Broker:
        _install()
        port, distribution, epmd_port = free_port(), free_port(), free_port()
        folder = self._folder
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\nvm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 50MB\n"
            "loopback_users = none\nlog.console = false\nlog.file.level = warning\n"
        )
        environment = {
            "PATH": "/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"asya-bench-{os.getpid()}@localhost",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }
        (folder / "enabled_plugins").write_text("[].\n")
        # epmd first and as a child of ours: RabbitMQ would leave a daemon behind.
        self._launch(["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)], environment)
        self._launch([str(SERVER)], environment)
        try:
            version = self._wait(port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return Broker(host="127.0.0.1", port=port, pid=self._processes[-1].pid, version=version)

    def _launch(self, command: list[str], environment: dict[str, str]) -> None:
        with (self._folder / "console.log").open("ab") as console:
            self._processes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
            )

    def _wait(self, port: int) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self._processes):
                break
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
                server = connection._impl.server_properties["version"]
                connection.close()
                return str(server.decode() if isinstance(server, bytes) else server)
            time.sleep(0.2)
        said = (self._folder / "console.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"RabbitMQ did not start:\n{said}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    """A free port of 127.0.0.1 below the kernel's ephemeral range.

    A port of that range can be taken by any outgoing connection before its server listens; an attempt to connect to it
    can even connect to itself.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.randbelow(first - 10_000) + 10_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
