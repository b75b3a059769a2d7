"""Deliveries whose receipt was lost, kept in case their messages come again: a blink of the broker does not cost a five-minute run.

Called by `decide`. Only finds and counts them; what becomes of one is decided there.
"""

from typing import Final

from asya_core.wire.reply import EnvelopesReply, ErrorReply, Reply
from asya_sidecar.delivery import Delivery

__all__ = ["ORPHAN_SECONDS", "Orphans"]

ORPHAN_SECONDS: Final = 60.0
"""How long an orphan is kept after its run."""
_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Orphans:
    """The orphans of one sidecar process, found by the bytes of their messages."""

    __slots__ = ("_by_body", "_weights")

    def __init__(self) -> None:
        self._by_body: dict[bytes, list[Delivery]] = {}
        self._weights: dict[Delivery, int] = {}

    def add(self, delivery: Delivery) -> None:
        """Keep `delivery`."""
        self._by_body.setdefault(delivery.body, []).append(delivery)

    def remove(self, delivery: Delivery) -> None:
        """Keep it no longer."""
        same = self._by_body[delivery.body]
        same.remove(delivery)
        if not same:
            del self._by_body[delivery.body]
        self._weights.pop(delivery, None)

    def find(self, body: bytes) -> Delivery | None:
        """The oldest orphan whose message has exactly these bytes."""
        same = self._by_body.get(body)
        return same[0] if same else None

    def run_ended(self, delivery: Delivery) -> list[Delivery]:
        """Count the memory of an orphan that has no run (any more); gives those that are to be forgotten for it, oldest first."""
        self._weights[delivery] = _weight(delivery)
        excess = sum(self._weights.values()) - _LIMIT_BYTES
        surplus = []
        for orphan, weight in self._weights.items():
            if excess <= 0:
                break
            surplus.append(orphan)
            excess -= weight
        return surplus

    def idle(self) -> list[Delivery]:
        """Those that have no run."""
        return list(self._weights)


def _weight(delivery: Delivery) -> int:
    held = 0 if delivery.held is None else _reply_bytes(delivery.held)
    return len(delivery.body) + held + sum(len(output.draft.body) for output in delivery.outputs)


def _reply_bytes(reply: Reply) -> int:
    if isinstance(reply, ErrorReply):
        return len(reply.message) + len(reply.traceback or "")
    if isinstance(reply, EnvelopesReply):
        return sum(len(head) + len(payload) for head, payload in reply.items)
    return sum(map(len, reply.items))
