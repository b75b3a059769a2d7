"""How to reach Amazon SQS and how messages are held. Values only.

Built by the settings of sidecar, gateway and operator, by the command line and by tests. Knows neither boto3 nor sockets.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from asya_core.wire.errors import RemoteFault

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_ENTRIES",
    "MAX_DELAY_SECONDS",
    "MAX_MESSAGE_BYTES",
    "MAX_NAME_LENGTH",
    "MAX_VISIBILITY_SECONDS",
    "MAX_WAIT_SECONDS",
    "SqsSettings",
    "is_queue_name",
]

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Of one message, attributes included. SendMessageBatch in botocore's model of the service: "1 MiB 1,048,576 bytes". Queues made before
August 2025 may hold less: their attribute MaximumMessageSize was 262,144 by default."""
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Of all messages of one SendMessageBatch together (same source)."""
MAX_BATCH_ENTRIES: Final = 10
"""Of one batch of any kind, and of one ReceiveMessage (same source)."""
MAX_WAIT_SECONDS: Final = 20
"""Of one long poll (ReceiveMessage, WaitTimeSeconds)."""
MAX_DELAY_SECONDS: Final = 900
"""Of one message's delay (SendMessage, DelaySeconds)."""
MAX_VISIBILITY_SECONDS: Final = 43_200
"""How long a message may stay with one receiver, counted from the receive, however often it is renewed (ChangeMessageVisibility)."""
MAX_NAME_LENGTH: Final = 80
"""Characters of a queue's name (CreateQueue, QueueName)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_DEFAULT_REGION: Final = "us-east-1"


def is_queue_name(name: str) -> bool:
    """Whether SQS takes `name` for a standard queue: 1–80 of ``[A-Za-z0-9_-]``."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsSettings:
    """How to reach SQS and how messages are held.

    Attributes:
        region: AWS region, such as ``eu-central-1``; None: boto3's own settings; without those, and with an endpoint, ``us-east-1``.
        endpoint: ``http[s]://host:port`` of another server than AWS's; None: AWS.
        access_key_id, secret_access_key: static keys; None: boto3 finds credentials as AWS's own tools do (environment, shared files, pod
            identity) and renews them.
        visibility_seconds: a whole number from 1 to 43,200; after which a message of a dead consumer is handed to another. Renewed every
            third of it.
        wait_seconds: length of a long poll, 0 to 20; AWS bills each poll.
        max_message_bytes: the most that one message may have; at most 1 MiB, and no more than the queues' own MaximumMessageSize.
        connect_timeout_seconds: for one connection.
        read_timeout_seconds: for one answer, on top of a long poll's length.
    """

    region: str | None = None
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    visibility_seconds: int = 120
    wait_seconds: int = MAX_WAIT_SECONDS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.visibility_seconds <= MAX_VISIBILITY_SECONDS:
            raise _refused(f"visibility is {self.visibility_seconds} s; expected 1 to {MAX_VISIBILITY_SECONDS}", "correct it")
        if not 0 <= self.wait_seconds <= MAX_WAIT_SECONDS:
            raise _refused(f"long poll is {self.wait_seconds} s; expected 0 to {MAX_WAIT_SECONDS}", "correct it")
        if not 1024 <= self.max_message_bytes <= MAX_MESSAGE_BYTES:
            raise _refused(f"message limit is {self.max_message_bytes} bytes; expected 1024 to {MAX_MESSAGE_BYTES}", "correct it")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise _refused(f"endpoint is {self.endpoint!r}; expected http://host:port or https://host:port", "correct it")
        if (self.access_key_id is None) is not (self.secret_access_key is None):
            raise _refused("access key is given in part", "set the key's id and its secret, or neither")

    @property
    def fallback_region(self) -> str | None:
        """What stands in if neither `region` nor boto3's own settings name one; None: that is an error."""
        return _DEFAULT_REGION if self.endpoint is not None else None

    @property
    def where(self) -> str:
        """The endpoint, or ``SQS in REGION``, for messages; never credentials."""
        return self.endpoint or f"SQS in {self.region or 'the default region'}"


def _refused(problem: str, hint: str) -> RemoteFault:
    return RemoteFault("bad_setting", f"SQS {problem}", hint)
