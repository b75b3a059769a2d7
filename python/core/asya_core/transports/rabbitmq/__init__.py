"""The transport over RabbitMQ. Administration is loaded when it is asked for: a sidecar never does."""

from typing import TYPE_CHECKING, Any

from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.transports.rabbitmq.transport import RabbitTransport

if TYPE_CHECKING:
    from asya_core.transports.rabbitmq.admin import RabbitAdmin

__all__ = ["QueueType", "RabbitAdmin", "RabbitSettings", "RabbitTransport"]


def __getattr__(name: str) -> Any:
    if name == "RabbitAdmin":
        from asya_core.transports.rabbitmq.admin import RabbitAdmin

        return RabbitAdmin
    raise AttributeError(f"module {__name__} has no attribute {name}")
