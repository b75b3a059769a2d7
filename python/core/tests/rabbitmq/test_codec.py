"""Frames as bytes, against pika's own encoder and decoder."""

import pytest
from pika import frame, spec

from asya_core.transports.rabbitmq import codec


def joined(pieces: list[bytes | memoryview]) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)


@pytest.mark.parametrize(("exchange", "key"), [("", "asya-shop-a"), ("asya-shop_delay", "ü" * 100), ("x" * 255, "")])
def test_publish_is_what_pika_sends(exchange: str, key: str) -> None:
    expected = frame.Method(7, spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)).marshal()
    assert codec.publish_method(7, exchange, key) == expected


@pytest.mark.parametrize("text", ["x" * 256, "ü" * 128])
def test_name_over_255_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="256 bytes; at most 255"):
        codec.publish_method(1, "", text)


def test_content_header_without_headers_is_read_by_pika() -> None:
    _, found = frame.decode_frame(codec.content_header(3, 12345678901, b"17", b"id-17"))
    assert (found.channel_number, found.body_size) == (3, 12345678901)
    properties = found.properties
    assert (properties.delivery_mode, properties.correlation_id, properties.message_id, properties.headers) == (2, "17", "id-17", None)


@pytest.mark.parametrize(
    "headers", [{"asya-delay": "250", "asya-attempt": 3}, {"a": ""}, {"ü": "ä" * 1000, "n": -(2**31)}, {"n": 2**31 - 1}]
)
def test_headers_are_read_by_pika(headers: dict[str, str | int]) -> None:
    raw = codec.content_header(1, 0, b"1", b"m", codec.headers_table(headers))
    _, found = frame.decode_frame(raw)
    assert found.properties.headers == headers
    assert codec.has_headers(raw[7:-1])


def test_header_flag_is_seen_where_it_is() -> None:
    without = frame.Header(1, 0, spec.BasicProperties(delivery_mode=2, content_type="x", priority=1)).marshal()
    assert not codec.has_headers(without[7:-1])
    assert codec.has_headers(frame.Header(1, 0, spec.BasicProperties(headers={"a": 1})).marshal()[7:-1])


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 131_064, 131_065, 300_000])
def test_body_is_split_at_the_negotiated_frame_size(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    raw, bodies = joined(codec.body_frames(9, body, 131_072)), []
    while raw:
        used, found = frame.decode_frame(raw)
        assert used <= 131_072
        assert found.channel_number == 9
        bodies.append(found.fragment)
        raw = raw[used:]
    assert b"".join(bodies) == body
    assert len(bodies) == -(-size // 131_064)


def test_large_body_is_not_copied() -> None:
    body = b"x" * 300_000
    assert any(isinstance(piece, memoryview) and piece.obj is body for piece in codec.body_frames(1, body, 131_072))
    assert any(piece is body for piece in codec.body_frames(1, body, 1_000_000))


@pytest.mark.parametrize("multiple", [False, True])
def test_ack_is_what_pika_sends(multiple: bool) -> None:
    assert codec.ack(2, 2**63, multiple) == frame.Method(2, spec.Basic.Ack(2**63, multiple)).marshal()


def test_nack_and_reject_are_what_pika_sends() -> None:
    assert codec.nack(2, 5) == frame.Method(2, spec.Basic.Nack(5, multiple=False, requeue=True)).marshal()
    assert codec.reject(2, 5) == frame.Method(2, spec.Basic.Reject(5, requeue=False)).marshal()


@pytest.mark.parametrize("redelivered", [False, True])
def test_deliver_is_read_as_pika_writes_it(redelivered: bool) -> None:
    raw = frame.Method(1, spec.Basic.Deliver("asya-12", 77, redelivered, "x", "key")).marshal()
    found = codec.decode_deliver(b"before" + raw, 6 + codec.FRAME_HEADER_BYTES)
    assert (found.consumer_tag, found.tag, found.redelivered) == (b"asya-12", 77, redelivered)


@pytest.mark.parametrize("multiple", [False, True])
def test_confirm_is_read_as_pika_writes_it(multiple: bool) -> None:
    for method in (spec.Basic.Ack(9, multiple), spec.Basic.Nack(9, multiple)):
        assert codec.decode_confirm(frame.Method(1, method).marshal(), codec.FRAME_HEADER_BYTES) == (9, multiple)


def test_heartbeat_is_what_pika_sends() -> None:
    assert frame.Heartbeat().marshal() == codec.HEARTBEAT
