"""What this transport has taken from its queue and not settled. Pure.

Called by the consumer. Times are readings of one monotonic clock, in seconds.
"""

from dataclasses import dataclass
from typing import Final

from asya_core.transports.base import Receipt
from asya_core.transports.sqs.settings import MAX_VISIBILITY_SECONDS

__all__ = ["Held", "Holdings"]


@dataclass(slots=True, kw_only=True)
class Held:
    """One message.

    Attributes:
        queue: where it is from.
        handle: SQS's receipt handle.
        body: the bytes.
        attempt: 1 for the first.
        origin: the queue that gave it up.
        received_at: when it was received; twelve hours later SQS takes it back.
        visible_at: when it is handed to another unless it is renewed.
        is_renewing: a renewal is under way.
    """

    queue: str
    handle: str
    body: bytes
    attempt: int
    origin: str | None
    received_at: float
    visible_at: float
    is_renewing: bool = False

    def seconds_left(self, now: float) -> float:
        """Until SQS takes it back for good."""
        return self.received_at + MAX_VISIBILITY_SECONDS - now


class Holdings:
    """Messages by receipt.

    Args:
        visibility_seconds: of each.
    """

    def __init__(self, visibility_seconds: int) -> None:
        self._visibility: Final = visibility_seconds
        self._held: dict[Receipt, Held] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: Held) -> Receipt:
        """A receipt for it."""
        self._number += 1
        receipt = Receipt(f"sqs-{self._number}")
        self._held[receipt] = held
        return receipt

    def take(self, receipt: Receipt) -> Held | None:
        """The message, which is held no more; None for a receipt that is not known or dead."""
        return self._held.pop(receipt, None)

    def get(self, receipt: Receipt) -> Held | None:
        """The message, still held."""
        return self._held.get(receipt)

    def take_all(self) -> list[Held]:
        """Everything; all receipts are dead."""
        everything = list(self._held.values())
        self._held.clear()
        return everything

    def due(self, now: float) -> list[tuple[Receipt, Held]]:
        """Messages whose renewal is due: a third of the time is over, and none is under way."""
        latest = now + self._visibility * 2 / 3
        return [(receipt, held) for receipt, held in self._held.items() if held.visible_at <= latest and not held.is_renewing]

    def expired(self, now: float) -> list[Receipt]:
        """Receipts of messages that may have been handed to another."""
        return [receipt for receipt, held in self._held.items() if held.visible_at <= now]
