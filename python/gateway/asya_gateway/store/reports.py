"""Progress of several sidecars, taken in one transaction. A unit of work of `service`'s gathering; knows no database."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from asya_gateway.store.base import Row, Tx
from asya_gateway.store.envelopes import Progress, record_progress

__all__ = ["Reports", "Taken", "take"]

_MAX_CANCELLED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What one sidecar sent.

    Attributes:
        progress: in its order.
        cursor: up to where it knows of cancelled envelopes; None: it knows of none.
        now: when it came, milliseconds since 1970.
    """

    progress: Sequence[Progress]
    cursor: int | None
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What it is told.

    Attributes:
        changed: ids of its envelopes that have new events.
        cancelled: ids that were cancelled since its cursor, at most 1,000.
        cursor: the next one.
    """

    changed: tuple[str, ...]
    cancelled: tuple[str, ...]
    cursor: int


def take(tx: Tx, asked: Sequence[Reports], silent: Collection[str]) -> list[Taken]:
    """Record the progress of all of `asked`, as if it had come in one batch. Reports of `silent` tools change nothing."""
    changed = set(record_progress(tx, [each for one in asked for each in one.progress], max(one.now for one in asked), silent))
    counted = tx.one("cancel_number")
    assert counted is not None
    newest: int = counted["value"]
    known: dict[int, list[Row]] = {}
    taken = []
    for one in asked:
        since = max(0, newest - _MAX_CANCELLED) if one.cursor is None else one.cursor
        if since not in known:
            known[since] = tx.all("cancelled_since", cursor=since, limit=_MAX_CANCELLED) if newest > since else []
        cancelled = known[since]
        taken.append(
            Taken(
                changed=tuple(dict.fromkeys(each.id for each in one.progress if each.id in changed)),
                cancelled=tuple(row["id"] for row in cancelled),
                cursor=cancelled[-1]["cancel_no"] if len(cancelled) == _MAX_CANCELLED else newest,
            )
        )
    return taken
