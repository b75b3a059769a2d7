"""Large payloads: what is fetched, what is stored first, and what happens if the storage cannot."""

import hashlib
import json
from typing import Any

import pytest
from core_bench import Bench, broken, message, one

from asya_core.transports.base import SettledOutcome
from asya_core.wire.claims import is_claim_key, make_claim
from asya_core.wire.envelope import Claim, parse
from asya_core.wire.reply import EnvelopesReply, PayloadsReply
from asya_sidecar import effects as fx
from asya_sidecar.effects import FetchOutcome
from asya_sidecar.lifecycle import State
from asya_sidecar.outputs import Claimed, Draft, claimed
from asya_sidecar.policy import Policy

THRESHOLD = 1000
BIG = json.dumps("x" * 2000).encode()
OTHER = json.dumps("y" * 3000).encode()


def bench(**policy: Any) -> Bench:
    return Bench(claim_threshold=THRESHOLD, **policy)


def as_member(claim: Claim) -> dict[str, Any]:
    return {"key": claim.key, "bytes": claim.bytes, "sha256": claim.sha256}


def claim_of(payload: bytes, envelope_id: str = "7", hop: int = 0) -> dict[str, Any]:
    return as_member(make_claim(envelope_id, hop, payload))


def arrive(bench: Bench, payload: bytes = BIG, **members: Any) -> Any:
    return bench.arrive(payload=..., asya_claim=claim_of(payload), **members)


def fetched(bench: Bench, payload: bytes = BIG, token: int = 1) -> None:
    bench.take(fx.FetchEnded(token, FetchOutcome.FETCHED, payload))


# -------------------------------------------------------------------------------------------------------------- keys


def test_a_key_is_made_of_id_hop_and_hash() -> None:
    sha256 = hashlib.sha256(BIG).hexdigest()
    assert make_claim("7", 3, BIG) == Claim(key=f"7/3-{sha256[:16]}", bytes=len(BIG), sha256=sha256)


@pytest.mark.parametrize("envelope_id", ["7", ".", "..", "a:b", "A" * 128])
def test_every_key_that_is_made_is_legal(envelope_id: str) -> None:
    claim = make_claim(envelope_id, 9999, BIG)
    assert is_claim_key(claim)
    assert claim.key.partition("/")[0] not in (".", "..")


@pytest.mark.parametrize(
    "key",
    [
        "k",
        "7/0",
        "7/0-",
        "7/0-{other}",
        "../0-{hex}",
        "./0-{hex}",
        "7/x-{hex}",
        "7/8/0-{hex}",
        "/0-{hex}",
        "7/0-{hex}0",
        "7\n/0-{hex}",
        "results/7.json",
    ],
)
def test_a_key_that_nobody_makes_is_refused(key: str) -> None:
    claim = make_claim("7", 0, BIG)
    claim = Claim(key=key.format(hex=claim.sha256[:16], other="0" * 16), bytes=1, sha256=claim.sha256)
    assert not is_claim_key(claim)
    bench_ = bench()
    bench_.arrive(payload=..., asya_claim=as_member(claim))
    assert bench_.error()["code"] == "claim_invalid"
    assert json.loads(bench_.one(fx.Publish).body)["payload"] == {"asya_claim": as_member(claim)}


# ---------------------------------------------------------------------------------------------------------- fetching


