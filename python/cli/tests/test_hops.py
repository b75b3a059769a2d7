"""The order of hops, told by lines whose times are whole milliseconds."""

from asya_cli.run.hops import Hop, in_order


def hop(actor, *, at, total_ms, next=(), envelope_id="e"):
    return Hop(
        actor=actor,
        envelope_id=envelope_id,
        attempt=1,
        outcome="ok",
        code=None,
        next=next,
        handler_ms=0.1,
        total_ms=total_ms,
        wait_ms=0.0,
        at=at,
    )


def actors(hops):
    return [one.actor for one in in_order(hops)]


def test_hops_stand_in_the_order_of_their_beginnings():
    assert actors([hop("b", at=10.0, total_ms=2, next=("c",)), hop("c", at=10.5, total_ms=1), hop("a", at=9.0, total_ms=1)]) == [
        "a",
        "b",
        "c",
    ]


def test_sender_stands_first_where_the_clock_is_too_coarse():
    told = [
        hop("end", at=10.001, total_ms=1.5),
        hop("start", at=10.001, total_ms=0.9, next=("middle",)),
        hop("middle", at=10.001, total_ms=1.2, next=("end",)),
    ]
    assert actors(told) == ["start", "middle", "end"]


def test_turns_of_a_loop_keep_their_times():
    told = [hop("a", at=10.0 + n / 500, total_ms=1, next=("b",)) for n in range(3)]
    told += [hop("b", at=10.001 + n / 500, total_ms=1, next=("a",)) for n in range(3)]
    assert actors(told) == ["a", "b", "a", "b", "a", "b"]


def test_hops_of_other_envelopes_are_not_taken_for_successors():
    told = [hop("b", at=10.0, total_ms=1.0, envelope_id="x"), hop("a", at=10.0, total_ms=0.5, next=("b",))]
    assert actors(told) == ["b", "a"]
