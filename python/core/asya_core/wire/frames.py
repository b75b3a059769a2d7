"""Frames between sidecar and runtime: length-prefixed, checked before memory is allocated. Bytes in, frames out; no socket.

::

    | length u32 | kind u8 | call u32 | body (length − 5 bytes) |      unsigned, big-endian; length counts everything after itself

Called by the sidecar's runtime client and tests; `asya_runtime.py` has its own reader, and both pass the vectors in tests/data/vectors/.
The kinds and the shape of each body: docs/reference/frames.md.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from asya_core.wire.errors import RemoteFault
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply, Reply

__all__ = ["DEFAULT_MAX_FRAME_BYTES", "PROTOCOL", "Frame", "FrameReader", "Kind", "encode_call", "encode_frame", "read_reply"]

PROTOCOL: Final = 1
"""The protocol's number, first thing told in HELLO. A sidecar speaks its own and the one before."""
DEFAULT_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_HEADER: Final = struct.Struct(">IBI")
_CALL_HEADER: Final = struct.Struct(">IBII")
_LENGTH: Final = struct.Struct(">I")
_ITEMS: Final = struct.Struct(">BI")
_MIN_LENGTH: Final = 5


class Kind(IntEnum):
    """What a frame is; who sends it is in docs/reference/frames.md."""

    HELLO = 0x01
    DRAIN = 0x02
    FAULT = 0x03
    CALL = 0x10
    PAYLOADS = 0x20
    ENVELOPES = 0x21
    ERROR = 0x22


_KINDS: Final = {kind.value: kind for kind in Kind}


class Frame(NamedTuple):
    """One frame.

    Attributes:
        kind: what it is.
        call: the number of the call that it belongs to, 0 for none.
        body: everything after the call number.
    """

    kind: Kind
    call: int
    body: bytes


class FrameReader:
    """Turns chunks of a byte stream into frames.

    Args:
        max_frame_bytes: the largest length field that is accepted; a larger one is refused before its body is read.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()

    @property
    def is_mid_frame(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes, in order; what is left waits for the next chunk.

        Raises RemoteFault ``frame_too_large`` or ``bad_frame``; the stream is of no use after that.
        """
        if not self._buffer:
            # The usual case, whole frames in one chunk, costs one copy of each body and none of the chunk.
            return self._whole_frames(chunk)
        self._buffer += chunk
        return self._buffered_frames()

    def _whole_frames(self, chunk: bytes) -> Iterator[Frame]:
        start, size = 0, len(chunk)
        try:
            while start < size and (end := self._end_of_frame(chunk, start)) is not None:
                frame = _frame(chunk, start, end)
                start = end
                yield frame
        finally:
            if start < size:
                self._buffer += memoryview(chunk)[start:]

    def _buffered_frames(self) -> Iterator[Frame]:
        start = 0
        try:
            while (end := self._end_of_frame(self._buffer, start)) is not None:
                frame = _frame(self._buffer, start, end)
                start = end
                yield frame
        finally:
            del self._buffer[:start]

    def _end_of_frame(self, buffer: bytes | bytearray, start: int) -> int | None:
        """Where the frame at `start` ends; None if it is not complete. Checks its length as soon as that is there."""
        if len(buffer) - start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer, start)
        if length < _MIN_LENGTH:
            raise RemoteFault("bad_frame", f"Frame length is {length}; expected at least {_MIN_LENGTH}")
        if length > self._max:
            raise RemoteFault("frame_too_large", f"Frame of {length} bytes; expected at most {self._max}")
        end = start + _LENGTH.size + int(length)
        return end if len(buffer) >= end else None


def _frame(buffer: bytes | bytearray, start: int, end: int) -> Frame:
    _, number, call = _HEADER.unpack_from(buffer, start)
    kind = _KINDS.get(number)
    if kind is None:
        raise RemoteFault("bad_frame", f"Frame kind is {number:#04x}; expected one of the seven kinds")
    start += _HEADER.size
    return Frame(kind, call, buffer[start:end] if isinstance(buffer, bytes) else bytes(memoryview(buffer)[start:end]))


def encode_frame(kind: Kind, call: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(body) + _MIN_LENGTH, kind, call) + body


def encode_call(call: int, limit_ms: int, body: bytes) -> bytes:
    """The bytes of a CALL: `body` is the message exactly as received; `limit_ms` is the call's time limit, 0 for none."""
    return _CALL_HEADER.pack(len(body) + 9, Kind.CALL, call, limit_ms) + body


def read_reply(frame: Frame) -> Reply:
    """The reply in a PAYLOADS, ENVELOPES or ERROR frame. Raises RemoteFault ``bad_frame`` if its body breaks the format."""
    match frame.kind:
        case Kind.PAYLOADS:
            fan_out, items = _items(frame.body)
            return PayloadsReply(items, fan_out)
        case Kind.ENVELOPES:
            fan_out, items = _items(frame.body)
            if len(items) % 2:
                raise RemoteFault("bad_frame", "ENVELOPES frame has an odd number of items; expected pairs of head and payload")
            pairs = tuple(zip(items[::2], items[1::2], strict=True))
            return EnvelopesReply(pairs, fan_out)
        case Kind.ERROR:
            return _error(frame.body)
        case _:
            raise RemoteFault("bad_frame", f"{frame.kind.name} frame where a reply was expected")


def _items(body: bytes) -> tuple[bool, tuple[bytes, ...]]:
    if len(body) < _ITEMS.size:
        raise RemoteFault("bad_frame", "Reply is too short for flags and count")
    flags, count = _ITEMS.unpack_from(body)
    if flags > 1:
        raise RemoteFault("bad_frame", f"Reply flags are {flags:#04x}; expected 0 or 1")
    items = []
    at = _ITEMS.size
    for _ in range(count):
        if at + 4 > len(body):
            raise RemoteFault("bad_frame", f"Reply says {count} items and holds fewer")
        (size,) = _LENGTH.unpack_from(body, at)
        at += 4
        if at + size > len(body):
            raise RemoteFault("bad_frame", "Reply item is longer than its frame")
        items.append(body[at : at + size])
        at += size
    if at != len(body):
        raise RemoteFault("bad_frame", f"Reply has {len(body) - at} bytes after its last item")
    return bool(flags), tuple(items)


class _ErrorJson(msgspec.Struct):
    code: str
    type: str | None
    mro: tuple[str, ...]
    message: str
    traceback: str | None


_decode_error: Final[Any] = msgspec.json.Decoder(_ErrorJson).decode


def _error(body: bytes) -> ErrorReply:
    try:
        error = _decode_error(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as reason:
        raise RemoteFault("bad_frame", f"ERROR frame is no {{code, type, mro, message, traceback}}: {reason}") from reason
    return ErrorReply(code=error.code, type=error.type, mro=error.mro, message=error.message, traceback=error.traceback)
