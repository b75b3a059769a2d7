"""Sends envelopes and takes in those that ended. Called by `session`.

The end actors are not run here (docs/decisions): this process consumes the queues of happy-end and error-end itself.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from asya_cli.run.broker import Broker
from asya_cli.run.gather import Ended
from asya_core.transports.base import (
    Blocked,
    Connected,
    Delivered,
    Disconnected,
    Link,
    Published,
    PublishOutcome,
    Transport,
    TransportEvent,
)
from asya_core.wire.errors import Refused, RemoteFault, Unavailable
from asya_core.wire.names import ERROR_END, HAPPY_END, queue_name, split_entry

__all__ = ["Post", "new_envelope", "new_id"]

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PREFETCH: Final = 100
_LINK_SECONDS: Final = 10.0
"""How long a broker that answered a moment ago may take to be reached again."""


def new_id() -> str:
    """A ULID: 48 bits of milliseconds and 80 random bits in 26 characters; ids sort by time."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_envelope(payload: Any, route: Sequence[str]) -> dict[str, Any]:
    """A fresh envelope at the first entry of `route`."""
    return {"id": new_id(), "route": {"actors": list(route), "current": 0}, "payload": payload}


class Post:
    """One transport per end queue; the first also publishes.

    Args:
        broker: where.
        namespace: whose queues.
        on_end: called with each envelope that ended, and its whole decoded JSON; it is acknowledged afterwards.
    """

    def __init__(self, broker: Broker, namespace: str, on_end: Callable[[Ended, Mapping[str, Any]], None]) -> None:
        self._namespace = namespace
        self._on_end = on_end
        self._transports: dict[str, Transport] = {end: broker.transport(namespace) for end in (HAPPY_END, ERROR_END)}
        self._published: dict[int, asyncio.Future[PublishOutcome]] = {}
        self._links_open = asyncio.Event()
        self._links: set[tuple[str, Link]] = set()
        self._closed: dict[str, asyncio.Event] = {end: asyncio.Event() for end in self._transports}
        self._problem = "no answer"
        self._token = 0

    async def open(self) -> None:
        """Connect and consume. Raises Unavailable ``broker`` if that takes too long."""
        for end, transport in self._transports.items():
            transport.open(lambda event, end=end: self._take(end, event))  # type: ignore[misc]
            transport.subscribe(queue_name(self._namespace, end), _PREFETCH)
        try:
            async with asyncio.timeout(_LINK_SECONDS):
                await self._links_open.wait()
        except TimeoutError:
            raise Unavailable("broker", f"Broker cannot be reached: {self._problem}", "start it, or check --broker-url") from None

    async def send(self, envelope: Mapping[str, Any]) -> None:
        """Publish to the actor of the current entry; returns once the broker holds it. Raises Unavailable, Refused, RemoteFault."""
        route = envelope["route"]
        actor = split_entry(route["actors"][route["current"]])[0]
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        self._token += 1
        answer: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
        self._published[self._token] = answer
        self._transports[HAPPY_END].publish(self._token, queue_name(self._namespace, actor), body)
        match await answer:
            case PublishOutcome.CONFIRMED:
                return
            case PublishOutcome.RETURNED:
                raise Refused("unroutable", f"Queue of {actor} does not exist", "start again, so that it is declared")
            case PublishOutcome.TOO_LARGE:
                raise RemoteFault("bad_input", f"Input is {len(body)} bytes; the broker takes no such message", "give a smaller payload")
            case PublishOutcome.REFUSED | PublishOutcome.LOST as outcome:
                raise Unavailable("broker", f"Broker did not take the envelope: {outcome.value}", "try again")

    async def close(self) -> None:
        """Let go of the broker; what was not acknowledged stays there."""
        for transport in self._transports.values():
            transport.close()
        await asyncio.wait([asyncio.create_task(event.wait()) for event in self._closed.values()], timeout=3.0)

    def _take(self, end: str, event: TransportEvent) -> None:
        match event:
            case Delivered():
                self._deliver(end, event)
            case Published():
                answer = self._published.pop(event.token, None)
                if answer is not None and not answer.done():
                    answer.set_result(event.outcome)
            case Connected():
                self._links.add((end, event.link))
                if len(self._links) == 2 * len(self._transports):
                    self._links_open.set()
            case Disconnected():
                self._problem = event.reason
                self._links.discard((end, event.link))
            case Blocked():
                self._problem = "it takes no messages for now (memory or disk alarm)"
            case _:
                if type(event).__name__ == "Closed":
                    self._closed[end].set()

    def _deliver(self, end: str, event: Delivered) -> None:
        try:
            envelope = json.loads(event.body)
        except ValueError:
            envelope = None
        if isinstance(envelope, dict):
            if end == ERROR_END and not envelope.get("error"):
                # What the broker itself gave up on has no error yet.
                envelope["error"] = {
                    "code": "too_many_deliveries",
                    "type": None,
                    "mro": [],
                    "message": "The broker gave the message up",
                    "traceback": None,
                    "actor": (event.origin or "").removeprefix(queue_name(self._namespace, "")),
                    "attempt": event.attempt,
                }
            self._on_end(Ended.of(envelope), envelope)
        self._transports[end].ack(event.receipt)
