"""Work grows with the input as the input does, not faster: frames, splicing, routes, fan-out at 1, 10 and 100 times the size."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from asya_core.wire.envelope import parse
from asya_core.wire.frames import FrameReader, Kind, encode_frame, read_reply
from asya_core.wire.reply import PayloadsReply
from asya_core.wire.route import Route, check_change
from asya_sidecar.outputs import from_reply
from asya_sidecar.policy import Policy
from tests.counts.parts import message

SLACK = 1.1


def count_calls(action: Callable[[], object]) -> int:
    """Calls of Python and C functions while `action` runs."""
    calls = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def frames_in_chunks(size: int) -> Callable[[], object]:
    stream = encode_frame(Kind.PAYLOADS, 1, b"\x00\x00\x00\x00\x01\x00\x00\x00\x021\n") * (10 * size)

    def action() -> None:
        reader = FrameReader()
        frames = [frame for at in range(0, len(stream), 64) for frame in reader.feed(stream[at : at + 64])]
        assert len(frames) == 10 * size

    return action


def reply_items(size: int) -> Callable[[], object]:
    body = b"\x01" + (10 * size).to_bytes(4, "big") + b"\x00\x00\x00\x011" * (10 * size)
    [frame] = FrameReader().feed(encode_frame(Kind.PAYLOADS, 1, body))
    return lambda: read_reply(frame)


def route(size: int) -> Callable[[], object]:
    before = Route(tuple(f"actor-{n}" for n in range(50 * size)), 0)
    after = Route(before.actors, 1)

    def action() -> None:
        assert check_change(before, after) is None

    return action


def envelope_with_route(size: int) -> Callable[[], object]:
    actors = ",".join(f'"actor-{n}"' for n in range(50 * size))
    body = b'{"id":"1","route":{"actors":[%b],"current":0},"payload":1}' % actors.encode()
    return lambda: parse(body).changed(payload=b"2").encode()


def fan_out(size: int) -> Callable[[], object]:
    envelope = parse(message(1_000))
    reply = PayloadsReply(tuple(b'{"n":%d}' % n for n in range(10 * size)), True)
    policy = Policy(actor="a", namespace="ns")
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def action() -> None:
        drafts = from_reply(envelope, reply, policy, attempt=1, at=at)
        assert isinstance(drafts, list)
        assert len(drafts) == 10 * size

    return action


@pytest.mark.parametrize("make", [frames_in_chunks, reply_items, route, envelope_with_route, fan_out], ids=lambda make: make.__name__)
def test_a_hundred_times_the_input_takes_at_most_a_hundred_times_the_calls(make: Callable[[int], Callable[[], object]]) -> None:
    actions = [make(size) for size in (1, 10, 100)]
    actions[0]()  # caches
    one, ten, hundred = (count_calls(action) for action in actions)
    assert ten <= one * 10 * SLACK
    assert hundred <= ten * 10 * SLACK


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
def test_a_larger_payload_takes_no_more_calls(size: int) -> None:
    parse(message(100))
    smallest = count_calls(lambda: parse(message(100)).changed(payload=b"2").encode())
    assert count_calls(lambda: parse(message(size)).changed(payload=b"2").encode()) == smallest
