"""Bodies as SQS can hold them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_core.transports.sqs.codec import decode_body, encode_body

XML = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


@given(st.binary() | st.text().map(str.encode) | st.binary().map(b"asya-escaped:".__add__))
def test_any_bytes_come_back_and_travel_as_characters_of_xml(body: bytes) -> None:
    text = encode_body(body)
    assert XML.fullmatch(text)
    assert decode_body(text) == body


@pytest.mark.parametrize("body", [b'{"id":"1","payload":{"x":"~0041 \xc3\xa4"}}', "𐍈".encode(), b"\t\r\n "])
def test_ordinary_body_travels_as_it_is(body: bytes) -> None:
    assert encode_body(body).encode() == body


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xff", b"asya-escaped:~"])
def test_body_that_is_no_text_of_xml_or_looks_escaped_is_escaped(body: bytes) -> None:
    assert encode_body(body).startswith("asya-escaped:")
    assert decode_body(encode_body(body)) == body


@pytest.mark.parametrize("text", ["plain", "asya-escaped:é~d800", "asya-escaped:~zz"])
def test_text_of_others_is_taken_as_it_is_or_at_least_as_bytes(text: str) -> None:
    assert isinstance(decode_body(text), bytes)
