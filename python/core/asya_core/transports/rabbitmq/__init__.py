"""The transport over RabbitMQ."""

from asya_core.transports.rabbitmq.admin import RabbitAdmin
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.transports.rabbitmq.transport import RabbitTransport

__all__ = ["QueueType", "RabbitAdmin", "RabbitSettings", "RabbitTransport"]
