"""What is done to envelopes in one transaction: create, move on, finish, cancel, expire, publish, forget.

Called by `service`, `publisher` and `sweeper` as units of work of a `Store`. Each change of an envelope takes its next event number in the
same transaction, so that numbers have no gaps and follow commits.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from asya_gateway.progress import percent
from asya_gateway.status import FINAL, Status, final_status
from asya_gateway.store.base import Row, Tx

__all__ = [
    "SYSTEM",
    "Finished",
    "NewEnvelope",
    "Outcome",
    "Progress",
    "create",
    "create_all",
    "expire",
    "finish",
    "forget",
    "give_up",
    "record_final",
    "record_progress",
]

SYSTEM: Final = "system"
"""Owner of envelopes that no caller made: published by hand, heard of by a report."""
_SYSTEM_DEADLINE_MS: Final = 86_400_000
_CHILD: Final = re.compile(r"(.+)\.(\d+)\.(\d+)")
_MAX_LEVELS: Final = 100
"""Nested fan-outs that one final report may close."""
_MAX_FAILED_TOLD: Final = 20
_MAX_GIVEN_UP: Final = 1_000
_MAX_JOINED_RESULT: Final = 1_048_576
"""Characters of children's results that are joined to their parent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEnvelope:
    """An accepted call, before it is a row. Times in milliseconds since 1970; JSON as text."""

    id: str
    tool: str | None
    flow: str | None
    owner: str
    route: Sequence[str]
    message: str
    now: int
    lease_until: int
    deadline_at: int
    idempotency_key: str | None = None
    request_hash: str | None = None
    replay_of: str | None = None
    hop: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One progress report of a sidecar.

    Attributes:
        times: milliseconds since 1970, by the sidecar's clock, at which this attempt came into each state that is known of.
    """

    id: str
    actor: str
    hop: int
    attempt: int
    state: str
    route: Sequence[str] | None = None
    parent_id: str | None = None
    times: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A final status and what comes with it. JSON as text."""

    id: str
    status: Status
    actor: str | None = None
    attempt: int | None = None
    result: str | None = None
    result_ref: str | None = None
    error: dict[str, Any] | None = None
    parent_id: str | None = None
    fanout: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a final report.

    Attributes:
        recorded: whether it was the one that counts.
        status: the status that stands.
        changed: envelopes with new events, parents included.
        finished: (status, seconds since creation, tool) of each envelope that became final by it.
    """

    recorded: bool
    status: Status
    changed: tuple[str, ...]
    finished: tuple[tuple[Status, float, str | None], ...] = ()


def create(tx: Tx, new: NewEnvelope) -> tuple[Row, bool]:
    """The row of `new`, and whether it is new; else the row that has its idempotency key."""
    inserted = tx.one(
        "insert_envelope",
        id=new.id,
        parent_id=None,
        tool=new.tool,
        flow=new.flow,
        owner=new.owner,
        route=_json(list(new.route)),
        hop=new.hop,
        message=new.message,
        published_at=None,
        next_publish_at=new.lease_until,
        replay_of=new.replay_of,
        idempotency_key=new.idempotency_key,
        request_hash=new.request_hash,
        now=new.now,
        deadline_at=new.deadline_at,
    )
    if inserted is None:
        row = tx.one("find_by_key", owner=new.owner, tool=new.tool, idempotency_key=new.idempotency_key)
        assert row is not None, "an id of 80 random bits was given twice"
        return row, False
    _event(tx, new.id, 1, new.now, "status", data={"status": Status.PENDING})
    if new.replay_of is not None:
        tx.all("mark_replayed", id=new.replay_of, replayed_as=new.id)
    return {**inserted, "message": new.message}, True


def create_all(tx: Tx, calls: Sequence[NewEnvelope]) -> list[Row]:
    """The rows of `calls`, in their order: one statement for all rows, one for all first events.

    None of them has an idempotency key or replays another; so no row of another transaction is waited for, and all are new.
    """
    rows: list[Row] = [_row_of(new) for new in calls]
    told = ("id", "tool", "flow", "owner", "route", "message", "created_at", "deadline_at")
    tx.many(
        "insert_calls",
        [{name: row[name] for name in told} | {"next_publish_at": new.lease_until} for row, new in zip(rows, calls, strict=True)],
    )
    data = {"status": Status.PENDING}
    tx.many("insert_events", [_event_row(new.id, 1, new.now, "status", None, None, None, data) for new in calls])
    return rows


def record_progress(tx: Tx, reports: Iterable[Progress], now: int, silent: Collection[str] = ()) -> list[str]:
    """Take progress reports in order; gives the ids that changed. Reports of `silent` tools change nothing.

    Sidecars send progress in batches, end actors their reports at once: what a quick envelope's actors say comes after its end. It is kept
    as an event for the history, marked ``late``; the envelope stays as it is.
    """
    # In one order everywhere, so that two replicas never wait for one another's rows; reports of one envelope keep theirs.
    batch = sorted(reports, key=lambda each: each.id)
    known = {row["id"]: row for row in tx.all("find_states", ids=list(dict.fromkeys(each.id for each in batch)))}
    changed: dict[str, None] = {}
    moves: list[tuple[Progress, int, dict[str, Any]]] = []
    late: list[Progress] = []
    for report in batch:
        row = known.get(report.id)
        if row is None:
            row = known[report.id] = _heard_of(tx, report.id, report.parent_id, list(report.route or ()), now)
        if row["tool"] in silent:
            continue
        changed[report.id] = None
        if Status(row["status"]) in FINAL:
            late.append(report)
            continue
        if report.parent_id and not row["parent_id"]:
            tx.all("adopt", id=report.id, parent_id=report.parent_id)
        route = list(report.route) if report.route else json.loads(row["route"])
        done = percent(hop=report.hop, state=report.state, route_length=len(route))
        told = _json(route) if report.route else None
        place = {"id": report.id, "actor": report.actor, "hop": report.hop, "route": told, "progress": done, "now": now}
        moves.append((report, len(route), place))
    events = []
    for (report, length, _), moved in zip(moves, tx.each("move_on", [place for _, _, place in moves]), strict=True):
        if moved is None:  # final since the look above: another replica
            late.append(report)
            continue
        data = {"status": Status.RUNNING, "state": report.state, "progress": moved["progress"], "of": length, **_times(report)}
        events.append(_event_row(report.id, moved["seq"], now, "progress", report.actor, report.hop, report.attempt, data))
    late.sort(key=lambda each: each.id)  # those that ended since the look came last
    tx.many("insert_events", events + _late_progress(tx, late, now))
    return list(changed)


def record_final(tx: Tx, final: Finished, now: int) -> Outcome:
    """Take a final report: finish its envelope, and each parent whose last child it was. The first report of an envelope stands."""
    changed: list[str] = []
    ended: list[tuple[Status, float, str | None]] = []
    row = tx.one("find_states", ids=[final.id])
    if row is None:
        row = _heard_of(tx, final.id, final.parent_id, [], now)
    elif final.parent_id and not row["parent_id"]:
        tx.all("adopt", id=final.id, parent_id=final.parent_id)
    done = finish(tx, final, now)
    if done is None:
        late = tx.one("late", id=final.id)
        assert late is not None
        _event(tx, final.id, late["seq"], now, "late", final.actor, None, final.attempt, {"status": final.status})
        status = Status(late["status"])
        # Ended here before its actors told of it (cancelled, expired): it still counts at its parent, once.
        counts = bool(final.fanout) and tx.one("count_late", id=final.id, siblings=final.fanout[-1]) is not None
    else:
        status, counts = final.status, bool(final.fanout)
        ended.append((status, (now - done["created_at"]) / 1000, done["tool"]))
    changed.append(final.id)
    if counts:
        _count_upwards(tx, replace(final, status=status, parent_id=final.parent_id or row["parent_id"]), now, changed, ended)
    return Outcome(recorded=done is not None, status=status, changed=tuple(changed), finished=tuple(ended))


def finish(tx: Tx, final: Finished, now: int) -> Row | None:
    """Give an envelope its final status and event; None if it has one, or is not there."""
    error = final.error
    cancel_number = None
    if final.status in (Status.CANCELLED, Status.EXPIRED):
        counted = tx.one("next_cancel_number")
        cancel_number = counted["value"] if counted else None
    row = tx.one(
        "finish",
        id=final.id,
        status=final.status.value,
        done=final.status is Status.SUCCEEDED,
        actor=final.actor,
        result=final.result,
        result_ref=final.result_ref,
        error=None if error is None else _json(error),
        error_code=None if error is None else error.get("code"),
        cancel_no=cancel_number,
        siblings=final.fanout[-1] if final.fanout else None,
        now=now,
    )
    if row is None:
        return None
    _event(tx, final.id, row["seq"], now, "final", final.actor, None, final.attempt, {"status": final.status})
    return row


def give_up(tx: Tx, envelope_id: str, error: dict[str, Any], now: int) -> dict[str, Row]:
    """Cancel an envelope and, level by level, its parts that are open and known, at most 1,000; gives what became final, by id.

    Nothing if it had ended already: then its parts are of no account.
    """
    ended: dict[str, Row] = {}
    level = [envelope_id]
    while level:
        for each in level:
            done = finish(tx, Finished(id=each, status=Status.CANCELLED, error=error), now)
            if done is not None:
                ended[each] = done
        room = _MAX_GIVEN_UP - len(ended)
        level = [row["id"] for row in tx.all("open_parts", ids=level, limit=room)] if ended and room > 0 else []
    return ended


def expire(tx: Tx, before: int, now: int, limit: int) -> list[str]:
    """Finish envelopes whose deadline was before `before`; gives their ids."""
    error: dict[str, Any] = {
        "code": "deadline_exceeded",
        "type": None,
        "mro": [],
        "message": "The deadline passed before the envelope ended",
    }
    ids = [row["id"] for row in tx.all("overdue", before=before, limit=limit)]
    return [each for each in ids if finish(tx, Finished(id=each, status=Status.EXPIRED, error=error), now) is not None]


def forget(tx: Tx, *, final_before: int, failed_before: int, limit: int) -> int:
    """Delete what is final for long; gives how many."""
    ids = [row["id"] for row in tx.all("forgettable", final_before=final_before, failed_before=failed_before, limit=limit)]
    if ids:
        tx.all("forget_events", ids=ids)
        tx.all("forget_envelopes", ids=ids)
    return len(ids)


# ------------------------------------------------------------------------------------------------------------------- inside


def _heard_of(tx: Tx, envelope_id: str, parent_id: str | None, route: list[str], now: int) -> dict[str, Any]:
    """Make the row of an envelope that nobody called for here; a child belongs to its parent's owner."""
    parent = _parent_of(tx, parent_id, now) if parent_id else None
    inserted = tx.one(
        "insert_envelope",
        id=envelope_id,
        parent_id=parent_id,
        tool=parent["tool"] if parent else None,
        flow=parent["flow"] if parent else None,
        owner=parent["owner"] if parent else SYSTEM,
        route=_json(route),
        hop=0,
        message=None,
        published_at=now,
        next_publish_at=None,
        replay_of=None,
        idempotency_key=None,
        request_hash=None,
        now=now,
        deadline_at=parent["deadline_at"] if parent else now + _SYSTEM_DEADLINE_MS,
    )
    if inserted is None:  # another replica heard of it a moment ago
        return dict(tx.all("find_states", ids=[envelope_id])[0])
    _event(tx, envelope_id, 1, now, "status", data={"status": Status.PENDING})
    return dict(inserted)


