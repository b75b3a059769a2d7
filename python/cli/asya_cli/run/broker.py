"""The broker of one run: where the queues are, how the sidecars reach them, and how they are made and taken away again.

Called by `session`. The only file of the command line that knows which transports there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asya_core.transports.base import QueueAdmin, QueueSpec, Transport
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport
from asya_core.wire.names import ERROR_END, HAPPY_END, dead_letter_queue_name, queue_name

if TYPE_CHECKING:
    from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings

__all__ = ["Broker", "EmbeddedBroker", "RabbitBroker", "queue_specs"]


class Broker(Protocol):
    """What a run needs of a broker."""

    def environment(self) -> Mapping[str, str]:
        """Settings of a sidecar that reach this broker."""
        ...

    def declare(self, namespace: str, actors: Iterable[str]) -> None:
        """Make all queues of `namespace`. Raises Unavailable, Refused."""
        ...

    def transport(self, namespace: str) -> Transport:
        """A new transport, not open yet."""
        ...

    def admin(self, namespace: str) -> QueueAdmin:
        """Looks at the queues of `namespace`. Raises Unavailable."""
        ...

    def remove(self, namespace: str, actors: Iterable[str]) -> list[str]:
        """Take away the queues of `namespace` that hold nothing; gives those that stay. Raises Unavailable, Refused."""
        ...


def queue_specs(namespace: str, actors: Iterable[str]) -> list[QueueSpec]:
    """Every queue of a namespace with `actors`, in the order in which one may name the other as dead-letter queue."""
    dead, error_end = dead_letter_queue_name(namespace), queue_name(namespace, ERROR_END)
    return [
        QueueSpec(dead),
        QueueSpec(error_end, dead_letter=dead),
        *(QueueSpec(queue_name(namespace, name), dead_letter=error_end) for name in (HAPPY_END, *actors)),
    ]


def _ensure(admin: QueueAdmin, specs: Iterable[QueueSpec]) -> None:
    for spec in specs:
        admin.ensure(spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBroker:
    """A queue file.

    Attributes:
        path: the file; its folder exists.
    """

    path: Path

    def environment(self) -> Mapping[str, str]:
        """See `Broker.environment`."""
        return {"ASYA_TRANSPORT": "embedded", "ASYA_EMBEDDED_PATH": str(self.path)}

    def declare(self, namespace: str, actors: Iterable[str]) -> None:
        """See `Broker.declare`."""
        admin = self.admin(namespace)
        try:
            _ensure(admin, queue_specs(namespace, actors))
        finally:
            admin.close()

    def transport(self, namespace: str) -> Transport:
        """See `Broker.transport`."""
        return EmbeddedTransport(self.path)

    def admin(self, namespace: str) -> QueueAdmin:
        """See `Broker.admin`."""
        return EmbeddedAdmin(self.path)

    def remove(self, namespace: str, actors: Iterable[str]) -> list[str]:
        """See `Broker.remove`. Nothing to do: the file goes with its folder, or is kept as a whole."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitBroker:
    """A RabbitMQ. pika is imported when it is reached, not before.

    Attributes:
        url: ``amqp[s]://user:password@host:port/vhost``.
        password_file: where the sidecars read the password from; written by `environment`, for the user alone.
    """

    url: str = field(repr=False)
    password_file: Path

    def environment(self) -> Mapping[str, str]:
        """See `Broker.environment`. The password is in a file, since a process's environment shows in many places."""
        settings = self._settings("default")
        credentials = settings.credentials()
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(credentials.password, encoding="utf-8")
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return {
            "ASYA_TRANSPORT": "rabbitmq",
            "ASYA_RABBITMQ_ADDRESS": f"{'amqps' if settings.tls else 'amqp'}://{host}:{settings.port}",
            "ASYA_RABBITMQ_VHOST": settings.vhost,
            "ASYA_RABBITMQ_USERNAME": credentials.username,
            "ASYA_RABBITMQ_PASSWORD_FILE": str(self.password_file),
        }

    def declare(self, namespace: str, actors: Iterable[str]) -> None:
        """See `Broker.declare`."""
        admin = self.admin(namespace)
        try:
            admin.ensure_namespace([HAPPY_END, *actors])
        finally:
            admin.close()

    def transport(self, namespace: str) -> Transport:
        """See `Broker.transport`."""
        from asya_core.transports.rabbitmq import RabbitTransport

        return RabbitTransport(self._settings(namespace))

    def remove(self, namespace: str, actors: Iterable[str]) -> list[str]:
        """See `Broker.remove`."""
        admin = self.admin(namespace)
        try:
            return admin.remove_namespace([HAPPY_END, *actors])
        finally:
            admin.close()

    def admin(self, namespace: str) -> "RabbitAdmin":
        """See `Broker.admin`."""
        from asya_core.transports.rabbitmq import RabbitAdmin

        return RabbitAdmin(self._settings(namespace))

    def _settings(self, namespace: str) -> "RabbitSettings":
        from asya_core.transports.rabbitmq import RabbitSettings

        return RabbitSettings.from_url(self.url, namespace=namespace, client_name="asya-run")
