"""A gateway that is killed while callers call: every id that was answered is in the queue, nothing else is, and each ends once."""

import json
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from asya_gateway.__main__ import main

ROUNDS = int(os.environ.get("ASYA_TEST_GATEWAY_KILLS", "2"))
CALLERS = 4
AFTER = (3, 40, 17, 71)
"""Answers after which the gateway is killed, by round: early, and in the middle of many."""
NO_BROKER = {"ASYA_EMBEDDED_PATH": "/nonexistent/queues.db"}


class Rows:
    """The store of all gateways of a test, and what a dead one's leases are made to."""

    def __init__(self, kind: str, folder: Path, url: str) -> None:
        self.kind = kind
        self.folder = folder
        self.url = url
        self.settings: dict[str, str] = {}
        if kind == "postgres":
            file = folder / "url"
            file.write_text(url)
            self.settings = {"ASYA_GATEWAY_STORE": "postgres", "ASYA_GATEWAY_POSTGRES_URL_FILE": str(file)}

    def end_leases(self) -> None:
        """A killed process's leases end after 30 s; now they end at once."""
        if self.kind == "postgres":
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(b"UPDATE envelopes SET next_publish_at = 0 WHERE published_at IS NULL")
            return
        with closing(sqlite3.connect(self.folder / "state" / "gateway.db")) as database, database:
            database.execute("UPDATE envelopes SET next_publish_at = 0 WHERE published_at IS NULL")


@pytest.fixture(params=["sqlite", "postgres"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Rows:
    return Rows(request.param, tmp_path, request.getfixturevalue("database_url") if request.param == "postgres" else "")


@pytest.mark.timeout(120 + 10 * ROUNDS)
@pytest.mark.behaviour("gateway:call:durable")
def test_every_answered_call_of_a_killed_gateway_is_published_and_ends_once(
    make_gateway: Callable[..., Any], eventually: Callable[..., Any], rows: Rows
) -> None:
    answered: list[str] = []
    for turn in range(ROUNDS):
        # Every other gateway has no broker: all that it answered is between row and publish when it is killed.
        gateway = make_gateway(**rows.settings, **(NO_BROKER if turn % 2 == 0 else {}))
        if turn == 0 and rows.settings:
            assert main(["migrate"], gateway.environment) == 0
        gateway.start()
        enough = threading.Event()
        wanted = len(answered) + AFTER[turn % len(AFTER)]

        def call(url: str = gateway.public, enough: threading.Event = enough, wanted: int = wanted) -> None:
            with httpx.Client(base_url=url, timeout=60, verify=False) as client:
                while True:
                    try:
                        answer = client.post("/tools/text-processor", json={"text": "hi"})
                    except httpx.HTTPError:
                        return
                    answered.append(answer.json()["id"])
                    if len(answered) >= wanted:
                        enough.set()

        callers = [threading.Thread(target=call) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        assert enough.wait(60)
        gateway.stop(signal.SIGKILL)
        for caller in callers:
            caller.join(60)
        rows.end_leases()
    last = make_gateway(**rows.settings).start()
    made = {each["id"] for each in _all(last)}
    assert set(answered) <= made
    eventually(lambda: len({json.loads(body)["id"] for body in last.messages()}) == len(made))
    bodies = last.messages()
    ids = [json.loads(body)["id"] for body in bodies]
    assert set(ids) == made
    first: dict[str, bytes] = {}
    for envelope_id, body in zip(ids, bodies, strict=True):
        assert first.setdefault(envelope_id, body) == body  # once more per kill at worst, with the same bytes
    assert max(Counter(ids).values()) <= 1 + ROUNDS
    recorded = Counter(envelope_id for envelope_id in ids if last.final(envelope_id, result=1)["recorded"])
    assert recorded == dict.fromkeys(made, 1)
    assert {each["status"] for each in _all(last)} == {"succeeded"}


def _all(gateway: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 200}
    while True:
        page = gateway.client.get("/envelopes", params=params).json()
        found += page["envelopes"]
        if "next" not in page:
            return found
        params["cursor"] = page["next"]