def _row_of(new: NewEnvelope) -> dict[str, Any]:
    """What ``insert_envelope`` gives for a call, and its message."""
    return {
        "id": new.id,
        "parent_id": None,
        "tool": new.tool,
        "flow": new.flow,
        "owner": new.owner,
        "status": Status.PENDING.value,
        "actor": None,
        "hop": 0,
        "route": _json(list(new.route)),
        "progress": 0,
        "seq": 1,
        "message": new.message,
        "published_at": None,
        "publish_attempts": 0,
        "result": None,
        "result_ref": None,
        "error": None,
        "children": None,
        "children_done": 0,
        "children_failed": 0,
        "replay_of": None,
        "replayed_as": None,
        "request_hash": None,
        "created_at": new.now,
        "updated_at": new.now,
        "deadline_at": new.deadline_at,
        "finished_at": None,
    }


def _late_progress(tx: Tx, reports: Sequence[Progress], now: int) -> list[dict[str, Any]]:
    """Events that tell the history what actors did before the end, or in spite of it."""
    places = [{"id": each.id, "hop": each.hop, "route": _json(list(each.route)) if each.route else None} for each in reports]
    events = []
    for report, late in zip(reports, tx.each("late_progress", places), strict=True):
        if late is None:
            continue  # forgotten in between
        length = len(report.route or json.loads(late["route"]))
        data = {"status": late["status"], "state": report.state, "progress": late["progress"], "of": length, "late": True, **_times(report)}
        events.append(_event_row(report.id, late["seq"], now, "progress", report.actor, report.hop, report.attempt, data))
    return events


