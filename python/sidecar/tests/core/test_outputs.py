"""What a reply becomes: ids, headers, routes, errors, and the rules that an envelope-mode reply must keep."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from core_bench import broken, message
from hypothesis import given
from hypothesis import strategies as st

from asya_core.wire.envelope import Envelope, parse
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply
from asya_sidecar import splice
from asya_sidecar.outputs import Draft, error_draft, final_body, from_reply
from asya_sidecar.policy import Policy

POLICY = Policy(actor="a", namespace="n")
AT = datetime(2026, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=10), inner, max_size=6),
    max_leaves=24,
)
KEYS = st.text(max_size=20).filter(lambda key: key not in ("id", "route", "payload", "headers", "parent_id", "deadline"))


def head(**members: Any) -> bytes:
    return message(**{"payload": ..., "route": {"actors": ["a", "b"], "current": 1}, **members})


def outputs(reply: PayloadsReply | EnvelopesReply, **members: Any) -> list[Draft]:
    drafts = from_reply(parse(message(**members)), reply, POLICY, attempt=2, at=AT)
    assert isinstance(drafts, list), drafts
    return drafts


def envelopes(*heads: bytes, fan_out: bool = False, **members: Any) -> list[dict[str, Any]]:
    reply = EnvelopesReply(tuple((one, b'{"y":1}') for one in heads), fan_out)
    return [json.loads(draft.body) for draft in outputs(reply, **members)]


@given(st.dictionaries(KEYS, JSON, max_size=8), JSON)
def test_unknown_members_and_payload_pass_unchanged(extra: dict[str, Any], payload: Any) -> None:
    for reserved in ("asya_claim", "error"):
        extra.pop(reserved, None)
    text = json.dumps(payload).encode()
    (draft,) = outputs(PayloadsReply((text,), False), **extra)
    sent = json.loads(draft.body)
    assert sent["payload"] == payload
    assert {key: sent[key] for key in extra} == extra
    assert text in draft.body


@given(st.text("ab.:7", min_size=1, max_size=128), st.integers(1, 5))
def test_items_of_a_list_have_distinct_legal_ids(name: str, count: int) -> None:
    ids = [parse(draft.body).id for draft in outputs(PayloadsReply((b"1",) * count, True), id=name)]
    assert len(set(ids)) == count
    assert max(map(len, ids)) <= 128


def test_list_appends_its_length_to_the_fan_out_header() -> None:
    drafts = outputs(PayloadsReply((b"1", b"2"), True), headers={"asya-fanout": [3], "asya-hops": 4, "mine": {"a": 1.0}})
    sent = [json.loads(draft.body) for draft in drafts]
    assert [envelope["headers"] for envelope in sent] == [{"asya-fanout": [3, 2], "asya-hops": 5, "mine": {"a": 1.0}}] * 2
    assert [envelope["parent_id"] for envelope in sent] == ["7", "7"]


def test_single_output_keeps_its_fan_out_header() -> None:
    (draft,) = outputs(PayloadsReply((b"1",), False), headers={"asya-fanout": [3]}, parent_id="6")
    assert json.loads(draft.body)["headers"] == {"asya-fanout": [3], "asya-hops": 1}
    assert json.loads(draft.body)["parent_id"] == "6"


def test_last_actor_sends_to_happy_end() -> None:
    (draft,) = outputs(PayloadsReply((b"1",), False), route={"actors": ["a"], "current": 0})
    assert (draft.actor, json.loads(draft.body)["route"]["current"]) == ("happy-end", 1)


def test_step_goes_to_the_queue_of_its_actor() -> None:
    (draft,) = outputs(PayloadsReply((b"1",), False), route={"actors": ["a", "b:two"], "current": 0})
    assert draft.actor == "b"


# ------------------------------------------------------------------------------------------------------- envelope mode


def test_handler_may_insert_actors_and_headers_but_not_the_sidecars_own() -> None:
    (sent,) = envelopes(
        head(route={"actors": ["a", "c", "b"], "current": 1}, headers={"asya-hops": 99, "asya-fanout": [9], "mine": 1}),
        headers={"asya-hops": 1},
    )
    assert sent["route"] == {"actors": ["a", "c", "b"], "current": 1}
    assert sent["headers"] == {"asya-hops": 2, "mine": 1}
    assert sent["payload"] == {"y": 1}


def test_given_ids_stay_and_repeated_input_ids_are_numbered() -> None:
    sent = envelopes(head(), head(id="mine"), head(), fan_out=True)
    assert [(envelope["id"], envelope["parent_id"]) for envelope in sent] == [("7.0.0", "7"), ("mine", "7"), ("7.0.2", "7")]
    assert all(envelope["headers"]["asya-fanout"] == [3] for envelope in sent)


def test_input_id_once_is_a_parent_that_goes_on() -> None:
    sent = envelopes(head(), head(id="part"), fan_out=True)
    assert [envelope.get("parent_id") for envelope in sent] == [None, "7"]
    assert not any("asya-fanout" in envelope["headers"] for envelope in sent)


def test_parts_beside_a_parent_that_goes_on_are_no_siblings_of_it() -> None:
    sent = envelopes(head(parent_id="6"), head(id="part", parent_id="6"), fan_out=True, headers={"asya-fanout": [3]}, parent_id="6")
    told = [(envelope["id"], envelope["parent_id"], envelope["headers"].get("asya-fanout")) for envelope in sent]
    assert told == [("7", "6", [3]), ("part", "7", None)]


@pytest.mark.parametrize(
    ("members", "received"),
    [
        ({"route": {"actors": ["x", "b"], "current": 1}}, {}),
        ({"route": {"actors": ["a", "b"], "current": 0}}, {}),
        ({"route": {"actors": ["a", "error-end"], "current": 1}}, {}),
        ({"id": "8"}, {}),
        ({"id": "/"}, {}),
        ({"parent_id": "6"}, {}),
        ({"deadline": "2027-01-01T00:00:00Z"}, {}),
        ({}, {"deadline": "2027-01-01T00:00:00Z"}),
        ({"payload": 1}, {}),
        ({"asya_claim": {"key": "k", "bytes": 1, "sha256": "0" * 64}}, {}),
    ],
)
def test_broken_rule_is_a_bad_reply(members: dict[str, Any], received: dict[str, Any]) -> None:
    reply = EnvelopesReply(((head(**members), b"1"),), False)
    failed = from_reply(parse(message(**received)), reply, POLICY, attempt=1, at=AT)
    assert isinstance(failed, ErrorReply)
    assert failed.code == "bad_reply"


@pytest.mark.parametrize(
    "reply",
    [
        PayloadsReply((b"1", b"2"), False),
        EnvelopesReply(((head(), b"1"), (head(), b"2")), False),
        EnvelopesReply(((b"nonsense", b"1"),), False),
    ],
)
def test_reply_against_the_format_is_a_bad_reply(reply: Any) -> None:
    failed = from_reply(parse(message()), reply, POLICY, attempt=1, at=AT)
    assert isinstance(failed, ErrorReply)
    assert failed.code == "bad_reply"


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("given_error", "expected"),
    [
        ("no", {"code": "handler_error", "message": "no", "actor": "a", "attempt": 2}),
        (5, {"code": "handler_error", "message": "5"}),
        ({}, {"code": "handler_error", "message": "", "mro": [], "type": None, "traceback": None}),
        ({"code": "mine", "type": 1, "mro": "x", "message": 1, "traceback": 1}, {"code": "mine", "type": None, "mro": [], "message": ""}),
        (
            {"code": "c", "type": "E", "mro": ["E", 1], "message": "m", "traceback": "t", "actor": "z", "attempt": 9, "at": "then"},
            {"code": "c", "type": "E", "mro": ["E"], "message": "m", "traceback": "t", "actor": "z", "attempt": 9, "at": "then"},
        ),
    ],
)
def test_returned_error_is_completed_and_goes_to_error_end(given_error: Any, expected: dict[str, Any]) -> None:
    reply = EnvelopesReply(((head(error=given_error), b'{"y":1}'),), False)
    (draft,) = outputs(reply, headers={"asya-hops": 3})
    sent = json.loads(draft.body)
    assert (draft.actor, draft.code) == ("error-end", sent["error"]["code"])
    assert len(sent["error"]) == 8
    assert {key: sent["error"][key] for key in expected} == expected
    assert (sent["route"]["current"], sent["headers"]["asya-hops"]) == (0, 3)


def test_null_error_is_none() -> None:
    (draft,) = outputs(EnvelopesReply(((head(error=None), b"1"),), False))
    assert (draft.actor, draft.code) == ("b", None)


def test_returned_error_leaves_its_siblings_alone() -> None:
    drafts = outputs(EnvelopesReply(((head(), b"1"), (head(error="no"), b"2")), True))
    assert [draft.actor for draft in drafts] == ["b", "error-end"]


@pytest.mark.parametrize("code", ["handler_error", "timeout"])
def test_top_catch_entry_takes_what_is_caught(code: str) -> None:
    received = parse(message(headers={"asya-catch": ["out", "in:step"], "asya-hops": 1}))
    draft = error_draft(received, broken(code), POLICY, attempt=1, at=AT)
    sent = json.loads(draft.body)
    assert (draft.actor, sent["route"]) == ("in", {"actors": ["a", "in:step", "b"], "current": 1})
    assert sent["headers"] == {"asya-catch": ["out"], "asya-hops": 2}
    assert sent["error"]["code"] == code


@pytest.mark.parametrize("catch", [[], ["error-end"], ["No!"], "x", [1]])
def test_without_a_usable_catch_entry_it_goes_to_error_end(catch: Any) -> None:
    received = parse(message(headers={"asya-catch": catch}))
    assert error_draft(received, broken(), POLICY, attempt=1, at=AT).actor == "error-end"


def test_other_codes_are_not_caught() -> None:
    received = parse(message(headers={"asya-catch": ["c"]}))
    assert error_draft(received, broken("bad_message"), POLICY, attempt=1, at=AT).actor == "error-end"


def test_catch_that_would_be_too_large_goes_to_error_end_without_traceback() -> None:
    policy = Policy(actor="a", namespace="n", max_message_bytes=400)
    received = parse(message(headers={"asya-catch": ["c"]}))
    draft = error_draft(received, broken("handler_error", "E", traceback="t" * 300), policy, attempt=1, at=AT)
    assert (draft.actor, json.loads(draft.body)["error"]["traceback"]) == ("error-end", None)
    assert json.loads(draft.body)["payload"] == {"x": 1}


@pytest.mark.parametrize("payload", ["é" * 5000, {"x": "y" * 5000}])
def test_record_over_the_limit_has_its_payload_cut_and_its_size_kept(payload: Any) -> None:
    policy = Policy(actor="a", namespace="n", max_message_bytes=1000)
    body = message(payload=payload)
    draft = error_draft(parse(body), broken(), policy, attempt=1, at=AT)
    assert len(draft.body) <= 1000
    cut = json.loads(draft.body)["payload"]
    assert cut["bytes"] == len(json.dumps(payload, separators=(",", ":")))
    assert cut["text"]


def test_record_that_cannot_fit_is_as_short_as_it_can_be() -> None:
    received: Envelope = parse(message())
    error = splice.error_member(broken(), actor="a", attempt=1, at=AT)
    assert json.loads(splice.fitted(received, error, 10))["payload"]["text"] == ""


def test_failed_claim_becomes_a_payload_that_tells_of_it() -> None:
    claim = {"key": "k", "bytes": 1, "sha256": "0" * 64}
    received = parse(message(payload=..., asya_claim=claim))
    sent = json.loads(error_draft(received, broken("claim_invalid"), POLICY, attempt=1, at=AT).body)
    assert sent["payload"] == {"asya_claim": claim}
    assert "asya_claim" not in sent


def test_end_actors_reply_must_be_its_one_envelope() -> None:
    received = parse(message())
    body = final_body(received, EnvelopesReply(((head(asya_stored={"key": "7"}), b'{"y":1}'),), False))
    assert isinstance(body, bytes)
    assert json.loads(body)["asya_stored"] == {"key": "7"}
    assert isinstance(final_body(received, EnvelopesReply(((head(id="8"), b"1"),), False)), ErrorReply)
