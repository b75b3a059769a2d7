"""Hops of an envelope, from the sidecars' delivery lines: one line each, or the table of ``--trace``. Pure.

Called by `one_shot` and `serve`. Knows no process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

__all__ = ["Hop", "hop_line", "hop_of", "in_order", "trace_table"]

_PRECISION_SECONDS: Final = 0.0011


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One delivery that an actor settled.

    Attributes:
        actor: which one.
        envelope_id: of which envelope.
        attempt: 1 for the first.
        outcome: ``ok``, ``ended``, ``error``, ``retry``, ``requeue`` or ``dropped``.
        code: of the error, or None.
        next: actors that it was sent to.
        handler_ms: the handler's time, or None if it did not run.
        total_ms: from receipt to acknowledgement.
        wait_ms: from receipt to the call, or None.
        at: when it was settled, seconds of the wall clock.
    """

    actor: str
    envelope_id: str
    attempt: int
    outcome: str
    code: str | None
    next: tuple[str, ...]
    handler_ms: float | None
    total_ms: float
    wait_ms: float | None
    at: float

    def as_json(self) -> dict[str, Any]:
        """What ``--output json`` prints of it."""
        return {
            "actor": self.actor,
            "envelope_id": self.envelope_id,
            "attempt": self.attempt,
            "outcome": self.outcome,
            "code": self.code,
            "next": list(self.next),
            "handler_ms": self.handler_ms,
            "total_ms": self.total_ms,
        }


def hop_of(line: Mapping[str, Any]) -> Hop:
    """The hop that a delivery line of a sidecar tells. Raises KeyError, ValueError for another line."""
    return Hop(
        actor=line["actor"],
        envelope_id=line["envelope_id"],
        attempt=line["attempt"],
        outcome=line["outcome"],
        code=line.get("code"),
        next=tuple(line.get("next") or ()),
        handler_ms=line.get("handler_ms"),
        total_ms=line["total_ms"],
        wait_ms=line.get("wait_ms"),
        at=datetime.fromisoformat(line["ts"]).timestamp(),
    )


def hop_line(hop: Hop) -> str:
    """One hop in words."""
    handler = "" if hop.handler_ms is None else f"handler {hop.handler_ms:.1f} ms, "
    attempt = f" (attempt {hop.attempt})" if hop.attempt > 1 else ""
    return f"{hop.actor}{attempt} {_outcome(hop)}  {handler}hop {hop.total_ms:.1f} ms"


def in_order(hops: Sequence[Hop]) -> list[Hop]:
    """Hops by the time at which they began; within the lines' precision, a hop stands before those that it sent to.

    A line tells its end in whole milliseconds and its length in tenths, so two beginnings closer than that may be told the wrong way round.
    """
    ordered: list[Hop] = []
    for hop in sorted(hops, key=lambda hop: (_begun(hop), hop.at)):
        place = next((index for index, other in enumerate(ordered) if _is_sent_by(other, hop)), len(ordered))
        ordered.insert(place, hop)
    return ordered


def _begun(hop: Hop) -> float:
    return hop.at - hop.total_ms / 1000


def _is_sent_by(later: Hop, hop: Hop) -> bool:
    is_near = _begun(hop) - _begun(later) <= _PRECISION_SECONDS
    return is_near and later.envelope_id == hop.envelope_id and later.actor in hop.next and hop.actor not in later.next


def trace_table(hops: Sequence[Hop], *, started_at: float) -> list[str]:
    """The lines of ``--trace``. QUEUE is the time from the end of the hop before, or from the start, to the call of the handler."""
    rows = [("HOP", "ACTOR", "ATTEMPT", "QUEUE", "HANDLER", "OUTCOME")]
    before = started_at
    ordered = in_order(hops)
    for number, hop in enumerate(ordered):
        begun = _begun(hop)
        queue = max(0.0, (begun - before) * 1000) + (hop.wait_ms or 0.0)
        handler = "–" if hop.handler_ms is None else f"{hop.handler_ms:.1f} ms"
        rows.append((str(number), hop.actor, str(hop.attempt), f"{queue:.1f} ms", handler, _outcome(hop)))
        before = hop.at
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"{row[0]:>{widths[0]}}  " + "  ".join(cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True)) for row in rows
    ]
    total = (max((hop.at for hop in ordered), default=started_at) - started_at) * 1000
    return [line.rstrip() for line in lines] + [f"total {max(0.0, total):.1f} ms in {len(ordered)} hops"]


def _outcome(hop: Hop) -> str:
    target = f" → {', '.join(hop.next)}" if hop.next else ""
    match hop.outcome:
        case "ok" | "ended":
            return target.strip() or hop.outcome
        case "error":
            return f"{hop.code or 'error'}{target}"
        case outcome:
            return outcome
