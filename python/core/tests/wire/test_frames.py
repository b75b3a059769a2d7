"""Frames under any chunking, their limits, replies that break the format. The shared vectors are in test_frames_vectors.py."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_core.wire.errors import RemoteFault
from asya_core.wire.frames import Frame, FrameReader, Kind, encode_call, encode_frame, read_reply
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply

frames = st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=50))


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 30), max_size=60))
def test_frames_come_out_the_same_under_any_chunking(sent: list[Frame], sizes: list[int]) -> None:
    stream = b"".join(encode_frame(frame.kind, frame.call, frame.body) for frame in sent)
    reader, received, at = FrameReader(), [], 0
    for size in [*sizes, len(stream)]:
        received += reader.feed(stream[at : at + size])
        at += size
    assert received == sent
    assert not reader.is_mid_frame


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_are_frames_or_refused(data: bytes, size: int) -> None:
    reader = FrameReader(1_000)
    try:
        for at in range(0, len(data), size):
            list(reader.feed(data[at : at + size]))
    except RemoteFault as fault:
        assert fault.code in ("bad_frame", "frame_too_large")  # noqa: PT017


def test_begun_frame_is_told() -> None:
    reader = FrameReader()
    assert list(reader.feed(b"\0\0\0\x05\x02\0\0\0")) == []
    assert reader.is_mid_frame
    assert list(reader.feed(b"\0")) == [Frame(Kind.DRAIN, 0, b"")]
    assert not reader.is_mid_frame


def test_frames_not_taken_from_one_chunk_come_with_the_next() -> None:
    reader = FrameReader()
    stream = encode_frame(Kind.CALL, 1) + encode_frame(Kind.CALL, 2) + encode_frame(Kind.CALL, 3)
    given = reader.feed(stream)
    assert next(given).call == 1
    del given
    assert [frame.call for frame in reader.feed(b"")] == [2, 3]


@pytest.mark.parametrize("length", [0, 1, 4])
def test_34_length_below_five_is_refused(length: int) -> None:
    with pytest.raises(RemoteFault, match="expected at least 5") as caught:
        list(FrameReader().feed(struct.pack(">I", length)))
    assert caught.value.code == "bad_frame"


def test_34_length_over_the_limit_is_refused_from_four_bytes_without_allocating() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RemoteFault) as caught:
            list(FrameReader().feed(b"\xff\xff\xff\xff"))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.code == "frame_too_large"


def test_frame_at_the_limit_is_taken() -> None:
    assert len(next(FrameReader(105).feed(encode_frame(Kind.CALL, 1, b"x" * 100))).body) == 100
    with pytest.raises(RemoteFault):
        next(FrameReader(104).feed(encode_frame(Kind.CALL, 1, b"x" * 100)))


@pytest.mark.parametrize("chunks", [1, 2])
def test_35_unknown_kind_is_refused(chunks: int) -> None:
    data = b"\0\0\0\x05\x7f\0\0\0\0"
    reader = FrameReader()
    if chunks == 2:
        assert list(reader.feed(data[:3])) == []
        data = data[3:]
    with pytest.raises(RemoteFault, match="0x7f"):
        list(reader.feed(data))


def test_large_frame_in_small_chunks_is_copied_once() -> None:
    """64 MiB in 64 kB chunks: the reader holds the frame, and makes its body; nothing per chunk."""
    size, chunk = 16 << 20, bytes(64 << 10)
    reader = FrameReader()
    list(reader.feed(struct.pack(">IBI", size + 5, Kind.CALL, 1)))
    tracemalloc.start()
    try:
        for _ in range(size // len(chunk) - 1):
            assert list(reader.feed(chunk)) == []
        (frame,) = reader.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frame.body) == size
    assert peak < 3 * size


def test_whole_frame_in_one_chunk_is_sliced_once() -> None:
    data = encode_call(1, 0, bytes(4 << 20))
    reader = FrameReader()
    tracemalloc.start()
    try:
        (frame,) = reader.feed(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frame.body) == len(data) - 9
    assert peak < 1.1 * len(data)


def items(flags: int, *bodies: bytes, count: int | None = None) -> bytes:
    head = struct.pack(">BI", flags, len(bodies) if count is None else count)
    return head + b"".join(struct.pack(">I", len(body)) + body for body in bodies)


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (Frame(Kind.PAYLOADS, 1, items(0)), PayloadsReply((), False)),
        (Frame(Kind.PAYLOADS, 1, items(0, b"1")), PayloadsReply((b"1",), False)),
        (Frame(Kind.PAYLOADS, 1, items(1, b"1", b"")), PayloadsReply((b"1", b""), True)),
        (Frame(Kind.ENVELOPES, 1, items(1, b"{}", b"1", b"{}", b"2")), EnvelopesReply(((b"{}", b"1"), (b"{}", b"2")), True)),
        (
            Frame(Kind.ERROR, 1, b'{"code":"c","type":null,"mro":["A"],"message":"m","traceback":null,"more":1}'),
            ErrorReply(code="c", type=None, mro=("A",), message="m", traceback=None),
        ),
    ],
)
def test_reply_is_read(frame: Frame, reply: object) -> None:
    assert read_reply(frame) == reply


BROKEN = {
    "no flags": Frame(Kind.PAYLOADS, 1, b""),
    "short head": Frame(Kind.PAYLOADS, 1, b"\0\0\0\0"),
    "flag 2": Frame(Kind.PAYLOADS, 1, items(2)),
    "fewer items": Frame(Kind.PAYLOADS, 1, items(0, b"1", count=2)),
    "2^32 - 1 items": Frame(Kind.PAYLOADS, 1, items(0, count=2**32 - 1)),
    "short size": Frame(Kind.PAYLOADS, 1, items(0, count=1) + b"\0\0"),
    "long item": Frame(Kind.PAYLOADS, 1, items(0, count=1) + b"\0\0\0\x02x"),
    "bytes behind": Frame(Kind.PAYLOADS, 1, items(0, b"1") + b"x"),
    "odd": Frame(Kind.ENVELOPES, 1, items(0, b"{}")),
    "error no JSON": Frame(Kind.ERROR, 1, b"x"),
    "error bad utf-8": Frame(Kind.ERROR, 1, b'{"code":"\xff","type":null,"mro":[],"message":"","traceback":null}'),
    "error without type": Frame(Kind.ERROR, 1, b'{"code":"c","mro":[],"message":"","traceback":null}'),
    "no reply": Frame(Kind.DRAIN, 0, b""),
}


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN)
def test_35_broken_reply_is_refused(frame: Frame) -> None:
    with pytest.raises(RemoteFault) as caught:
        read_reply(frame)
    assert caught.value.code == "bad_frame"
