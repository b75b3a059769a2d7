"""A decider at rest, and the few words that tests tell it."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from asya_core.transports.base import PublishOutcome, Receipt
from asya_core.wire.reply import ErrorReply, PayloadsReply, Reply
from asya_sidecar import effects as fx
from asya_sidecar.decide import Decider, Moment, Policy

E = TypeVar("E")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Bench:
    """One decider, a clock, and what it said last."""

    def __init__(self, *, concurrency: int = 1, ready: bool = True, connected: bool = True, **policy: Any) -> None:
        policy.setdefault("actor", "a")
        self.decider = Decider(Policy(namespace="n", **policy), Random(1))
        self.now = 0.0
        self.receipts = 0
        self.said: list[fx.Effect] = []
        if connected:
            self.take(fx.ConsumeLinkChanged(True))
            self.take(fx.PublishLinkChanged(True))
        if ready:
            self.take(fx.RuntimeReady(concurrency))

    def take(self, event: fx.Event, *, after: float = 0.0) -> list[fx.Effect]:
        self.now += after
        self.said = self.decider.handle(event, Moment(self.now, NOON + timedelta(seconds=self.now)))
        return self.said

    def arrive(self, body: bytes | None = None, *, attempt: int = 1, origin: str | None = None, **members: Any) -> Receipt:
        self.receipts += 1
        receipt = Receipt(f"r{self.receipts}")
        self.take(fx.MessageArrived(receipt, message(**members) if body is None else body, attempt, origin))
        return receipt

    def reply(self, call: int, reply: Reply, *, after: float = 0.1) -> list[fx.Effect]:
        return self.take(fx.Replied(call, reply), after=after)

    def ended(self, token: int, outcome: PublishOutcome = PublishOutcome.CONFIRMED) -> list[fx.Effect]:
        return self.take(fx.PublishEnded(token, outcome))

    def fire(self, kind: fx.TimerKind, delivery: int = 0, *, after: float = 0.0) -> list[fx.Effect]:
        return self.take(fx.TimerFired(kind, delivery), after=after)

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.said if isinstance(effect, kind)]

    def one(self, kind: type[E]) -> E:
        (effect,) = self.all(kind)
        return effect

    def has(self, kind: type[Any]) -> bool:
        return bool(self.all(kind))

    def error(self) -> Any:
        """The error in the one publish that was said."""
        return json.loads(self.one(fx.Publish).body)["error"]

    def record(self) -> fx.DeliveryRecord:
        return self.one(fx.LogDelivery).record


def message(**members: Any) -> bytes:
    envelope = {"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "payload": {"x": 1}, **members}
    return json.dumps({key: value for key, value in envelope.items() if value is not ...}, separators=(",", ":")).encode()


def one(payload: bytes = b'{"x":2}') -> PayloadsReply:
    return PayloadsReply((payload,), False)


def broken(code: str = "handler_error", *mro: str, traceback: str | None = None) -> ErrorReply:
    return ErrorReply(code, mro[0] if mro else None, mro, "bad", traceback)
