"""Faults that need a kubelet and control groups."""

import pytest

from tests.e2e.stage import Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

HUNGRY = """
def process(payload):
    if payload["n"] == 7:
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * 10_000_000)
    return payload
"""


@pytest.mark.behaviour("sidecar:crash:counted")
def test_message_that_eats_all_memory_ends_in_error_end_and_all_others_are_done(crewed: Stage) -> None:
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "100Mi"}}
    crewed.install_source("eater", "eater.process", HUNGRY, resources=resources, scaling={"maxReplicas": 1})
    ids = crewed.publish("eater", *({"n": n} for n in range(40)))
    error = crewed.failure(ids[7])["error"]
    assert error["code"] == "runtime_crashed"
    others = {*ids} - {ids[7]}
    eventually("all others are stored", lambda: crewed.stored("results") >= others)
    assert crewed.stored("results") == others
    assert crewed.stored("errors") == {ids[7]}
