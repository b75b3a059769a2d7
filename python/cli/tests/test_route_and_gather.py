"""Routes of one run, and when an envelope is final."""

import pytest

from asya_cli.run.actor import actor_spec
from asya_cli.run.gather import Ended, Gathering
from asya_cli.run.hops import Hop, hop_of, trace_table
from asya_cli.run.route import check_route, parse_route, reachable
from asya_core.wire.errors import RemoteFault

SPECS = {
    "a": actor_spec({"handler": "m.f"}, release="a", file="f"),
    "b": actor_spec({"handler": "m.f"}, release="b", file="f"),
    "judge": actor_spec({"handler": "m.f", "handlerMode": "envelope"}, release="judge", file="f"),
}


def ended(envelope_id, *fanout, payload=None, error=None, parent=None):
    return Ended.of({"id": envelope_id, "parent_id": parent, "headers": {"asya-fanout": list(fanout)}, "payload": payload, "error": error})


def test_route_keeps_steps_and_drops_blanks():
    assert parse_route(" a , b:x,a ") == ("a", "b:x", "a")


@pytest.mark.parametrize("entries", [["c"], ["happy-end"], ["a:"], ["a:sp ace"], []])
def test_route_that_cannot_be_taken_is_refused(entries):
    with pytest.raises(RemoteFault):
        check_route(entries, SPECS, source="--route")


def test_payload_mode_reaches_its_route_only():
    assert reachable(["b", "a", "b:x"], SPECS) == ("b", "a")


def test_envelope_mode_reaches_all():
    assert reachable(["judge"], SPECS) == ("judge", "a", "b")


def test_one_envelope_is_final_by_itself():
    gathering = Gathering("r")
    assert not gathering.is_complete
    assert gathering.takes(ended("r", payload={"x": 1}))
    assert gathering.is_complete
    assert gathering.result() == {"x": 1}


def test_list_of_one_stays_a_list():
    gathering = Gathering("r")
    gathering.takes(ended("r.0.0", 1, payload=5))
    assert gathering.is_complete
    assert gathering.result() == [5]


def test_siblings_are_ordered_by_number_and_copies_do_not_count():
    gathering = Gathering("r")
    for index in (10, 2, 2, 0, 1, 3, 4, 5, 6, 7, 8):
        gathering.takes(ended(f"r.0.{index}", 11, payload=index))
    assert not gathering.is_complete
    gathering.takes(ended("r.0.9", 11, payload=9))
    assert gathering.is_complete
    assert gathering.result() == list(range(11))


def test_levels_nest_and_uneven_ones_add_up():
    gathering = Gathering("r")
    gathering.takes(ended("r.0.1", 2, payload="leaf"))
    gathering.takes(ended("r.0.0.1.1", 2, 2, payload="b"))
    assert not gathering.is_complete
    gathering.takes(ended("r.0.0.1.0", 2, 2, payload="a"))
    assert gathering.is_complete
    assert gathering.result() == [["a", "b"], "leaf"]


def test_ids_of_the_handlers_own_are_found_by_their_parent():
    gathering = Gathering("r")
    assert gathering.takes(ended("mine-1", 2, payload=1, parent="r"))
    assert gathering.takes(ended("mine-2", 2, payload=2, parent="r"))
    assert gathering.is_complete
    assert gathering.result() == [1, 2]


def test_strangers_and_side_envelopes_are_not_awaited():
    gathering = Gathering("r")
    assert not gathering.takes(ended("other"))
    assert gathering.takes(ended("side", parent="r"))
    assert not gathering.is_complete


def test_failed_ones_are_told():
    gathering = Gathering("r")
    gathering.takes(ended("r.0.0", 2, error={"code": "timeout"}))
    gathering.takes(ended("r.0.1", 2, payload=1))
    assert [each.id for each in gathering.failed] == ["r.0.0"]


def line(**more):
    base = {"ts": "2026-01-01T00:00:00.010Z", "actor": "a", "envelope_id": "r", "attempt": 1, "outcome": "ok", "total_ms": 4.0}
    return base | more


def test_trace_is_in_order_with_waits_between():
    hops = [
        hop_of(line(ts="2026-01-01T00:00:00.020Z", actor="b", handler_ms=3.0, next=["happy-end"])),
        hop_of(line(handler_ms=2.0, next=["b"], wait_ms=0.5)),
    ]
    table = trace_table(hops, started_at=hops[1].at - 0.010)
    assert [row.split() for row in table[1:3]] == [
        ["0", "a", "1", "6.5", "ms", "2.0", "ms", "→", "b"],
        ["1", "b", "1", "6.0", "ms", "3.0", "ms", "→", "happy-end"],
    ]
    assert table[3] == "total 20.0 ms in 2 hops"


def test_other_lines_are_no_hops():
    with pytest.raises(KeyError):
        hop_of({"event": "started"})


def test_hop_without_a_call_has_no_handler_time():
    assert isinstance(hop_of(line()), Hop)
    assert "–" in trace_table([hop_of(line(outcome="error", code="bad_envelope", next=["error-end"]))], started_at=0)[1]
