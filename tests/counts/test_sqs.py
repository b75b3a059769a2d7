"""What a message costs on SQS, where each call is billed; counted by a front between a real sidecar and the server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import ActorSpec, wait_until
from tests.faults.harness_sqs import SqsMesh
from tests.sqs_front import Front
from tests.sqs_servers import endpoint

MESSAGES = 1_000
CALL_SECONDS = 0.02
"""Long enough that what gathers during a call does not depend on how busy the machine is."""


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[SqsMesh]:
    where = endpoint("sqs")
    front = Front(where, delay_seconds=CALL_SECONDS)
    # What ASYA_PREFETCH=auto comes to after eight runs, unless the machine is so busy that this handler seems slow.
    actor = ActorSpec(name="a", handler="passes", settings={"ASYA_PREFETCH": "100"})
    made = SqsMesh(where, front, tmp_path, [actor], visibility_seconds=120)
    yield made
    made.stop()
    front.close()


def calls(mesh: SqsMesh) -> dict[str, int]:
    """By action, without the look-ups of addresses, one per queue and process."""
    return {action: count for action, count in mesh.front.calls.items() if action != "GetQueueUrl"}


@pytest.mark.behaviour("sqs:calls")
def test_a_waiting_message_costs_a_third_of_a_call_and_one_alone_three(mesh: SqsMesh) -> None:
    mesh.declare()
    mesh.publish(MESSAGES)
    for pair in mesh.each():
        pair.start_runtime()
        pair.start_sidecar()
    wait_until(mesh.is_empty, "all are through")
    assert sum(calls(mesh).values()) / MESSAGES <= 0.35, calls(mesh)

    before = calls(mesh)
    mesh.publish(1)
    wait_until(lambda: calls(mesh)["DeleteMessageBatch"] > before["DeleteMessageBatch"], "the one alone")
    after = calls(mesh)
    assert after["SendMessageBatch"] - before["SendMessageBatch"] == 1
    assert after["DeleteMessageBatch"] - before["DeleteMessageBatch"] == 1
    # The poll that brings it, and at most those that other places had begun or begin meanwhile: each waits for up to 20 s.
    assert after["ReceiveMessage"] - before["ReceiveMessage"] <= 2
    assert after.keys() == before.keys()

    [pair] = mesh.each()
    assert pair.sidecar is not None
    assert resident_mb(pair.sidecar.pid) <= 60


def resident_mb(pid: int) -> float:
    """Resident memory in 1,000,000 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
