"""The runtime's frames against the vectors that `asya_core.wire.frames` passes too, and against any chunking."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asya_runtime

VECTORS = Path(__file__).parents[3] / "tests" / "data" / "vectors"
KINDS = {name: getattr(asya_runtime, name) for name in ("HELLO", "DRAIN", "FAULT", "CALL", "PAYLOADS", "ENVELOPES", "ERROR")}
MAX = 67_108_864


def vectors(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in json.loads((VECTORS / name).read_text("utf-8"))]


def worker_of(mode: str) -> asya_runtime.Worker:
    worker = object.__new__(asya_runtime.Worker)
    worker.settings = asya_runtime.Settings({"ASYA_HANDLER_MODE": mode})
    worker.json = asya_runtime.Json()
    return worker


def peer() -> Any:
    class Twin:
        actor = "a"
        reply_limit = MAX

    return Twin()


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_read_whole(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["frame"])
    assert asya_runtime.FrameReader(MAX).feed(raw) == [(KINDS[vector["kind"]], vector["call"], raw[9:])]


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_read_byte_by_byte(vector: dict[str, Any]) -> None:
    reader = asya_runtime.FrameReader(MAX)
    raw = bytes.fromhex(vector["frame"])
    frames = [frame for at in range(len(raw)) for frame in reader.feed(raw[at : at + 1])]
    assert frames == [(KINDS[vector["kind"]], vector["call"], raw[9:])]


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_written_byte_for_byte(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["frame"])
    if "items" in vector:
        items = [item.encode() for item in vector["items"]]
        written = asya_runtime.encode_reply(KINDS[vector["kind"]], vector["call"], items, fan_out=vector["fan_out"])
    else:
        written = asya_runtime.encode_frame(KINDS[vector["kind"]], vector["call"], raw[9:])
    assert written == raw


def test_call_is_read_as_limit_and_message() -> None:
    vector = next(vector.values[0] for vector in vectors("frames.json") if vector.id == "call")
    raw = bytes.fromhex(vector["frame"])
    assert asya_runtime.read_call(vector["call"], raw[9:]) == (vector["limit_ms"], vector["message"].encode())


@pytest.mark.parametrize("vector", vectors("bad_streams.json"))
def test_bad_stream_is_refused(vector: dict[str, Any]) -> None:
    reader = asya_runtime.FrameReader(vector.get("max_frame", MAX))
    with pytest.raises(asya_runtime.Fault) as caught:
        reader.feed(bytes.fromhex(vector["bytes"]))
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", vectors("results.json"))
def test_result_gives_exactly_the_frame(vector: dict[str, Any]) -> None:
    worker = worker_of(vector["mode"])
    _, before, _ = worker.argument_of(peer(), vector["message"].encode())
    assert worker.encode_result(peer(), vector["call"], result=vector["result"], before=before).hex() == vector["frame"]


frames = st.tuples(st.sampled_from(sorted(asya_runtime.KINDS)), st.integers(0, 2**32 - 1), st.binary(max_size=300))


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_any_chunking_gives_the_same_frames(sent: list[tuple[int, int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(asya_runtime.encode_frame(*frame) for frame in sent)
    reader = asya_runtime.FrameReader(MAX)
    received, at, turn = [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        received += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert received == sent
    assert not reader.buffer


@given(st.lists(frames, min_size=1, max_size=4))
def test_frames_before_a_bad_one_are_delivered(sent: list[tuple[int, int, bytes]]) -> None:
    stream = b"".join(asya_runtime.encode_frame(*frame) for frame in sent)
    reader = asya_runtime.FrameReader(MAX)
    assert reader.feed(stream + b"\0\0\0\0") == sent
    assert reader.fault is not None
    assert reader.fault.code == "bad_frame"


@pytest.mark.parametrize(("call", "body", "words"), [(0, b"\0\0\0\0{}", "without a call number"), (1, b"\0\0", "without a limit")])
def test_call_without_number_or_limit_is_a_fault(call: int, body: bytes, words: str) -> None:
    with pytest.raises(asya_runtime.Fault, match=words):
        asya_runtime.read_call(call, body)
