"""What decisions depend on besides events: the actor's settings, and the moment at which an event came. Values only.

Made by `app` from the settings, read by `decide` and the pure modules under it.
"""

from datetime import datetime
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from asya_core.wire.names import is_end_actor, queue_name
from asya_sidecar.retry import RetryPolicy

__all__ = ["Moment", "Policy"]

_DELIVERIES_OVER_ATTEMPTS: Final = 10


class Moment(NamedTuple):
    """When something happens.

    Attributes:
        monotonic: seconds of a clock that never goes back; all durations and timers.
        wall: the time of day with a zone; deadlines and ``error.at`` only.
    """

    monotonic: float
    wall: datetime


class Policy(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The settings that decisions need; the sidecar's settings say what each means (docs/reference/settings.md).

    Attributes:
        actor: this actor's name; ``happy-end`` and ``error-end`` are the end actors, whose sidecar reports and sends nothing on.
        namespace: of all queues.
        timeout_seconds: limit of one run of the handler.
        retry: which exceptions of the handler are tried again.
        max_deliveries: deliveries of one message before it becomes an error; at least `retry.max_attempts` + 10 count. Off for end actors.
        max_hops: publishes of one envelope before it becomes an error.
        unroutable_tries: publishes after the first one to a queue that does not exist; delays 1, 2, 4, 8, 16, 32, 32 s.
        prefetch: unsettled deliveries at a time; None: chosen by how long the handler takes.
        publish_window: publishes without an outcome at a time.
        max_message_bytes: a larger output is not sent and becomes ``payload_too_large``.
        longest_delay_seconds: what the transport can hold a retry back at most.
        reports_progress: whether there is a gateway that wants `Report` effects.
        claim_threshold: bytes of a payload from which on it is put into claim storage; None: there is no storage.
        max_claim_bytes: a larger payload in claim storage is not fetched: the runtime could not take it.
    """

    actor: str
    namespace: str
    timeout_seconds: float = 300.0
    retry: RetryPolicy = RetryPolicy()
    max_deliveries: int = 20
    max_hops: int = 10_000
    unroutable_tries: int = 7
    prefetch: int | None = None
    publish_window: int = 200
    max_message_bytes: int = 16 * 1024 * 1024
    longest_delay_seconds: float = 512.0
    reports_progress: bool = False
    claim_threshold: int | None = None
    max_claim_bytes: int = 64 * 1024 * 1024

    @cached_property
    def is_end_actor(self) -> bool:
        """Whether this is happy-end or error-end."""
        return is_end_actor(self.actor)

    @cached_property
    def delivery_limit(self) -> int:
        """Deliveries of one message, the first included, that are taken; a later one becomes ``too_many_deliveries``."""
        return max(self.max_deliveries, self.retry.max_attempts + _DELIVERIES_OVER_ATTEMPTS)

    def queue(self, actor: str) -> str:
        """The queue of `actor`."""
        return queue_name(self.namespace, actor)
