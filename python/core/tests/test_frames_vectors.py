"""`asya_core.wire.frames` against the vectors that the runtime passes too."""

import json
from pathlib import Path
from typing import Any

import pytest

from asya_core.wire.errors import RemoteFault
from asya_core.wire.frames import DEFAULT_MAX_FRAME_BYTES, FrameReader, Kind, encode_call, encode_frame, read_reply
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply

VECTORS = Path(__file__).parents[3] / "tests" / "data" / "vectors"


def vectors(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in json.loads((VECTORS / name).read_text("utf-8"))]


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_read_whole(vector: dict[str, Any]) -> None:
    (frame,) = FrameReader().feed(bytes.fromhex(vector["frame"]))
    assert (frame.kind.name, frame.call) == (vector["kind"], vector["call"])


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_read_byte_by_byte(vector: dict[str, Any]) -> None:
    reader = FrameReader()
    raw = bytes.fromhex(vector["frame"])
    frames = [frame for at in range(len(raw)) for frame in reader.feed(raw[at : at + 1])]
    assert [(frame.kind.name, frame.call, frame.body) for frame in frames] == [(vector["kind"], vector["call"], raw[9:])]


@pytest.mark.parametrize("vector", vectors("frames.json"))
def test_frame_is_written_byte_for_byte(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["frame"])
    if vector["kind"] == "CALL":
        assert encode_call(vector["call"], vector["limit_ms"], vector["message"].encode()) == raw
    assert encode_frame(Kind[vector["kind"]], vector["call"], raw[9:]) == raw


@pytest.mark.parametrize("vector", [vector for vector in vectors("frames.json") if {"items", "error"} & set(vector.values[0])])
def test_reply_is_read(vector: dict[str, Any]) -> None:
    (frame,) = FrameReader().feed(bytes.fromhex(vector["frame"]))
    match read_reply(frame):
        case PayloadsReply(items, fan_out):
            assert ([item.decode() for item in items], fan_out) == (vector["items"], vector["fan_out"])
        case EnvelopesReply(pairs, fan_out):
            assert ([part.decode() for pair in pairs for part in pair], fan_out) == (vector["items"], vector["fan_out"])
        case ErrorReply() as error:
            assert {key: getattr(error, key) for key in vector["error"]} == {**vector["error"], "mro": tuple(vector["error"]["mro"])}


@pytest.mark.parametrize("vector", vectors("bad_streams.json"))
def test_bad_stream_is_refused(vector: dict[str, Any]) -> None:
    reader = FrameReader(vector.get("max_frame", DEFAULT_MAX_FRAME_BYTES))
    with pytest.raises(RemoteFault) as caught:
        list(reader.feed(bytes.fromhex(vector["bytes"])))
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", vectors("bad_replies.json"))
def test_bad_reply_is_refused(vector: dict[str, Any]) -> None:
    (frame,) = FrameReader().feed(bytes.fromhex(vector["frame"]))
    with pytest.raises(RemoteFault) as caught:
        read_reply(frame)
    assert caught.value.code == vector["code"]
