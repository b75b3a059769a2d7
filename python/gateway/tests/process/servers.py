"""Databases that go away, for tests: one that is closed, and a PostgreSQL server of one's own that is stopped. Called by test_replicas."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest


def closed_database(url: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """What closes the database of `url` and ends its connections, and what opens it again."""
    server, name = url.rsplit("/", 1)

    def close() -> None:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            deadline = time.monotonic() + 60
            # They end when they see the signal; until then they answer.
            while connection.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)).rowcount:
                assert time.monotonic() < deadline, f"connections to {name} do not end"
                time.sleep(0.01)

    def reopen() -> None:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    return close, reopen


@contextmanager
def own_server() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Address of a new server that runs, what stops it, and what starts it again at the same address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    if not found:
        pytest.skip("PostgreSQL is not installed: ci/services.sh start postgres")
    # The server refuses to run as root, and its own user may not pass through pytest's folders.
    as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="asya-postgres-", dir="/var/tmp") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        if as_user:
            subprocess.run(["chown", "postgres:", folder], check=True)

        def run(command: str, *words: str) -> None:
            subprocess.run([*as_user, found[-1] / command, "-D", f"{folder}/data", *words], check=True, cwd="/", stdout=subprocess.DEVNULL)

        def stop() -> None:
            run("pg_ctl", "-m", "fast", "-w", "stop")

        def start() -> None:
            options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")

        run("initdb", "-U", "asya", "--auth", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        start()
        try:
            yield f"postgresql://asya@127.0.0.1:{port}/postgres", stop, start
        finally:
            with suppress(subprocess.CalledProcessError):  # a test that failed while it was stopped
                stop()