def test_a_claim_is_fetched_before_the_handler_runs() -> None:
    b = bench()
    receipt = arrive(b, headers={"t": 1})
    assert b.one(fx.Fetch) == fx.Fetch(1, make_claim("7", 0, BIG))
    assert b.decider.in_flight == {State.FETCHING: 1}
    fetched(b)
    called = json.loads(b.one(fx.Call).body)
    assert called == {"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "headers": {"t": 1}, "payload": json.loads(BIG)}
    b.reply(1, one())
    assert json.loads(b.one(fx.Publish).body)["payload"] == {"x": 2}
    b.ended(1)
    assert b.one(fx.Ack).receipt == receipt


def test_an_end_actor_fetches_too() -> None:
    b = bench(actor="happy-end")
    arrive(b)
    fetched(b)
    assert json.loads(b.one(fx.Call).body)["payload"] == json.loads(BIG)


def test_progress_tells_of_it_once_it_is_there() -> None:
    b = bench(reports_progress=True)
    arrive(b)
    assert not b.has(fx.Report)
    fetched(b)
    assert [effect.status for effect in b.all(fx.Report)] == ["received", "running"]


def test_an_invalid_claim_becomes_a_record_that_tells_of_it() -> None:
    b = bench()
    arrive(b)
    b.take(fx.FetchEnded(1, FetchOutcome.INVALID, message="There is no object 7/0-x"))
    assert (b.error()["code"], b.error()["message"]) == ("claim_invalid", "There is no object 7/0-x")
    assert json.loads(b.one(fx.Publish).body)["payload"] == {"asya_claim": claim_of(BIG)}


def test_a_storage_that_is_away_puts_the_message_back() -> None:
    b = bench()
    receipt = arrive(b)
    b.take(fx.FetchEnded(1, FetchOutcome.AWAY))
    assert b.one(fx.Retry).receipt == receipt
    b.take(fx.RetryEnded(receipt, SettledOutcome.OK))
    assert b.record().outcome is fx.Outcome.RETRY


def test_a_claim_over_the_largest_frame_is_not_fetched() -> None:
    b = bench(max_claim_bytes=len(BIG) - 1)
    arrive(b)
    assert b.error()["code"] == "claim_invalid"
    assert "the runtime takes at most" in b.error()["message"]


def test_a_claim_without_a_storage_is_invalid() -> None:
    b = Bench()
    arrive(b)
    assert b.error()["code"] == "claim_invalid"


def test_a_drain_gives_back_what_is_being_fetched() -> None:
    b = bench()
    receipt = arrive(b)
    b.take(fx.DrainRequested(True))
    assert b.one(fx.Requeue).receipt == receipt
    assert b.has(fx.Leave)


def test_a_claim_that_arrives_in_a_drain_is_given_back_unfetched() -> None:
    b = bench()
    b.take(fx.DrainRequested(False))
    receipt = arrive(b)
    assert (b.has(fx.Fetch), b.one(fx.Requeue).receipt) == (False, receipt)


@pytest.mark.parametrize("lost", [fx.ConsumeLinkChanged(False), fx.DrainRequested(False), fx.GraceOver()])
def test_a_fetch_that_ends_too_late_changes_nothing(lost: fx.Event) -> None:
    b = bench()
    arrive(b)
    b.take(lost)
    fetched(b)
    assert b.said == []


def test_a_failed_run_keeps_the_claim_for_error_end() -> None:
    b = bench()
    arrive(b)
    fetched(b)
    b.reply(1, broken())
    record = json.loads(b.one(fx.Publish).body)
    assert (record["asya_claim"], "payload" in record, record["error"]["code"]) == (claim_of(BIG), False, "handler_error")


def test_an_envelope_that_ends_keeps_its_claim() -> None:
    b = bench()
    arrive(b)
    fetched(b)
    b.reply(1, PayloadsReply((), False))
    assert json.loads(b.one(fx.Publish).body)["asya_claim"] == claim_of(BIG)
    b.ended(1)
    assert b.record().outcome is fx.Outcome.ENDED


# ----------------------------------------------------------------------------------------------------------- storing


def test_a_large_output_is_stored_before_anything_is_sent() -> None:
    b = bench()
    receipt = b.arrive()
    b.reply(1, PayloadsReply((b"1", BIG), True))
    claim = make_claim("7.0.1", 0, BIG)
    assert b.one(fx.Store) == fx.Store(1, ((claim.key, BIG),))
    assert not b.has(fx.Publish)
    assert b.decider.in_flight == {State.STORING: 1}
    b.take(fx.StoreEnded(1, True))
    small, large = [json.loads(effect.body) for effect in b.all(fx.Publish)]
    assert (small["payload"], large["asya_claim"], "payload" in large) == (1, as_member(claim), False)
    b.ended(1)
    b.ended(2)
    assert b.one(fx.Ack).receipt == receipt
    assert b.record().outcome is fx.Outcome.OK


def test_a_payload_that_is_handed_on_keeps_its_claim_and_is_not_stored_again() -> None:
    b = bench()
    arrive(b)
    fetched(b)
    b.reply(1, one(BIG))
    assert not b.has(fx.Store)
    assert json.loads(b.one(fx.Publish).body)["asya_claim"] == claim_of(BIG)


def test_a_changed_payload_is_stored_anew() -> None:
    b = bench()
    arrive(b)
    fetched(b)
    b.reply(1, one(OTHER))
    assert b.one(fx.Store).objects == ((make_claim("7", 0, OTHER).key, OTHER),)


def test_a_storage_that_is_away_runs_the_handler_again_later() -> None:
    b = bench()
    receipt = b.arrive()
    b.reply(1, one(BIG))
    b.take(fx.StoreEnded(1, False))
    assert b.one(fx.Retry).receipt == receipt
    assert not b.has(fx.Publish)


@pytest.mark.parametrize("size", [THRESHOLD - 1, THRESHOLD])
def test_the_threshold_is_exact(size: int) -> None:
    b = bench()
    b.arrive()
    b.reply(1, one(b'"' + b"x" * (size - 2) + b'"'))
    assert b.has(fx.Store) is (size == THRESHOLD)


def test_an_output_over_the_brokers_limit_is_stored() -> None:
    b = bench(max_message_bytes=1500)
    b.arrive()
    b.reply(1, one(OTHER))
    assert b.has(fx.Store)


def test_an_output_that_is_too_large_without_its_payload_fails_as_such() -> None:
    b = bench(max_message_bytes=1500)
    b.arrive(headers={"h": "x" * 1500})
    b.reply(1, one(OTHER))
    assert not b.has(fx.Store)
    assert b.error()["code"] == "payload_too_large"


def test_an_error_that_the_handler_returned_is_not_stored_apart() -> None:
    b = bench()
    b.arrive()
    head = json.dumps({"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "error": {"message": "no"}}).encode()
    b.reply(1, EnvelopesReply(((head, BIG),), False))
    assert (b.has(fx.Store), b.error()["message"]) == (False, "no")


def test_a_caught_error_with_a_large_payload_is_told_as_error_once_it_is_stored() -> None:
    b = bench()
    b.arrive(headers={"asya-catch": ["rescue"]})
    head = {"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "headers": {"asya-catch": ["rescue"]}, "error": {"message": "no"}}
    b.reply(1, EnvelopesReply(((json.dumps(head).encode(), BIG),), False))
    b.take(fx.StoreEnded(1, True))
    assert b.one(fx.Publish).queue == "asya-n-rescue"
    b.ended(1)
    assert b.record().code == "handler_error"


def test_what_was_being_stored_when_the_link_broke_is_stored_again_without_a_run() -> None:
    b = bench()
    b.arrive()
    b.reply(1, one(BIG))
    b.take(fx.ConsumeLinkChanged(False))
    assert b.decider.in_flight == {State.ORPHANED: 1}
    b.take(fx.StoreEnded(1, True))
    assert b.said == []
    b.take(fx.ConsumeLinkChanged(True))
    receipt = b.arrive(attempt=2)
    assert (b.has(fx.Call), b.one(fx.Store).token) == (False, 2)
    b.take(fx.StoreEnded(2, True))
    b.ended(1)
    assert b.one(fx.Ack).receipt == receipt


def test_grace_over_leaves_while_storing() -> None:
    b = bench()
    b.arrive()
    b.reply(1, one(BIG))
    b.take(fx.GraceOver())
    assert b.has(fx.Leave)
    b.take(fx.StoreEnded(1, True))
    assert b.said == []


def test_outputs_are_left_alone_where_none_is_large() -> None:
    drafts = [Draft("b", message(id="8"))]
    moved = claimed(drafts, parse(message()), THRESHOLD, Policy(actor="a", namespace="n", claim_threshold=THRESHOLD))
    assert isinstance(moved, Claimed)
    assert (moved.drafts, moved.objects) == (drafts, ())
