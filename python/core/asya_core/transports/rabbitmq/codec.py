"""The few AMQP 0-9-1 frames that travel once per message, as bytes. Pure.

Used by `connection` for what passes thousands of times a second: publish, deliver, ack and their like. All else (handshake, channels,
consuming, declaring, heartbeats) is pika's. pika makes several objects per
frame; these functions make bytes.

Layouts: AMQP 0-9-1 specification, section 4.2, and the extended class definitions of RabbitMQ.
"""

import struct
from typing import Final

import msgspec

__all__ = [
    "BASIC_ACK",
    "BASIC_DELIVER",
    "BASIC_NACK",
    "BASIC_RETURN",
    "FRAME",
    "FRAME_BODY",
    "FRAME_HEADER",
    "FRAME_HEADER_BYTES",
    "FRAME_METHOD",
    "FRAME_OVERHEAD_BYTES",
    "HEARTBEAT",
    "Deliver",
    "ack",
    "body_frames",
    "content_header",
    "decode_confirm",
    "decode_deliver",
    "has_headers",
    "headers_table",
    "nack",
    "publish_method",
    "reject",
]

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEADER_BYTES: Final = 7
FRAME_OVERHEAD_BYTES: Final = 8
"""Type, channel, size and the end octet."""
FRAME_END: Final = b"\xce"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

BASIC_RETURN: Final = (60 << 16) | 50
BASIC_DELIVER: Final = (60 << 16) | 60
BASIC_ACK: Final = (60 << 16) | 80
BASIC_NACK: Final = (60 << 16) | 120

_COPY_UP_TO_BYTES: Final = 4096
"""Copying so much costs less than two pieces more."""

_FLAG_HEADERS: Final = 1 << 13
_FLAG_DELIVERY_MODE: Final = 1 << 12
_FLAG_CORRELATION_ID: Final = 1 << 10
_FLAG_MESSAGE_ID: Final = 1 << 7
_FLAGS: Final = _FLAG_DELIVERY_MODE | _FLAG_CORRELATION_ID | _FLAG_MESSAGE_ID
_PERSISTENT: Final = b"\x02"
_MANDATORY: Final = b"\x01"

FRAME: Final = struct.Struct(">BHL")
_METHOD: Final = struct.Struct(">BHLHH")
_ACK: Final = struct.Struct(">BHLHHQBB")
_CONTENT: Final = struct.Struct(">BHLHHQH")
_TAG_AND_BITS: Final = struct.Struct(">QB")
_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_I32: Final = struct.Struct(">i")


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"AMQP short string has {len(raw)} bytes; at most 255 are possible")
    return bytes((len(raw),)) + raw


def publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    """The method frame of a mandatory basic.publish; the same for all messages to one queue."""
    arguments = b"\x00\x00" + _short(exchange) + _short(routing_key) + _MANDATORY
    return _METHOD.pack(FRAME_METHOD, channel, 4 + len(arguments), 60, 40) + arguments + FRAME_END


def content_header(channel: int, body_bytes: int, correlation_id: bytes, message_id: bytes, table: bytes = b"") -> bytes:
    """The header frame of a persistent message.

    Args:
        channel: its channel.
        body_bytes: length of the body that follows.
        correlation_id: at most 255 bytes of ASCII.
        message_id: at most 255 bytes of ASCII.
        table: an encoded table of headers (`headers_table`), empty for none.
    """
    flags = _FLAGS | _FLAG_HEADERS if table else _FLAGS
    properties = table + _PERSISTENT + bytes((len(correlation_id),)) + correlation_id + bytes((len(message_id),)) + message_id
    return _CONTENT.pack(FRAME_HEADER, channel, 14 + len(properties), 60, 0, body_bytes, flags) + properties + FRAME_END


def body_frames(channel: int, body: bytes, frame_max: int) -> list[bytes | memoryview]:
    """The body's frames, in pieces to be written one after the other; a large body is not copied."""
    size = len(body)
    if size == 0:
        return []
    most = frame_max - FRAME_OVERHEAD_BYTES
    if size <= min(most, _COPY_UP_TO_BYTES):
        return [FRAME.pack(FRAME_BODY, channel, size) + body + FRAME_END]
    if size <= most:
        return [FRAME.pack(FRAME_BODY, channel, size), body, FRAME_END]
    pieces: list[bytes | memoryview] = []
    view = memoryview(body)
    for start in range(0, size, most):
        part = view[start : start + most]
        pieces += (FRAME.pack(FRAME_BODY, channel, len(part)), part, FRAME_END)
    return pieces


def headers_table(headers: dict[str, str | int]) -> bytes:
    """A table of text (long string) and whole numbers (32 bits, signed)."""
    entries = b"".join(
        _short(key) + (b"S" + _U32.pack(len(value.encode())) + value.encode() if isinstance(value, str) else b"I" + _I32.pack(value))
        for key, value in headers.items()
    )
    return _U32.pack(len(entries)) + entries


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack of one delivery, or of all open ones up to it."""
    return _ACK.pack(FRAME_METHOD, channel, 13, 60, 80, tag, multiple, 0xCE)


def nack(channel: int, tag: int) -> bytes:
    """basic.nack of one delivery: back into its queue."""
    return _ACK.pack(FRAME_METHOD, channel, 13, 60, 120, tag, 0b10, 0xCE)


def reject(channel: int, tag: int) -> bytes:
    """basic.reject of one delivery: not back into its queue, so dead-lettered."""
    return _ACK.pack(FRAME_METHOD, channel, 13, 60, 90, tag, 0, 0xCE)


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """What basic.deliver says before the content."""

    consumer_tag: bytes
    tag: int
    redelivered: bool


def decode_deliver(buffer: bytes, at: int) -> Deliver:
    """basic.deliver whose payload begins at `at` (with class and method). Exchange and routing key are not looked at."""
    at += 4
    end = at + 1 + buffer[at]
    tag, redelivered = _TAG_AND_BITS.unpack_from(buffer, end)
    return Deliver(buffer[at + 1 : end], tag, redelivered & 1 == 1)


def decode_confirm(buffer: bytes, at: int) -> tuple[int, bool]:
    """Delivery tag and `multiple` of a basic.ack or basic.nack whose payload begins at `at`."""
    tag, bits = _TAG_AND_BITS.unpack_from(buffer, at + 4)
    return tag, bits & 1 == 1


def has_headers(payload: bytes) -> bool:
    """Whether a content header's payload holds a table of headers."""
    return payload[12] & (_FLAG_HEADERS >> 8) != 0
