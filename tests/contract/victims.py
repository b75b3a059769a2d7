"""Transports of the contract's cases, as `RemoteTransport` makes them in processes that it may kill: little is imported here.

Called by the harnesses too. Knows no server and no test. Each function imports its own transport: a process needs one of them.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asya_core.transports.rabbitmq import RabbitTransport
    from asya_core.transports.sqs import SqsSettings, SqsTransport

__all__ = ["DELAYS", "MAX_MESSAGE_BYTES", "rabbit_transport", "sqs_settings", "sqs_transport"]

MAX_MESSAGE_BYTES: Final = 100_000
DELAYS: Final = "contract"
"""Namespace of RabbitMQ's delay exchange that all cases share: a retry goes by its routing key, and twelve queues per case take time."""


def rabbit_transport(url: str, queue_type: str) -> "RabbitTransport":
    """On the broker at `url`, with a small limit."""
    from asya_core.transports.rabbitmq import QueueType, RabbitSettings, RabbitTransport

    settings = RabbitSettings.from_url(url, namespace=DELAYS, queue_type=QueueType(queue_type), max_message_bytes=MAX_MESSAGE_BYTES)
    return RabbitTransport(settings)


def sqs_settings(endpoint: str, visibility_seconds: int = 4) -> "SqsSettings":
    """What contract cases use: small limit, short visibility."""
    from asya_core.transports.sqs import SqsSettings

    return SqsSettings(
        endpoint=endpoint,
        access_key_id="test",
        secret_access_key="test",
        visibility_seconds=visibility_seconds,
        max_message_bytes=MAX_MESSAGE_BYTES,
    )


def sqs_transport(endpoint: str, visibility_seconds: str) -> "SqsTransport":
    """See `sqs_settings`."""
    from asya_core.transports.sqs import SqsTransport

    return SqsTransport(sqs_settings(endpoint, int(visibility_seconds)))
