"""A gateway that is killed while callers call: every id that was answered is in the queue, and none besides what was asked for."""

import json
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

ROUNDS = int(os.environ.get("ASYA_TEST_GATEWAY_KILLS", "2"))
CALLERS = 4
AFTER = (3, 40, 17, 71)
"""Answers after which the gateway is killed, by round: early, and in the middle of many."""


@pytest.mark.behaviour("gateway:call:durable")
def test_every_answered_call_of_a_killed_gateway_is_published(make_gateway: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    answered: list[str] = []
    for turn in range(ROUNDS):
        gateway = make_gateway().start()
        enough = threading.Event()
        wanted = len(answered) + AFTER[turn % len(AFTER)]

        def call(url: str = gateway.public, enough: threading.Event = enough, wanted: int = wanted) -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
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
        with sqlite3.connect(gateway.folder / "gateway.db") as database:  # the dead process's leases end at once
            database.execute("UPDATE envelopes SET next_publish_at = 0")
        database.close()
    last = make_gateway().start()
    rows = {each["id"] for each in _all(last)}
    assert set(answered) <= rows
    eventually(lambda: len({json.loads(body)["id"] for body in last.messages()}) == len(rows))
    bodies = last.messages()
    ids = [json.loads(body)["id"] for body in bodies]
    assert set(ids) == rows
    first: dict[str, bytes] = {}
    for envelope_id, body in zip(ids, bodies, strict=True):
        assert first.setdefault(envelope_id, body) == body  # once more per kill at worst, with the same bytes
    assert max(Counter(ids).values()) <= 1 + ROUNDS


def _all(gateway: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 200}
    while True:
        page = gateway.client.get("/envelopes", params=params).json()
        found += page["envelopes"]
        if "next" not in page:
            return found
        params["cursor"] = page["next"]
