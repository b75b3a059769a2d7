"""Two replicas on PostgreSQL, a killed gateway, a database that is away: what is promised about each."""

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asya_gateway.__main__ import main


@dataclass(frozen=True)
class Shared:
    """A migrated database, and two replicas on it."""

    url: str
    settings: dict[str, str]
    first: Any
    second: Any


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Any], new_database: Callable[[], Any]) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("replicas")
    with new_database() as url:
        file = folder / "url"
        file.write_text(url)
        settings = {"ASYA_GATEWAY_STORE": "postgres", "ASYA_GATEWAY_POSTGRES_URL_FILE": str(file)}
        first = gateway_of(folder / "state", **settings)
        second = gateway_of(folder / "state", **settings)
        assert main(["migrate"], first.environment) == 0
        for each in (first, second):
            each.launch()
        yield Shared(url, settings, first.serving(), second.serving())
        for each in (first, second):
            assert each.stop() == 0


def test_replica_without_migration_says_what_to_do(make_gateway: Callable[..., Any], database_url: str, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "url").write_text(database_url)
    settings = {"ASYA_GATEWAY_STORE": "postgres", "ASYA_GATEWAY_POSTGRES_URL_FILE": str(tmp_path / "url")}
    assert main([], make_gateway(**settings).environment) == 78
    assert "run python -m asya_gateway migrate first" in capfd.readouterr().err


def test_stream_on_one_replica_hears_reports_to_the_other(shared: Shared) -> None:
    envelope_id = shared.first.envelope("two-hops")
    lines: list[str] = []
    heard = threading.Event()

    def listen() -> None:
        with shared.first.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if line == "event: progress":
                    heard.set()

    listening = threading.Thread(target=listen)
    listening.start()
    shared.second.progress({"id": envelope_id, "state": "done", "hop": 0})
    assert heard.wait(60)
    shared.second.final(envelope_id, result=1)
    listening.join(60)
    assert [line for line in lines if line.startswith("id:")] == ["id: 1", "id: 2", "id: 3"]


def test_client_of_a_killed_replica_goes_on_at_the_other_without_a_gap(shared: Shared, make_gateway: Callable[..., Any]) -> None:
    third = make_gateway(**shared.settings).start()
    envelope_id = third.envelope("two-hops")
    seen = 0
    with third.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("id:"):
                seen = int(line[3:])
                break
    third.stop(signal.SIGKILL)
    shared.second.progress({"id": envelope_id, "state": "done", "hop": 0})
    shared.second.final(envelope_id, result=1)
    rest = shared.second.client.get(f"/envelopes/{envelope_id}/stream", headers={"Last-Event-ID": str(seen)})
    assert [line for line in rest.text.splitlines() if line.startswith("id:")] == ["id: 2", "id: 3"]


@pytest.mark.behaviour("gateway:store:away")
def test_database_that_is_away_is_503_with_retry_after_and_nothing_is_made(shared: Shared) -> None:
    gateway = shared.first
    kept = gateway.envelope()
    before = len(gateway.client.get("/envelopes", params={"limit": 200}).json()["envelopes"])
    name = shared.url.rsplit("/", 1)[1]
    server = shared.url.rsplit("/", 1)[0] + "/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        for answer in (gateway.call(), gateway.mesh.post("/internal/v1/final", json={"id": kept, "status": "succeeded"})):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert gateway.mesh.get("/livez").status_code == 200
        assert gateway.mesh.get("/readyz").status_code == 503
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert gateway.final(kept, result=1) == {"recorded": True}
    assert len(gateway.client.get("/envelopes", params={"limit": 200}).json()["envelopes"]) == before


def test_cut_connections_are_replaced_unseen(shared: Shared) -> None:
    for _ in range(20):
        shared.first.envelope()
    with psycopg.connect(shared.url, autocommit=True) as connection:
        connection.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert [shared.first.call().status_code for _ in range(50)] == [202] * 50


@pytest.mark.behaviour("gateway:call:durable")
def test_accepted_calls_of_a_killed_gateway_are_published_by_the_next(make_gateway: Callable[..., Any]) -> None:
    first = make_gateway(ASYA_EMBEDDED_PATH="/nonexistent/queues.db")  # no broker: rows wait
    first.start()
    ids = [first.envelope() for _ in range(20)]
    first.stop(signal.SIGKILL)
    second = make_gateway()
    # The lease of the dead process ends after 30 s; its rows are made due at once.
    with sqlite3.connect(second.folder / "gateway.db") as database:
        database.execute("UPDATE envelopes SET next_publish_at = 0")
    database.close()
    second.start()
    for envelope_id in ids:
        assert second.message(envelope_id)["payload"] == {"text": "hi"}
    bodies = [json.loads(body)["id"] for body in second.messages()]
    assert sorted(bodies) == sorted(ids)


def test_second_gateway_on_one_sqlite_file_refuses_to_start(make_gateway: Callable[..., Any], capfd: Any) -> None:
    first = make_gateway().start()
    assert main([], first.environment) == 78
    assert "in use by another gateway" in capfd.readouterr().err
