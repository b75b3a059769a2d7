"""Two replicas on PostgreSQL, a killed gateway, a database that is away: what is promised about each."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from python.gateway.tests.process.servers import closed_database, own_server

from asya_gateway.__main__ import main

RECONNECTED_SECONDS = float(os.environ.get("ASYA_TEST_GATEWAY_RECONNECTED_SECONDS", "60"))
"""What is promised is 2 s, on a machine that does nothing else."""
AWAY_SECONDS = int(os.environ.get("ASYA_TEST_GATEWAY_AWAY_SECONDS", "1"))
"""How long the database is away; above 1 a PostgreSQL server of the test's own is stopped."""


@dataclass(frozen=True)
class Away:
    """A gateway, and what takes its database away and brings it back."""

    gateway: Any
    stop: Callable[[], None]
    start: Callable[[], None]


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
    reconnecting = time.monotonic()
    rest = shared.second.client.get(f"/envelopes/{envelope_id}/stream", headers={"Last-Event-ID": str(seen)})
    assert time.monotonic() - reconnecting < RECONNECTED_SECONDS
    assert [line for line in rest.text.splitlines() if line.startswith("id:")] == ["id: 2", "id: 3"]


@pytest.mark.behaviour("gateway:replicas")
def test_client_that_came_back_hears_the_end_that_is_told_to_another_replica(shared: Shared, make_gateway: Callable[..., Any]) -> None:
    third = make_gateway(**shared.settings).start()
    envelope_id = third.envelope("two-hops")
    with third.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
        assert any(line == "id: 1" for line in answer.iter_lines())
    third.stop(signal.SIGKILL)
    shared.first.progress({"id": envelope_id, "state": "done", "hop": 0})
    heard = []
    with shared.second.client.stream("GET", f"/envelopes/{envelope_id}/stream", headers={"Last-Event-ID": "1"}) as answer:
        for line in answer.iter_lines():
            heard.append(line)
            if line == "id: 2":  # back again; only now it ends, elsewhere
                shared.first.final(envelope_id, result=1)
                told = time.monotonic()
        assert time.monotonic() - told < RECONNECTED_SECONDS
    assert [line for line in heard if line.startswith("id:")] == ["id: 2", "id: 3"]


@pytest.fixture
def away(shared: Shared, tmp_path: Path, gateway_of: Callable[..., Any]) -> Iterator[Away]:
    """A gateway whose database can be taken away: its server is stopped; in the short variant it is closed, its connections end."""
    if AWAY_SECONDS <= 1:
        yield Away(shared.first, *closed_database(shared.url))
        return
    with own_server() as (url, stop, start):
        (tmp_path / "url").write_text(url)
        settings = shared.settings | {"ASYA_GATEWAY_POSTGRES_URL_FILE": str(tmp_path / "url")}
        gateway = gateway_of(tmp_path / "state", **settings)
        assert main(["migrate"], gateway.environment) == 0
        gateway.start()
        yield Away(gateway, stop, start)
        assert gateway.stop() == 0


@pytest.mark.timeout(180 + AWAY_SECONDS)
@pytest.mark.behaviour("gateway:store:away")
def test_while_the_database_is_away_calls_are_503_and_afterwards_nothing_is_lost(away: Away, eventually: Callable[..., Any]) -> None:
    gateway = away.gateway

    def listed() -> dict[str, str]:
        return {each["id"]: each["status"] for each in gateway.client.get("/envelopes", params={"limit": 200}).json()["envelopes"]}

    kept = [gateway.envelope() for _ in range(10)]
    for envelope_id in kept:
        gateway.message(envelope_id)
    before = listed()
    away.stop()
    until = time.monotonic() + AWAY_SECONDS
    while True:
        for answer in (gateway.call(), gateway.mesh.post("/internal/v1/final", json={"id": kept[0], "status": "succeeded"})):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert gateway.mesh.get("/livez").status_code == 200
        assert gateway.mesh.get("/readyz").status_code == 503
        if time.monotonic() >= until:
            break
    away.start()
    ended = {each: eventually(lambda each=each: ended_at(gateway, each)) for each in kept}
    assert all(each == {"recorded": True} for each in ended.values())
    assert listed() == before | dict.fromkeys(kept, "succeeded")
    assert gateway.message(gateway.envelope())["payload"] == {"text": "hi"}
    bodies = [json.loads(body)["id"] for body in gateway.messages()]
    assert [bodies.count(each) for each in kept] == [1] * len(kept)


def ended_at(gateway: Any, envelope_id: str) -> dict[str, Any] | None:
    """The answer to a final report, as a sidecar sends it again until it is taken."""
    answer = gateway.mesh.post("/internal/v1/final", json={"id": envelope_id, "status": "succeeded", "result": 1})
    return dict(answer.json()) if answer.status_code == 200 else None


def test_cut_connections_are_replaced_unseen(shared: Shared) -> None:
    for _ in range(20):
        shared.first.envelope()
    with psycopg.connect(shared.url, autocommit=True) as connection:
        connection.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert [shared.first.call().status_code for _ in range(50)] == [202] * 50


def test_second_gateway_on_one_sqlite_file_refuses_to_start(make_gateway: Callable[..., Any], capfd: Any) -> None:
    first = make_gateway().start()
    assert main([], first.environment) == 78
    assert "in use by another gateway" in capfd.readouterr().err
