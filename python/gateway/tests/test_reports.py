"""Progress of several sidecars in one transaction: to each what it would have been told alone, over both stores."""

import asyncio
from collections.abc import Callable
from typing import Any

from asya_gateway.status import Status
from asya_gateway.store.base import Store, Tx
from asya_gateway.store.envelopes import Finished, NewEnvelope, Progress, create_all, finish
from asya_gateway.store.reports import Reports, Taken, take

NOW = 1_700_000_000_000
Make = Callable[[], Store]


def new(envelope_id: str, tool: str = "t") -> NewEnvelope:
    return NewEnvelope(
        id=envelope_id, tool=tool, flow=None, owner="o", route=["a", "b"], message="{}", now=NOW, lease_until=NOW, deadline_at=NOW + 60_000
    )


def report(envelope_id: str, hop: int = 0, state: str = "running") -> Progress:
    return Progress(id=envelope_id, actor="ab"[hop], hop=hop, attempt=1, state=state)


def told(make_store: Make, work: Callable[[Tx], Any]) -> Any:
    async def main() -> Any:
        store = make_store()
        await store.open()
        try:
            return await asyncio.wait_for(store.write(work), 30)
        finally:
            await store.close()

    return asyncio.run(main())


def test_each_sidecar_hears_of_its_own_envelopes_and_of_what_it_does_not_know_as_cancelled(make_store: Make) -> None:
    def work(tx: Tx) -> list[Taken]:
        create_all(tx, [new("e1"), new("e2"), new("quiet", tool="silent"), new("c1"), new("c2")])
        for each in ("c1", "c2"):
            finish(tx, Finished(id=each, status=Status.CANCELLED), NOW)
        asked = [
            Reports(progress=[report("e2"), report("e1")], cursor=0, now=NOW),
            Reports(progress=[report("quiet")], cursor=1, now=NOW + 1),
            Reports(progress=[], cursor=2, now=NOW),
            Reports(progress=[report("e1", state="done"), report("unheard")], cursor=None, now=NOW),
        ]
        return take(tx, asked, {"silent"})

    first, second, third, fourth = told(make_store, work)
    assert first == Taken(changed=("e2", "e1"), cancelled=("c1", "c2"), cursor=2)
    assert second == Taken(changed=(), cancelled=("c2",), cursor=2)
    assert third == Taken(changed=(), cancelled=(), cursor=2)
    assert fourth == Taken(changed=("e1", "unheard"), cancelled=("c1", "c2"), cursor=2)


def test_reports_of_one_envelope_keep_their_order_over_sidecars(make_store: Make) -> None:
    def work(tx: Tx) -> Any:
        create_all(tx, [new("e1")])
        asked = [
            Reports(progress=[report("e1"), report("e1", state="done")], cursor=0, now=NOW),
            Reports(progress=[report("e1", hop=1), report("e1", hop=1, state="done")], cursor=0, now=NOW),
        ]
        take(tx, asked, ())
        events = tx.all("read_events", id="e1", after=0, limit=10)
        row = tx.one("find_envelope", id="e1")
        assert row is not None
        return [(event["seq"], event["kind"], event["actor"]) for event in events], (row["actor"], row["seq"], row["status"])

    events, row = told(make_store, work)
    assert events == [(1, "status", None), (2, "progress", "a"), (3, "progress", "a"), (4, "progress", "b"), (5, "progress", "b")]
    assert row == ("b", 5, "running")