def _times(report: Progress) -> dict[str, Any]:
    return {"times": dict(report.times)} if report.times else {}


def _parent_of(tx: Tx, parent_id: str, now: int) -> Row | None:
    """The row of a parent. One that fanned out itself before anybody told of it is made, if an envelope it came from is known."""
    ids = [parent_id]
    while len(ids) < _MAX_LEVELS and (match := _CHILD.fullmatch(ids[-1])) is not None:
        ids.append(match[1])
    known = {row["id"]: row for row in tx.all("find_states", ids=ids)}
    nearest = next((place for place, each in enumerate(ids) if each in known), None)
    if nearest is None:
        return None
    for place in range(nearest - 1, -1, -1):
        known[ids[place]] = _heard_of(tx, ids[place], ids[place + 1], [], now)
    return known[parent_id]


def _count_upwards(tx: Tx, child: Finished, now: int, changed: list[str], ended: list[tuple[Status, float, str | None]]) -> None:
    """Count a final child at its parent, and go on upwards while parents become final by it.

    Only a child that a list made in place of its parent counts: it has the sibling count as the last entry of `fanout`.
    """
    for _ in range(_MAX_LEVELS):
        match = _CHILD.fullmatch(child.id)
        parent_id = child.parent_id or (match[1] if match else None)
        if parent_id is None or not child.fanout or (match is not None and match[1] == parent_id and int(match[3]) >= child.fanout[-1]):
            return
        siblings = child.fanout[-1]
        parent = _parent_of(tx, parent_id, now) or _heard_of(tx, parent_id, None, [], now)
        failed = 0 if child.status is Status.SUCCEEDED else 1
        counted = tx.one("count_child", id=parent_id, children=siblings, failed=failed, now=now)
        if counted is None or counted["children_done"] < siblings or Status(counted["status"]) in FINAL:
            return
        child = _of_children(tx, parent, child.fanout, counted["children_failed"])
        done = finish(tx, child, now)
        if done is None:
            return
        changed.append(parent_id)
        ended.append((child.status, (now - done["created_at"]) / 1000, done["tool"]))


