"""The brokers' side of an actor: declares, reads and deletes queues in threads, with limits. Called by `reconcile` and `depths`.

It knows queue names and outcomes, not resources. The port `Queues`, and RabbitMQ's side; that of SQS is in `sqs_queues`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from asya_core.transports.base import Mismatch, QueueSpec
from asya_core.transports.rabbitmq import RabbitAdmin, topology
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.wire.errors import Refused
from asya_core.wire.names import dead_letter_queue_name
from asya_operator.broker_calls import CALL_SECONDS, BrokerCalls
from asya_operator.conditions import Depth

__all__ = ["Ensured", "Queues", "RabbitQueues"]

T = TypeVar("T")
CONSUMER_TIMEOUT_SINCE: Final = (3, 11, 15)
"""RabbitMQ's version from which on a consumer may bring a time-out of its own (docs/reference/rabbitmq.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """A queue that is there. `depth` is what it holds now, `in_flight` only if that is certain (nobody consumes).

    `knows_consumer_timeout`: whether the broker lets a consumer say how long it may work on a message.
    `changed`: what was corrected in place, for an event; empty: nothing.
    `owner`: namespace/name of the AsyncActor of another operator that the queue is marked for; then nothing was changed.
    `address`: of the queue, where the scaler needs one.
    """

    depth: Depth | None
    mismatch: str = ""
    knows_consumer_timeout: bool = True
    changed: str = ""
    owner: str | None = None
    address: str = ""


class Queues(Protocol):
    """One transport's queues. All methods raise Unavailable (try again) and Refused (a person must act), and may be called at any time."""

    @property
    def where(self) -> str:
        """Address for sentences."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...

    def delayed(self, namespace: str) -> tuple[str, ...]:
        """The queues in which messages of a namespace wait for their next try, for `depths`; none where they wait in the actors' own."""
        ...

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, max_attempts: int = 1, renew: bool = False) -> Ensured:
        """Declare what the namespace shares (once, or again with `renew`) and the actor's queue. Another queue of that name is left.

        `max_attempts` is that of the actor's retry policy.
        """
        ...

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        """What these queues hold; a queue that is missing is not in the result, None where the broker has no numbers yet."""
        ...

    async def delete_if_empty(self, queue: str, *, owner: str) -> bool:
        """True if the queue is gone afterwards.

        `owner` is the actor's namespace/name: a queue that bears another's mark is left, Refused ``name_collision``. Unavailable
        ``queue_settling`` asks to come again after `retry_after_seconds`: the queue seems empty and may not be.
        """
        ...

    async def delete(self, queue: str, *, owner: str) -> None:
        """Delete it with what is in it. `owner`: see `delete_if_empty`."""
        ...


class RabbitQueues:
    """RabbitMQ's, through `RabbitAdmin`: one per thread, each with a connection that is kept.

    Args:
        settings: where and as whom; `queue_type` is the default, `namespace` does not matter.
        observe: called after each call with its name and outcome (ok, mismatch, unavailable, refused).
    """

    def __init__(self, settings: RabbitSettings, observe: Callable[[str, str], None] = lambda *_: None) -> None:
        self._settings = settings
        self._calls = BrokerCalls(where=f"{settings.host}:{settings.port}", connect=lambda: RabbitAdmin(settings), observe=observe)
        self._shared: set[str] = set()

    @property
    def where(self) -> str:
        """See `Queues.where`."""
        return self._calls.where

    async def close(self) -> None:
        """Let go of threads and connections."""
        await self._calls.close()

    def delayed(self, namespace: str) -> tuple[str, ...]:
        """See `Queues.delayed`."""
        return tuple(queue.name for queue in topology.delays(namespace).queues)

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, max_attempts: int = 1, renew: bool = False) -> Ensured:
        """See `Queues.ensure`. The number of attempts does not matter: the delivery limit is a constant, as it can never be changed."""
        kind = QueueType(queue_type) if queue_type else self._settings.queue_type
        spec = topology.actor_spec(namespace, actor)
        if renew:
            self._shared.discard(namespace)

        def work(admin: RabbitAdmin) -> Ensured:
            if namespace not in self._shared:
                letters = topology.actor_queue(QueueSpec(dead_letter_queue_name(namespace)), self._settings.queue_type)
                admin.ensure_topology(topology.delays(namespace))
                admin.ensure_topology(topology.Topology(queues=(letters,)))
                self._shared.add(namespace)
            mismatch = ""
            try:
                admin.ensure_topology(topology.Topology(queues=(topology.actor_queue(spec, kind),)))
            except Mismatch as error:
                mismatch = error.detail
            ready, consumers = admin.glance(spec.name)
            return Ensured(
                depth=Depth(waiting=ready, in_flight=None if consumers else 0),
                mismatch=mismatch,
                knows_consumer_timeout=_version(admin.server_version()) >= CONSUMER_TIMEOUT_SINCE,
            )

        return await self._run("ensure", work, outcome=lambda found: "mismatch" if found.mismatch else "ok")

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        """See `Queues.depths`. Without a management API: ready messages only, one call per queue."""

        def by_management(admin: RabbitAdmin) -> dict[str, Depth | None]:
            found = admin.depths(namespace)
            wanted = set(queues)
            return {
                name: None if depth is None else Depth(waiting=depth.ready, in_flight=depth.unsettled)
                for name, depth in found.items()
                if name in wanted
            }

        def by_declare(admin: RabbitAdmin) -> dict[str, Depth | None]:
            made: dict[str, Depth | None] = {}
            for name in queues:
                try:
                    ready, consumers = admin.glance(name)
                except Refused as error:
                    if error.code != "no_such_queue":
                        raise
                    continue
                made[name] = Depth(waiting=ready, in_flight=None if consumers else 0)
            return made

        return await self._run("depth", by_management if self._settings.management_url else by_declare)

    async def delete_if_empty(self, queue: str, *, owner: str) -> bool:
        """See `Queues.delete_if_empty`."""
        return await self._run(
            "delete_if_empty", lambda admin: admin.delete_if_empty(queue), limit=CALL_SECONDS + 2 * self._settings.statistics_seconds
        )

    async def delete(self, queue: str, *, owner: str) -> None:
        """See `Queues.delete`."""
        await self._run("delete", lambda admin: admin.delete(queue))

    async def _run(
        self,
        name: str,
        work: Callable[[RabbitAdmin], T],
        *,
        limit: float = CALL_SECONDS,
        outcome: Callable[[T], str] = lambda result: "ok",
    ) -> T:
        return await self._calls.run(name, lambda admin: _of_the_namespace(admin, work), limit=limit, outcome=outcome)


def _of_the_namespace(admin: RabbitAdmin, work: Callable[[RabbitAdmin], T]) -> T:
    try:
        return work(admin)
    except Mismatch as error:
        # Of what the namespace shares: the actor's own queue is told apart in `ensure`.
        raise Refused("queue_mismatch", f"{error.queue}: {error.detail}", "delete it at the broker when it is empty") from error


def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version such as ``3.10.8`` or ``4.0.5-rc.1``; an unknown one counts as new."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(each) for each in numbers) if all(each.isdigit() for each in numbers) else CONSUMER_TIMEOUT_SINCE
