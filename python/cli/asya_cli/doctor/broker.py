"""Checks of a broker: is it there, which version, what may this user do, who consumes, what lies in the dead-letter queue?

Called by `asya_cli.commands.doctor`. Takes no message and declares nothing.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

from asya_cli.broker_options import Place
from asya_cli.depths import ready_and_consumers
from asya_cli.doctor.check import Check, bad, good, odd, skipped
from asya_core.transports.base import QueueAdmin
from asya_core.wire.errors import AsyaError, Refused
from asya_core.wire.names import dead_letter_queue_name, queue_name

if TYPE_CHECKING:
    from asya_core.transports.rabbitmq import RabbitAdmin

__all__ = ["of_broker"]

_LEAST_RABBITMQ: Final = (3, 10)
_NAMED: Final = 10


def of_broker(place: Place, actors: list[str]) -> Iterator[Check]:
    """The checks. Raises Unavailable, Refused if the broker does not let one in.

    Args:
        place: broker and namespace.
        actors: those that should have a queue; empty if they are not known.
    """
    with closing(place.broker.admin(place.namespace)) as admin:
        if hasattr(admin, "server_version"):
            yield from _rabbitmq(admin, place, actors)  # type: ignore[arg-type]
        else:
            yield good("broker", f"{place.name} can be used")
            yield from _queues(admin, place, actors)
        yield from _dead_letters(admin, place)


def _rabbitmq(admin: "RabbitAdmin", place: Place, actors: list[str]) -> Iterator[Check]:
    version = admin.server_version()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < _LEAST_RABBITMQ:
        yield bad("broker", f"{place.name} has version {version}", "upgrade RabbitMQ to 3.10 or newer")
    else:
        yield good("broker", f"{place.name} answers, version {version or 'unknown'}")
    if place.management_url is None:
        yield skipped("management", "Not looked at", "give --management-url, which KEDA and the operator need too")
        yield from _queues(admin, place, actors)
        return
    try:
        consumers = admin.consumers(place.namespace)
    except AsyaError as error:
        yield bad("management", error.message, error.hint)
        yield from _queues(admin, place, actors)
        return
    yield good("management", f"answers at {place.management_url}")
    yield _rights(admin, place.namespace)
    yield from _consumed(consumers, place, actors)


def _rights(admin: "RabbitAdmin", namespace: str) -> Check:
    try:
        rights = admin.rights()
    except Refused as refusal:
        if refusal.code == "broker_refused":
            return skipped(
                "rights", "This user may not see its rights", "only a user with tag administrator may; see docs/reference/rabbitmq.md"
            )
        return bad("rights", "This user has no rights in this virtual host", "give it those of docs/reference/rabbitmq.md")
    queue = queue_name(namespace, "x")
    wanted = {"configure": queue, "write": "amq.default", "read": queue}
    missing = [name for name, target in wanted.items() if not re.search(rights.get(name, ""), target) or not rights.get(name)]
    told = ", ".join(f"{name} {rights.get(name) or 'nothing'}" for name in wanted)
    if "write" in missing:
        return bad("rights", f"This user may not publish: {told}", r"give it write ^(asya-|amq\.default$); see docs/reference/rabbitmq.md")
    if missing:
        return odd("rights", f"Enough to publish: {told}", "the operator's user also needs configure and read ^asya-")
    return good("rights", told)


def _consumed(consumers: dict[str, tuple[int, int]], place: Place, actors: list[str]) -> Iterator[Check]:
    """Queues of the namespace by the management API: messages and consumers of each."""
    wanted = {queue_name(place.namespace, actor) for actor in actors}
    prefix = queue_name(place.namespace, "")
    found = {queue: each for queue, each in consumers.items() if queue.startswith(prefix) and (not wanted or queue in wanted)}
    missing = sorted(wanted - set(found))
    if missing:
        yield bad("queues", f"Missing: {_listed(missing)}", "deploy these actors; the operator makes their queues")
    stuck = sorted(queue for queue, (messages, count) in found.items() if messages and not count)
    if stuck:
        yield odd(
            "consumers",
            f"Messages wait and nobody consumes: {_listed(stuck)}",
            "see these actors' pods and ScaledObjects: asya doctor --kube",
        )
    elif not missing:
        yield good("queues", f"{len(found)} in namespace {place.namespace}; none with messages is without a consumer")


def _queues(admin: QueueAdmin, place: Place, actors: list[str]) -> Iterator[Check]:
    """The queues of known actors, asked one by one."""
    if not actors:
        yield skipped("queues", "Not looked at: the actors are not known", "name their project: asya doctor DIR")
        return
    missing, stuck = [], []
    for actor in actors:
        queue = queue_name(place.namespace, actor)
        try:
            ready, consumers = ready_and_consumers(admin, queue)
            if ready and consumers == 0:
                stuck.append(queue)
        except Refused as refusal:
            if refusal.code != "no_such_queue":
                raise
            missing.append(queue)
    if missing:
        yield bad("queues", f"Missing: {_listed(missing)}", "deploy these actors; asya run --serve and the operator make their queues")
    if stuck:
        yield odd(
            "consumers",
            f"Messages wait and nobody consumes: {_listed(stuck)}",
            "see these actors' pods and ScaledObjects: asya doctor --kube",
        )
    if not missing and not stuck:
        yield good("queues", f"{len(actors)} of {len(actors)} actors have theirs")


def _dead_letters(admin: QueueAdmin, place: Place) -> Iterator[Check]:
    queue = dead_letter_queue_name(place.namespace)
    try:
        count, _ = ready_and_consumers(admin, queue)
    except Refused as refusal:
        if refusal.code != "no_such_queue":
            raise
        yield odd("dead letters", f"Queue {queue} does not exist", "install asya-crew in this namespace, or check --namespace")
        return
    if count:
        yield odd("dead letters", f"{count} messages in {queue}: error-end could not store them", "see them: asya dlq list --source queue")
    else:
        yield good("dead letters", f"{queue} is empty")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
