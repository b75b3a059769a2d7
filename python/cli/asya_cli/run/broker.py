"""The broker of one run: where the queues are, how the sidecars reach them, and how they are made and taken away again.

Called by `session`. The only file of the command line that knows which transports there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from asya_core.transports.base import QueueAdmin, QueueSpec, Transport
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import ERROR_END, HAPPY_END, dead_letter_queue_name, queue_name

if TYPE_CHECKING:
    from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings
    from asya_core.transports.sqs import SqsAdmin, SqsSettings

__all__ = ["Broker", "EmbeddedBroker", "RabbitBroker", "SqsBroker", "queue_specs"]


class Broker(Protocol):
    """What a run needs of a broker."""

    @property
    def is_exact(self) -> bool:
        """Whether counts of messages are true when they are told, and a queue may be made again right after it was removed."""
        ...

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
        """Take away the queues of `namespace` that hold nothing; gives those that stay. Raises Unavailable, Refused.

        Where counts are not exact the caller knows that every envelope has ended.
        """
        ...

    def kept(self, namespace: str) -> str:
        """One line for people on queues that stay: where they are and how to find them."""
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
    is_exact: ClassVar[bool] = True

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

    def kept(self, namespace: str) -> str:
        """See `Broker.kept`."""
        return f"Queues of namespace {namespace} stay in {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitBroker:
    """A RabbitMQ. pika is imported when it is reached, not before.

    Attributes:
        url: ``amqp[s]://user:password@host:port/vhost``.
        password_file: where the sidecars read the password from; written by `environment`, for the user alone.
        management_url: of the management API, for counts that AMQP does not tell; None: not used.
    """

    url: str = field(repr=False)
    password_file: Path
    management_url: str | None = None
    is_exact: ClassVar[bool] = True

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

    def kept(self, namespace: str) -> str:
        """See `Broker.kept`."""
        return f"Queues of namespace {namespace} stay at RabbitMQ; their names begin with asya-{namespace}"

    def _settings(self, namespace: str) -> "RabbitSettings":
        from asya_core.transports.rabbitmq import RabbitSettings

        more = {"management_url": self.management_url} if self.management_url else {}
        return RabbitSettings.from_url(self.url, namespace=namespace, client_name="asya-run", **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsBroker:
    """Amazon SQS, or a server that speaks its protocol. boto3 is imported when it is reached, not before.

    Attributes:
        endpoint: ``http[s]://host:port`` of another server than AWS's; None: AWS.
        surroundings: environment with AWS's own variables, which say region and credentials as for AWS's tools. They reach sidecars and the
            gateway, never a handler.

    Raises RemoteFault ``no_sqs_extra`` without boto3, ``bad_broker_url`` for another kind of URL.
    """

    endpoint: str | None
    surroundings: Mapping[str, str] = field(repr=False)
    is_exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if find_spec("boto3") is None:
            raise RemoteFault("no_sqs_extra", "SQS needs boto3, which is not installed here", "pip install 'asya[sqs]'")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            scheme = self.endpoint.partition(":")[0]
            raise RemoteFault(
                "bad_broker_url",
                f"Broker URL begins with {scheme[:20]!r}; expected http:// or https:// for SQS",
                "give the address of a local server, or leave it out for AWS",
            )

    def environment(self) -> Mapping[str, str]:
        """See `Broker.environment`."""
        made = {name: value for name, value in self.surroundings.items() if name.startswith("AWS_")}
        region = self._settings().region
        made |= {"AWS_REGION": region} if region else {}
        return made | {"ASYA_TRANSPORT": "sqs"} | ({"ASYA_SQS_ENDPOINT": self.endpoint} if self.endpoint else {})

    def declare(self, namespace: str, actors: Iterable[str]) -> None:
        """See `Broker.declare`."""
        admin = self.admin(namespace)
        try:
            admin.ensure_namespace(namespace, actors)
        finally:
            admin.close()

    def transport(self, namespace: str) -> Transport:
        """See `Broker.transport`."""
        from asya_core.transports.sqs import SqsTransport

        return SqsTransport(self._settings(), probe_queue=queue_name(namespace, HAPPY_END))

    def remove(self, namespace: str, actors: Iterable[str]) -> list[str]:
        """See `Broker.remove`."""
        admin = self.admin(namespace)
        try:
            return admin.remove_namespace(namespace, actors)
        finally:
            admin.close()

    def kept(self, namespace: str) -> str:
        """See `Broker.kept`."""
        where = f" --endpoint-url {self.endpoint}" if self.endpoint else ""
        return f"Queues of namespace {namespace} stay on SQS; to find them: aws sqs list-queues --queue-name-prefix asya-{namespace}{where}"

    def admin(self, namespace: str) -> "SqsAdmin":
        """See `Broker.admin`."""
        from asya_core.transports.sqs import SqsAdmin

        return SqsAdmin(self._settings())

    def _settings(self) -> "SqsSettings":
        from asya_core.transports.sqs import SqsSettings

        # AWS's tools read AWS_REGION, boto3 AWS_DEFAULT_REGION and the profile; what it finds by itself stays its own to find.
        return SqsSettings(region=self.surroundings.get("AWS_REGION") or None, endpoint=self.endpoint)
