"""One body over both stores: what is durable, what is guarded, which numbers events have."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from asya_core.wire.errors import Bug
from asya_gateway.status import FINAL, Status, may_become
from asya_gateway.store.base import Store, Tx
from asya_gateway.store.envelopes import (
    Finished,
    NewEnvelope,
    Progress,
    create,
    expire,
    finish,
    forget,
    give_up,
    record_final,
    record_progress,
)

pytestmark = pytest.mark.unmeasured

NOW = 1_700_000_000_000
Make = Callable[[], Store]


def new(envelope_id: str = "e1", **more: Any) -> NewEnvelope:
    fields: dict[str, Any] = {
        "id": envelope_id,
        "tool": "t",
        "flow": None,
        "owner": "caller",
        "route": ["a", "b"],
        "message": "{}",
        "now": NOW,
        "lease_until": NOW + 30_000,
        "deadline_at": NOW + 60_000,
    }
    return NewEnvelope(**(fields | more))


def run(make_store: Make, work: Callable[[Store], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        store = make_store()
        await store.open()
        try:
            return await asyncio.wait_for(work(store), 20)
        finally:
            await store.close()

    return asyncio.run(main())


def row_of(tx: Tx, envelope_id: str = "e1") -> Any:
    return tx.one("find_envelope", id=envelope_id)


def events_of(tx: Tx, envelope_id: str = "e1") -> list[Any]:
    return list(tx.all("read_events", id=envelope_id, after=0, limit=1000))


def test_row_and_first_event_survive_a_restart(make_store: Make) -> None:
    run(make_store, lambda store: store.write(lambda tx: create(tx, new(message='{"ü": 1}'))))
    row, events = run(make_store, lambda store: store.read(lambda tx: (row_of(tx), events_of(tx))))
    assert (row["status"], row["owner"], json.loads(row["route"])) == ("pending", "caller", ["a", "b"])
    assert [(event["seq"], event["kind"]) for event in events] == [(1, "status")]


def test_failing_work_leaves_nothing_and_hurts_nobody_beside_it(make_store: Make) -> None:
    def fails(tx: Tx) -> None:
        create(tx, new("bad"))
        raise ValueError("mine")

    async def work(store: Store) -> Any:
        outcomes = await asyncio.gather(
            store.write(lambda tx: create(tx, new("good1"))),
            store.write(fails),
            store.write(lambda tx: create(tx, new("good2"))),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], ValueError)
        return await store.read(lambda tx: [row_of(tx, each) is not None for each in ("good1", "bad", "good2")])

    assert run(make_store, work) == [True, False, True]


def test_refused_statement_is_a_bug_and_no_foreign_exception(make_store: Make) -> None:
    async def work(store: Store) -> None:
        await store.write(lambda tx: create(tx, new()))
        with pytest.raises(Bug):
            await store.write(
                lambda tx: tx.all("insert_event", envelope_id="e1", seq=1, at=1, kind="x", actor=None, hop=None, attempt=None, data=None)
            )
        assert await store.read(lambda tx: row_of(tx)) is not None

    run(make_store, work)


def test_same_key_gives_the_same_row_even_at_the_same_moment(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        return await asyncio.gather(
            *(store.write(lambda tx, n=n: create(tx, new(f"e{n}", idempotency_key="k", request_hash="h"))) for n in range(20))
        )

    outcomes = run(make_store, work)
    assert len({row["id"] for row, _ in outcomes}) == 1
    assert sum(is_new for _, is_new in outcomes) == 1


def test_final_status_is_guarded_as_the_table_says(make_store: Make) -> None:
    async def outcome(store: Store, before: Status, wanted: Status) -> tuple[bool, str]:
        name = f"{before}-{wanted}"
        await store.write(lambda tx: create(tx, new(name)))
        if before is Status.RUNNING:
            await store.write(lambda tx: record_progress(tx, [Progress(id=name, actor="a", hop=0, attempt=1, state="running")], NOW))
        elif before in FINAL:
            await store.write(lambda tx: finish(tx, Finished(id=name, status=before), NOW))
        hit = await store.write(lambda tx: finish(tx, Finished(id=name, status=wanted), NOW))
        return hit is not None, (await store.read(lambda tx: row_of(tx, name)))["status"]

    async def work(store: Store) -> Any:
        return {(before, wanted): await outcome(store, before, wanted) for before in Status for wanted in sorted(FINAL)}

    for (before, wanted), found in run(make_store, work).items():
        expected = may_become(before, wanted)
        assert found == (expected, wanted if expected else before), (before, wanted)


@pytest.mark.behaviour("gateway:final:absorbs")
def test_one_of_many_final_reports_at_once_is_recorded(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new()))
        reports = [Finished(id="e1", status=status) for status in sorted(FINAL)] * 5
        outcomes = await asyncio.gather(*(store.write(lambda tx, each=each: record_final(tx, each, NOW)) for each in reports))
        return outcomes, await store.read(lambda tx: (row_of(tx), events_of(tx)))

    outcomes, (row, events) = run(make_store, work)
    assert sum(each.recorded for each in outcomes) == 1
    assert {each.status for each in outcomes} == {Status(row["status"])}
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert sum(event["kind"] == "final" for event in events) == 1


def test_event_numbers_have_no_gaps_and_the_percentage_never_falls(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new(route=["a", "b", "c", "d"])))
        hops = [(hop, state) for hop in (0, 2, 1, 3) for state in ("received", "running", "done")]
        await asyncio.gather(
            *(
                store.write(
                    lambda tx, hop=hop, state=state: record_progress(
                        tx, [Progress(id="e1", actor="a", hop=hop, attempt=1, state=state)], NOW
                    )
                )
                for hop, state in hops
            )
        )
        return await store.read(lambda tx: events_of(tx))

    events = run(make_store, work)
    assert [event["seq"] for event in events] == list(range(1, 14))
    numbers = [json.loads(event["data"])["progress"] for event in events[1:]]
    assert all(left <= right for left, right in pairwise(numbers))


def test_a_late_report_of_an_earlier_actor_does_not_move_the_envelope_back(make_store: Make) -> None:
    """Each sidecar sends its reports in batches of its own."""

    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new(route=["a", "b"])))
        for actor, hop, state in (("a", 0, "running"), ("b", 1, "running"), ("a", 0, "done")):
            report = Progress(id="e1", actor=actor, hop=hop, attempt=1, state=state)
            await store.write(lambda tx, report=report: record_progress(tx, [report], NOW))
        return await store.read(row_of)

    row = run(make_store, work)
    assert (row["actor"], row["hop"], row["progress"]) == ("b", 1, 50)


def test_progress_after_the_end_is_told_in_the_history_and_changes_nothing_else(make_store: Make) -> None:
    """Progress comes in batches, the end at once: without this the history of a quick envelope would have no actors."""

    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new(route=["start"])))
        await store.write(lambda tx: record_final(tx, Finished(id="e1", status=Status.SUCCEEDED, actor="happy-end"), NOW + 1))
        before = await store.read(row_of)
        late = [
            Progress(id="e1", actor="b", hop=1, attempt=1, state="done", route=["start", "b"], times={"running": NOW - 5, "done": NOW - 2}),
            Progress(id="e1", actor="start", hop=0, attempt=1, state="done", route=["start"]),
        ]
        changed = [await store.write(lambda tx, each=each: record_progress(tx, [each], NOW + 2)) for each in late]
        return before, changed, await store.read(lambda tx: (row_of(tx), events_of(tx)))

    before, changed, (row, events) = run(make_store, work)
    assert changed == [["e1"], ["e1"]]
    assert {**row, "seq": 0} == {**before, "seq": 0, "route": '["start","b"]', "hop": 1}
    assert row["seq"] == before["seq"] + 2
    assert [(each["seq"], each["kind"], each["actor"], each["hop"]) for each in events[2:]] == [
        (3, "progress", "b", 1),
        (4, "progress", "start", 0),
    ]
    assert json.loads(events[2]["data"]) == {
        "status": "succeeded",
        "state": "done",
        "progress": 100,
        "of": 2,
        "late": True,
        "times": {"running": NOW - 5, "done": NOW - 2},
    }


def test_progress_after_the_end_of_a_silent_tool_is_not_kept(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new()))
        await store.write(lambda tx: record_final(tx, Finished(id="e1", status=Status.SUCCEEDED), NOW))
        report = Progress(id="e1", actor="a", hop=0, attempt=1, state="done")
        await store.write(lambda tx: record_progress(tx, [report], NOW, silent={"t"}))
        return await store.read(events_of)

    assert [each["kind"] for each in run(make_store, work)] == ["status", "final"]


def test_cancelled_numbers_follow_commits(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        ids = [f"e{n}" for n in range(20)]
        for each in ids:
            await store.write(lambda tx, each=each: create(tx, new(each)))
        await asyncio.gather(
            *(store.write(lambda tx, each=each: finish(tx, Finished(id=each, status=Status.CANCELLED), NOW)) for each in ids)
        )
        return await store.read(lambda tx: tx.all("cancelled_since", cursor=5, limit=100))

    rows = run(make_store, work)
    assert [row["cancel_no"] for row in rows] == list(range(6, 21))


def test_unpublished_row_is_claimed_once_its_lease_is_over_and_by_one(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        for number in range(10):
            await store.write(lambda tx, number=number: create(tx, new(f"e{number}")))
        early = await store.write(lambda tx: tx.all("claim_unpublished", now=NOW + 29_999, lease_until=NOW + 60_000, limit=100))
        claims = await asyncio.gather(
            *(store.write(lambda tx: tx.all("claim_unpublished", now=NOW + 30_000, lease_until=NOW + 90_000, limit=4)) for _ in range(4))
        )
        return early, [row["id"] for rows in claims for row in rows]

    early, claimed = run(make_store, work)
    assert early == []
    assert sorted(claimed) == sorted(f"e{number}" for number in range(10))


def test_one_of_many_replays_at_once_is_the_first(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new()))

        def replay(tx: Tx, new_id: str, expected: str) -> bool:
            return bool(tx.all("claim_replay", id="e1", replayed_as=new_id, expected=expected))

        first = await asyncio.gather(*(store.write(lambda tx, n=n: replay(tx, f"n{n}", "")) for n in range(8)))  # type: ignore[misc]
        winner = (await store.read(row_of))["replayed_as"]
        again = [await store.write(lambda tx, last=last: replay(tx, "m", last)) for last in ("", "other", winner, winner)]  # type: ignore[misc]
        return first, winner, again

    first, winner, again = run(make_store, work)
    assert (sum(first), winner) == (1, f"n{first.index(True)}")
    assert again == [False, False, True, False]


def test_overdue_expires_and_others_do_not(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new("late", deadline_at=NOW - 10_000)))
        await store.write(lambda tx: create(tx, new("early")))
        ids = await store.write(lambda tx: expire(tx, NOW - 5_000, NOW, 100))
        return ids, await store.read(lambda tx: (row_of(tx, "late"), row_of(tx, "early")))

    ids, (late, early) = run(make_store, work)
    assert ids == ["late"]
    assert (late["status"], json.loads(late["error"])["code"], early["status"]) == ("expired", "deadline_exceeded", "pending")


def test_what_is_final_for_long_is_forgotten_failed_ones_later(make_store: Make) -> None:
    async def work(store: Store) -> Any:
        for envelope_id, status in (("ok", Status.SUCCEEDED), ("bad", Status.FAILED), ("open", None)):
            await store.write(lambda tx, envelope_id=envelope_id: create(tx, new(envelope_id)))
            if status is not None:
                await store.write(
                    lambda tx, envelope_id=envelope_id, status=status: finish(tx, Finished(id=envelope_id, status=status), NOW)
                )
        count = await store.write(lambda tx: forget(tx, final_before=NOW + 1, failed_before=NOW, limit=100))
        return count, await store.read(lambda tx: ([row_of(tx, each) is not None for each in ("ok", "bad", "open")], events_of(tx, "ok")))

    assert run(make_store, work) == (1, ([False, True, True], []))


def test_list_is_filtered_and_paged(make_store: Make) -> None:
    off = dict.fromkeys(("owner", "status", "tool", "flow", "actor", "parent", "code", "text", "since", "until", "before_at", "before_id"))

    async def work(store: Store) -> Any:
        for number in range(6):
            owner = "caller" if number % 2 else "stranger"
            await store.write(lambda tx, n=number, owner=owner: create(tx, new(f"e{n}", owner=owner, now=NOW + n // 2)))

        def listed(tx: Tx, **filters: Any) -> list[str]:
            return [row["id"] for row in tx.all("list_envelopes", **(off | {"limit": 10, "window": 10, "brief": 0} | filters))]

        return await store.read(
            lambda tx: (
                listed(tx),
                listed(tx, owner="caller"),
                listed(tx, since=NOW + 1, until=NOW + 2),
                listed(tx, before_at=NOW + 1, before_id="e3"),
                listed(tx, status="failed"),
            )
        )

    assert run(make_store, work) == (["e5", "e4", "e3", "e2", "e1", "e0"], ["e5", "e3", "e1"], ["e3", "e2"], ["e2", "e1", "e0"], [])


def test_text_is_found_in_id_actor_and_error_whatever_its_case_and_results_can_be_left_out(make_store: Make) -> None:
    filters = ("owner", "status", "tool", "flow", "actor", "parent", "code", "text", "since", "until", "before_at", "before_id")

    async def work(store: Store) -> Any:
        for envelope_id in ("e1", "e2", "e3", "e4_X"):
            await store.write(lambda tx, envelope_id=envelope_id: create(tx, new(envelope_id)))
        error = {"code": "handler_error", "message": "100% of Über failed"}
        await store.write(lambda tx: finish(tx, Finished(id="e1", status=Status.FAILED, actor="b", error=error), NOW))
        await store.write(lambda tx: finish(tx, Finished(id="e2", status=Status.SUCCEEDED, actor="Tokenize", result="[1]"), NOW))

        def listed(tx: Tx, text: str | None, *, window: int = 100, brief: int = 0) -> list[tuple[str, str | None]]:
            given = dict.fromkeys(filters) | {"limit": 10, "window": window, "brief": brief, "text": text}
            return [(row["id"], row["result"]) for row in tx.all("list_envelopes", **given)]

        return await store.read(
            lambda tx: [
                listed(tx, "%100\\% of%"),
                listed(tx, "%tokeni%"),
                listed(tx, "%e4\\_%"),
                listed(tx, "%e\\_%"),
                listed(tx, "%e%", window=2),
                listed(tx, "%tokeni%", brief=1)[0],
            ]
        )

    assert run(make_store, work) == [
        [("e1", None)],
        [("e2", "[1]")],
        [("e4_X", None)],
        [],
        [("e4_X", None), ("e3", None)],
        ("e2", None),
    ]


def test_hostile_text_is_data(make_store: Make) -> None:
    text = "'; DROP TABLE envelopes; -- \" :id %s %(id)s \U0001f600"

    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new(owner=text, message=text, tool=text)))
        return await store.read(lambda tx: row_of(tx))

    row = run(make_store, work)
    assert (row["owner"], row["tool"]) == (text, text)


# ------------------------------------------------------------------------------------------------------------------ fan-outs


def ended(
    envelope_id: str, fanout: tuple[int, ...] = (), *, result: str | None = "1", parent_id: str | None = None, **more: Any
) -> Finished:
    """A final report as the mesh sends it: its parent is the id before the last two parts."""
    told = parent_id or (envelope_id.rsplit(".", 2)[0] if fanout else None)
    fields: dict[str, Any] = {"status": Status.SUCCEEDED, "result": result} | more
    return Finished(id=envelope_id, parent_id=told, fanout=fanout, **fields)


def told(make_store: Make, *finals: Finished, before: Callable[[Tx], Any] = lambda tx: None) -> dict[str, Any]:
    """Rows by id after a call (e1), `before` and these reports: e1, the reported envelopes and all that they may have come from."""
    parts = [final.id.split(".") for final in finals]
    ids = {"e1"} | {".".join(each[:length]) for each in parts for length in range(1, len(each) + 1)}

    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new()))
        await store.write(before)
        for final in finals:
            await store.write(lambda tx, final=final: record_final(tx, final, NOW))
        return await store.read(lambda tx: [row_of(tx, each) for each in sorted(ids)])

    return {row["id"]: row for row in run(make_store, work) if row is not None}


def test_nested_fan_out_gives_its_parent_the_nested_results_in_order(make_store: Make) -> None:
    rows = told(
        make_store,
        *(ended(f"e1.0.1.1.{n}", (2, 3), result=f'"{n}"') for n in (2, 0, 1)),  # before anything was heard of e1.0.1 itself
        ended("e1.0.0", (2,), result="0"),
    )
    assert (rows["e1"]["status"], rows["e1"]["result"]) == ("succeeded", '[0,["0","1","2"]]')
    assert (rows["e1.0.1"]["parent_id"], rows["e1.0.1"]["children"]) == ("e1", 3)


def test_everything_that_came_of_a_call_belongs_to_its_caller_and_ends_with_it(make_store: Make) -> None:
    rows = told(make_store, ended("e1.0.1.1.0.2.0", (2, 2, 2)))
    assert set(rows) == {"e1", "e1.0.1", "e1.0.1.1.0", "e1.0.1.1.0.2.0"}
    assert {(row["owner"], row["tool"], row["deadline_at"]) for row in rows.values()} == {("caller", "t", NOW + 60_000)}


def test_second_fan_out_of_an_envelope_counts_its_own_children_only(make_store: Make) -> None:
    """Slices of a fan-in are shown under the envelope, which goes on; then a list replaces it."""
    slices = [ended(f"e1.0.{n}", parent_id="e1", result='"slice"') for n in range(3)]
    rows = told(make_store, *slices, *(ended(f"e1.4.{n}", (2,), result=str(n)) for n in range(2)))
    assert (rows["e1"]["status"], rows["e1"]["result"], rows["e1"]["children"]) == ("succeeded", "[0,1]", 2)


def test_slices_of_a_fan_in_do_not_end_the_envelope_that_goes_on(make_store: Make) -> None:
    rows = told(make_store, *(ended(f"e1.0.{n}", parent_id="e1") for n in range(3)))
    assert (rows["e1"]["status"], rows["e1"]["children"]) == ("pending", None)
    assert rows["e1.0.2"]["status"] == "succeeded"


def test_fan_out_of_a_slice_ends_the_slice_and_nothing_above_it(make_store: Make) -> None:
    rows = told(make_store, *(ended(f"e1.0.0.1.{n}", (2,)) for n in range(2)), before=lambda tx: record_final(tx, ended("e1.0.1"), NOW))
    assert (rows["e1.0.0"]["status"], rows["e1"]["status"]) == ("succeeded", "pending")


def test_child_that_was_given_up_counts_as_failed_and_once_when_its_end_is_told(make_store: Make) -> None:
    def give_up(tx: Tx) -> None:
        record_progress(tx, [Progress(id="e1.0.0", actor="a", hop=1, attempt=1, state="running", parent_id="e1")], NOW)
        finish(tx, Finished(id="e1.0.0", status=Status.CANCELLED), NOW)

    twice = ended("e1.0.0", (3,))
    rows = told(make_store, twice, twice, ended("e1.0.1", (3,)), before=give_up)
    assert (rows["e1"]["status"], rows["e1"]["children_done"], rows["e1"]["children_failed"]) == ("pending", 2, 1)


def test_failed_envelope_names_the_children_that_failed(make_store: Make) -> None:
    failed = [ended(f"e1.0.{n}", (12,), status=Status.FAILED, result=None) for n in (10, 9)]
    rows = told(make_store, *failed, *(ended(f"e1.0.{n}", (12,)) for n in range(12) if n not in (9, 10)))
    error = json.loads(rows["e1"]["error"])
    assert (rows["e1"]["status"], error["code"], error["children"]) == ("failed", "children_failed", ["e1.0.9", "e1.0.10"])


def test_children_of_another_count_do_not_end_their_parent(make_store: Make) -> None:
    """A handler that ran twice and gave lists of different lengths: the first count that was told stands."""
    rows = told(make_store, ended("e1.0.0", (3,)), ended("e1.0.1", (2,)), ended("e1.0.2", (2,)))
    assert (rows["e1"]["status"], rows["e1"]["children"], rows["e1"]["children_done"]) == ("pending", 3, 1)


def test_results_that_are_large_together_are_not_joined(make_store: Make) -> None:
    large = json.dumps("x" * 600_000)
    rows = told(make_store, *(ended(f"e1.0.{n}", (2,), result=large) for n in range(2)))
    assert (rows["e1"]["status"], rows["e1"]["result"], rows["e1"]["result_ref"]) == ("succeeded", None, '{"children":2}')


def test_part_that_is_kept_by_reference_makes_the_whole_one(make_store: Make) -> None:
    rows = told(make_store, ended("e1.0.0", (2,)), ended("e1.0.1", (2,), result=None, result_ref='{"key":"k"}'))
    assert (rows["e1"]["status"], rows["e1"]["result_ref"]) == ("succeeded", '{"children":2}')


def test_parents_from_elsewhere_are_made_without_inventing_theirs(make_store: Make) -> None:
    rows = told(make_store, ended("by-hand.7.1.0.0", (1,)))
    assert (rows["by-hand.7.1"]["status"], rows["by-hand.7.1"]["owner"]) == ("succeeded", "system")
    assert "by-hand" not in rows


def test_what_a_given_up_envelope_has_become_is_given_up_with_it(make_store: Make) -> None:
    def given_up(tx: Tx) -> list[str]:
        for envelope_id, parent_id in (("e1.0.0", "e1"), ("e1.0.1", "e1"), ("e1.0.1.1.0", "e1.0.1"), ("other.0.0", "other")):
            record_progress(tx, [Progress(id=envelope_id, actor="a", hop=1, attempt=1, state="running", parent_id=parent_id)], NOW)
        record_final(tx, ended("e1.0.0", (2,)), NOW)
        first = sorted(give_up(tx, "e1", {"code": "cancelled"}, NOW))
        assert give_up(tx, "e1", {"code": "cancelled"}, NOW) == {}
        told_to_sidecars = [row["id"] for row in tx.all("cancelled_since", cursor=0, limit=10)]
        assert sorted(told_to_sidecars) == first
        return first

    async def work(store: Store) -> Any:
        await store.write(lambda tx: create(tx, new()))
        return await store.write(given_up)

    assert run(make_store, work) == ["e1", "e1.0.1", "e1.0.1.1.0"]
