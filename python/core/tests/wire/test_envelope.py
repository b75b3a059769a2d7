"""Parsing, writing anew, ids. Numbers in test ids are the rows of the table of bad inputs."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_core.testing import builders
from asya_core.wire.envelope import MAX_HEADERS_BYTES, Claim, child_id, parse, unreadable_id
from asya_core.wire.errors import ERROR_CODES, RemoteFault
from asya_core.wire.route import MAX_ENTRIES, Route

HASH = hashlib.sha256(b"").hexdigest()
CLAIM = {"key": "7/0-ab", "bytes": 9, "sha256": HASH}


def raw(payload: bytes) -> bytes:
    return b'{"id":"7","route":{"actors":["a"]},"payload":' + payload + b"}"


BAD: dict[str, bytes] = {
    "1 empty": b"",
    "2 not json": b"\x00\xff",
    "3 array": b"[]",
    "3 string": b'"x"',
    "3 number": b"1",
    "3 null": b"null",
    "4 byte order mark": b"\xef\xbb\xbf" + builders.body(),
    "5 bad utf-8 in a key": b'{"\xff":1,' + builders.body()[1:],
    "5 bad utf-8 in the id": builders.body(id="?").replace(b"?", b"\xff"),
    "5 bad utf-8 in a header's name": builders.body(headers={"?": 1}).replace(b"?", b"\xff"),
    "5 bad utf-8 in the route": builders.body(route={"actors": ["?"]}).replace(b"?", b"\xff"),
    "6 lone surrogate": raw(rb'"\ud800"'),
    "7 NaN": raw(b"NaN"),
    "7 Infinity": raw(b"-Infinity"),
    "9 nested 1,000 deep": raw(b"[" * 1_000 + b"]" * 1_000),
    "9 nested 100,000 deep": raw(b"[" * 100_000 + b"]" * 100_000),
    "9 nested 100,000 deep in the headers": builders.body(headers="?").replace(b'"?"', b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "12 bytes after the object": builders.body() + b" x",
    "13 no id": builders.body(id=...),
    "14 id number": builders.body(id=7),
    "14 id null": builders.body(id=None),
    "14 id empty": builders.body(id=""),
    "14 id of 129": builders.body(id="x" * 129),
    "14 id slash": builders.body(id="a/b"),
    "14 id newline": builders.body(id="a\n"),
    "14 id NUL": builders.body(id="a\0"),
    "15 no route": builders.body(route=...),
    "15 route null": builders.body(route=None),
    "15 route list": builders.body(route=["a"]),
    "16 no actors": builders.body(route={}),
    "16 actors string": builders.body(route={"actors": "a"}),
    "16 actors empty": builders.body(route={"actors": []}),
    "16 actors numbers": builders.body(route={"actors": [1]}),
    "18 current -1": builders.body(route={"actors": ["a"], "current": -1}),
    "18 current over the end": builders.body(route={"actors": ["a"], "current": 2}),
    "18 current 1.5": builders.body(route={"actors": ["a"], "current": 1.5}),
    "18 current true": builders.body(route={"actors": ["a"], "current": True}),
    "18 current string": builders.body(route={"actors": ["a"], "current": "0"}),
    "18 current null": builders.body(route={"actors": ["a"], "current": None}),
    "18 current 2^63": builders.body(route={"actors": ["a"], "current": 2**63}),
    "18 current 10^30": builders.body(route={"actors": ["a"], "current": 10**30}),
    "21 10,001 entries": builders.body(route={"actors": ["a"] * (MAX_ENTRIES + 1)}),
    "23 headers list": builders.body(headers=[]),
    "23 headers null": builders.body(headers=None),
    "23 headers too large": builders.body(headers={"a": "x" * (MAX_HEADERS_BYTES - len('{"a":""}') + 1)}),
    "23 headers of blanks": builders.body(headers="?").replace(b'"?"', b"{" + b" " * MAX_HEADERS_BYTES + b"}"),
    "25 no payload": builders.body(payload=...),
    "25 payload and claim": builders.body(asya_claim=CLAIM),
    "25 claim null": builders.body(payload=..., asya_claim=None),
    "25 claim with more": builders.body(payload=..., asya_claim={**CLAIM, "x": 1}),
    "25 claim without hash": builders.body(payload=..., asya_claim={"key": "k", "bytes": 1}),
    "25 claim of negative size": builders.body(payload=..., asya_claim={**CLAIM, "bytes": -1}),
    "25 claim with a bad hash": builders.body(payload=..., asya_claim={**CLAIM, "sha256": "x"}),
    "28 deadline soon": builders.body(deadline="soon"),
    "28 deadline without zone": builders.body(deadline="2026-01-01T00:00:00"),
    "28 deadline date": builders.body(deadline="2026-01-01"),
    "28 deadline month 13": builders.body(deadline="2026-13-01T00:00:00Z"),
    "28 deadline before the calendar": builders.body(deadline="0001-01-01T00:00:00+23:59"),
    "28 deadline number": builders.body(deadline=1),
    "parent_id null": builders.body(parent_id=None),
    "parent_id number": builders.body(parent_id=1),
}
BAD |= {
    f"19 actor {name!r}": builders.body(route={"actors": [name]})
    for name in ("", "A", "a.b", "a#", "*", "a b", "-a", "a-", "amq.direct", "a" * 54, "a" * 256, "ä", "a:", "a:b:c", "a:/", "a\n")
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_bad_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteFault) as caught:
        parse(body)
    assert caught.value.code == "bad_envelope"
    assert caught.value.code in ERROR_CODES
    assert len(caught.value.message) < 400


GOOD: dict[str, bytes] = {
    "5 bad utf-8 in the payload is the handler's": raw(b'"\xff"'),
    "7 1e400": raw(b"1e400"),
    "10 integer of 5,000 digits": raw(b"1" * 5_000),
    "11 exact numbers": raw(b"[18446744073709551616,0.1,-0.0,1E5]"),
    "12 blanks around": b" \n" + builders.body() + b"\t\r\n",
    "14 id of 128": builders.body(id="aZ09._:-" * 16),
    "14 id dots": builders.body(id=".."),
    "17 no current": builders.body(route={"actors": ["a"]}),
    "18 current at the end": builders.body(route={"actors": ["a"], "current": 1}),
    "19 longest actor": builders.body(route={"actors": ["a" * 53]}),
    "19 step": builders.body(route={"actors": ["a:Step_1.x-y"]}),
    "21 10,000 entries": builders.body(route={"actors": ["a"] * MAX_ENTRIES}),
    "23 largest headers": builders.body(headers={"a": "x" * (MAX_HEADERS_BYTES - len('{"a":""}'))}),
    "23 no headers": builders.body(headers=...),
    "24 unknown keys": builders.body(mine={"deep": [1, {"x": None}]}),
    "25 claim": builders.body(payload=..., asya_claim=CLAIM),
    "28 year 9999": builders.body(deadline="9999-12-31T23:59:59Z"),
}
GOOD |= {f"25 payload {value}": raw(value) for value in (b"null", b'""', b"0", b"false", b"[]", b"{}")}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
@pytest.mark.behaviour("envelope:untouched")
def test_good_envelope_travels_unchanged(body: bytes) -> None:
    assert parse(body).encode() == body.strip()


def test_8_last_of_two_equal_keys_wins() -> None:
    assert parse(b'{"id":"1","id":"2","route":{"actors":["a"]},"payload":1,"payload":2}').encode() == (
        b'{"id":"2","route":{"actors":["a"]},"payload":2}'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05.25z", datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02 03:04:05.123456789+01:00", datetime(2026, 1, 2, 2, 4, 5, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_deadline_is_read_as_rfc_3339_says(text: str, expected: datetime) -> None:
    assert builders.envelope(deadline=text).deadline == expected


def test_fields_are_those_of_the_members() -> None:
    envelope = builders.envelope(parent_id="p", headers={"asya-hops": 3, "asya-fanout": [2, 5], "asya-catch": ["x:y", "z"]})
    assert (envelope.id, envelope.parent_id, envelope.deadline, envelope.claim) == ("7", "p", None, None)
    assert envelope.route == Route(("a", "b"), 0)
    assert (envelope.hops, envelope.fanout, envelope.catch) == (3, [2, 5], ["x:y", "z"])
    assert envelope.payload is not None
    assert bytes(envelope.payload) == b'{"x":1}'


@pytest.mark.parametrize("headers", [{}, {"asya-hops": "3", "asya-fanout": 2, "asya-catch": [1]}, {"asya-hops": None, "asya-fanout": {}}])
def test_own_headers_that_are_absent_or_odd_count_as_none(headers: dict[str, Any]) -> None:
    envelope = builders.envelope(headers=headers)
    assert (envelope.hops, envelope.fanout, envelope.catch) == (0, [], [])


def test_change_of_every_member_is_written_and_read_alike() -> None:
    before = builders.envelope(mine=1)
    after = before.changed(
        id="8", parent_id="7", route=Route(("a", "c"), 1), headers={"h": msgspec.Raw(b"[1]")}, payload=b"2", error={"code": "timeout"}
    )
    assert after.encode() == (
        b'{"id":"8","route":{"actors":["a","c"],"current":1},"headers":{"h":[1]},"payload":2,"mine":1,"parent_id":"7",'
        b'"error":{"code":"timeout"}}'
    )
    again = parse(after.encode())
    assert (again.id, again.parent_id, again.route, dict(again.headers)) == (after.id, after.parent_id, after.route, dict(after.headers))
    assert before.encode() == builders.body(mine=1)


def test_change_of_nothing_changes_nothing() -> None:
    before = builders.envelope(deadline="2026-01-01T00:00:00Z", parent_id="p")
    assert before.changed() == before


def test_claim_and_payload_replace_each_other() -> None:
    claim = Claim(key="7/0-ab", bytes=9, sha256=HASH)
    stored = builders.envelope().changed(claim=claim)
    assert (stored.payload, stored.claim) == (None, claim)
    assert parse(stored.encode()).claim == claim
    fetched = stored.changed(payload=b"1")
    assert fetched.claim is None
    assert b"asya_claim" not in fetched.encode()
    assert stored.changed(id="8").claim == claim


@pytest.mark.parametrize(("envelope_id", "expected"), [("7", "7.0.1"), ("x" * 124, "x" * 124 + ".0.1")])
@pytest.mark.behaviour("envelope:fanout-ids")
def test_child_id_appends_hop_and_number(envelope_id: str, expected: str) -> None:
    assert child_id(envelope_id, 0, 1) == expected


def test_child_id_of_a_long_id_is_hashed() -> None:
    digest = hashlib.sha256(b"x" * 125).hexdigest()[:32]
    assert child_id("x" * 125, 0, 1) == f"h:{digest}.0.1"


ids = st.text("aZ09._:-", min_size=1, max_size=128)
numbers = st.integers(0, 9_999)


@given(ids, numbers, numbers, ids, numbers, numbers)
def test_child_ids_are_legal_and_equal_only_for_equal_children(id1: str, hop1: int, n1: int, id2: str, hop2: int, n2: int) -> None:
    one, two = child_id(id1, hop1, n1), child_id(id2, hop2, n2)
    assert builders.envelope(id=one).id == one
    if (hop1, n1) != (hop2, n2) and id1 == id2:
        assert one != two


def test_unreadable_id_is_legal_and_made_of_the_bytes() -> None:
    assert unreadable_id(b"") == "unreadable-" + HASH[:32]
    assert builders.envelope(id=unreadable_id(b"\xff")).id != unreadable_id(b"")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4),
    max_leaves=12,
)
known = {"id", "parent_id", "route", "headers", "deadline", "payload", "asya_claim", "error"}
unknown_members = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda key: key not in known), json_values, max_size=5
)


@given(extra=unknown_members, payload=json_values, new=json_values, spaced=st.booleans())
def test_splice_keeps_every_byte_it_was_not_told_to_change(extra: dict[str, Any], payload: Any, new: Any, spaced: bool) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    pieces = {key: json.dumps(value, separators=separators).encode() for key, value in builders.members(payload=payload, **extra).items()}
    text = b"{" + b",".join(json.dumps(key).encode() + b":" + value for key, value in pieces.items()) + b"}"
    new_bytes = json.dumps(new, separators=separators).encode()

    after = parse(text).changed(payload=new_bytes, route=Route(("a", "b"), 1))

    assert {key: bytes(value) for key, value in after.members.items()} == {
        **pieces,
        "payload": new_bytes,
        "route": b'{"actors":["a","b"],"current":1}',
    }
    assert json.loads(after.encode()) == {**builders.members(**extra), "payload": new, "route": {"actors": ["a", "b"], "current": 1}}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except RemoteFault as fault:
        assert fault.code == "bad_envelope"  # noqa: PT017
