"""How many messages lie ready in a queue, by the quickest way that a broker has. Called by the commands `dlq`, `plan` and `doctor`."""

from asya_core.transports.base import QueueAdmin
from asya_core.wire.errors import Refused

__all__ = ["ready_and_consumers", "ready_of"]


def ready_and_consumers(admin: QueueAdmin, queue: str) -> tuple[int, int | None]:
    """Ready messages and consumers; None where the broker does not tell who consumes. Raises Refused ``no_such_queue``, Unavailable."""
    glance = getattr(admin, "glance", None)
    if glance is None:  # RabbitMQ's needs no management API, as `depth` does
        return admin.depth(queue).ready, None
    ready, consumers = glance(queue)
    return int(ready), int(consumers)


def ready_of(admin: QueueAdmin, queue: str) -> int:
    """Ready messages; a queue that does not exist has none. Raises Unavailable, Refused."""
    try:
        return ready_and_consumers(admin, queue)[0]
    except Refused as refusal:
        if refusal.code != "no_such_queue":
            raise
        return 0