def _of_children(tx: Tx, parent: Row, fanout: tuple[int, ...], failed: int) -> Finished:
    """What becomes of a parent whose `fanout[-1]` children are final: nobody else's, such as slices of a fan-in that were before, count."""
    count = fanout[-1]
    final = Finished(id=parent["id"], status=Status.SUCCEEDED, parent_id=parent["parent_id"], fanout=fanout[:-1])
    if failed:
        ids = [row["id"] for row in tx.all("failed_children", id=parent["id"], siblings=count, limit=_MAX_FAILED_TOLD)]
        error: dict[str, Any] = {
            "code": "children_failed",
            "type": None,
            "mro": [],
            "message": f"{failed} of {count} parts of the envelope failed",
            "children": sorted(ids, key=_number_of),
        }
        return replace(final, status=Status.FAILED, error=error)
    sizes = tx.one("child_sizes", id=parent["id"], siblings=count)
    if sizes is None or sizes["known"] != count or sizes["length"] > _MAX_JOINED_RESULT:  # too large to be kept here, in part or together
        return replace(final, result_ref=_json({"children": count}))
    children = sorted(tx.all("child_results", id=parent["id"], siblings=count), key=lambda row: _number_of(row["id"]))
    return replace(final, result="[" + ",".join(row["result"] for row in children) + "]")


def _number_of(child_id: str) -> tuple[int, str]:
    last = child_id.rpartition(".")[2]
    return (int(last) if last.isdigit() else 0, child_id)


def reported(status: str, error: dict[str, Any] | None) -> Status:
    """The status that a final report means."""
    return final_status(status, None if error is None else error.get("code"))


def _event(
    tx: Tx,
    envelope_id: str,
    seq: int,
    at: int,
    kind: str,
    actor: str | None = None,
    hop: int | None = None,
    attempt: int | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    tx.all("insert_event", **_event_row(envelope_id, seq, at, kind, actor, hop, attempt, data))


def _event_row(
    envelope_id: str,
    seq: int,
    at: int,
    kind: str,
    actor: str | None,
    hop: int | None,
    attempt: int | None,
    data: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "envelope_id": envelope_id,
        "seq": seq,
        "at": at,
        "kind": kind,
        "actor": actor,
        "hop": hop,
        "attempt": attempt,
        "data": None if data is None else _json(data),
    }


_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Made once: `json.dumps` makes an encoder per text, which costs more than a small text does."""
