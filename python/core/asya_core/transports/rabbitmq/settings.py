"""How to reach a RabbitMQ and as whom. Values only, except that credential files are read when asked.

Built by the sidecar's and gateway's settings, by the command line from a URL, and by tests. Knows neither AMQP nor sockets.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from asya_core.wire.errors import RemoteFault, Unavailable
from asya_core.wire.names import check_namespace

__all__ = ["DEFAULT_MAX_MESSAGE_BYTES", "Credentials", "QueueType", "RabbitSettings"]

DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""What RabbitMQ takes by default from 4.0 on (`max_message_size`); before, 128 MiB."""

_GUEST: Final = "guest"
"""User and password of a fresh RabbitMQ; it lets them in from its own machine only."""

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


class QueueType(StrEnum):
    """The kind of an actor's queue; it cannot be changed once the queue exists."""

    QUORUM = "quorum"
    """Replicated; counts deliveries; dead-letters at least once. The default."""
    CLASSIC = "classic"
    """On one node's disk; knows only whether a message was delivered before."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """User name and password as they are now. Says neither when it is printed."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class RabbitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a RabbitMQ and as whom.

    Attributes:
        host: name or address; a name is resolved anew at each connect.
        port: 5672, with TLS 5671.
        vhost: the virtual host; the boundary between tenants.
        namespace: whose delay exchange `Transport.retry` uses: ``asya-{namespace}_delay``.
        username, password: of the user; None: from `credentials_dir`, without that ``guest``.
        username_file, password_file: win over `username` and `password`.
        credentials_dir: folder with the files ``username`` and ``password``, such as the volume of a Secret. Each of the fields above wins
            over its part. All files are read at each connect, so also after a refusal: a rotated password needs no restart. Blanks and line
            ends around a value are dropped.
        tls: encrypt, and check the certificate against `tls_ca`, or against the system's authorities.
        tls_ca: file of PEM certificates.
        queue_type: of the queues that are consumed and declared.
        max_message_bytes: the most that one message may have; at most the broker's own limit.
        handler_timeout_seconds: how long one delivery may be worked on; the broker's consumer timeout is made from it.
        heartbeat_seconds: a silent peer is given up after about two of these.
        connect_timeout_seconds: for resolving the name, and again for connecting up to a usable AMQP connection.
        client_name: shown by the broker's management page.
        management_url: ``http://host:15672`` of the management plugin, or None. Only administration uses it.
        statistics_seconds: how old the numbers of the management API may be; RabbitMQ collects them every 5 s by default.
    """

    host: str
    port: int = 5672
    vhost: str = "/"
    namespace: str = "default"
    username: str | None = None
    password: str | None = None
    username_file: str | None = None
    password_file: str | None = None
    credentials_dir: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    queue_type: QueueType = QueueType.QUORUM
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    handler_timeout_seconds: float = 300.0
    heartbeat_seconds: int = 15
    connect_timeout_seconds: float = 5.0
    client_name: str = "asya"
    management_url: str | None = None
    statistics_seconds: float = 6.0

    def __post_init__(self) -> None:
        if not self.host:
            raise _refused("address is empty", "set it to host:port, such as rabbitmq.default.svc:5672")
        if not 0 < self.port < 65536:
            raise _refused(f"port is {self.port}; expected 1 to 65535", "correct the address")
        check_namespace(self.namespace)

    def __repr__(self) -> str:
        return f"RabbitSettings({self.where})"

    @classmethod
    def from_url(cls, raw_url: str, **more: object) -> "RabbitSettings":
        """Settings of ``amqp[s]://user:password@host:port/vhost``; each part but the host has its default.

        As in the AMQP URI specification of RabbitMQ an absent path is the vhost ``/``; ``/%2F`` is the same in full.

        Args:
            raw_url: the URL. It is never repeated in an error, since it may hold a password.
            more: other fields; they win over the URL's.

        Raises RemoteFault ``bad_broker_url``.
        """
        try:
            parts = urlsplit(raw_url)
            port = parts.port
        except ValueError:
            raise _refused("URL cannot be read; expected amqp://user:password@host:port/vhost", "check port and brackets") from None
        if parts.scheme not in _PORTS:
            raise _refused(
                f"URL begins with {parts.scheme or 'no scheme'!r}; expected amqp:// or amqps://",
                "expected amqp://user:password@host:port/vhost",
            )
        if not parts.hostname:
            raise _refused("URL names no host", "expected amqp://user:password@host:port/vhost")
        if parts.query or parts.fragment:
            raise _refused("URL has options after the vhost, which are not known here", "leave out everything from ? or # on")
        fields: dict[str, object] = {
            "host": parts.hostname,
            "port": _PORTS[parts.scheme] if port is None else port,
            "vhost": unquote(parts.path[1:]) or "/",
            "tls": parts.scheme == "amqps",
        }
        if parts.username:
            fields["username"] = unquote(parts.username)
        if parts.password is not None:
            fields["password"] = unquote(parts.password)
        fields.update(more)
        return cls(**fields)  # type: ignore[arg-type]

    @classmethod
    def from_address(cls, address: str, **more: object) -> "RabbitSettings":
        """Settings of ``host``, ``host:port`` or ``amqp[s]://host:port``, as `ASYA_RABBITMQ_ADDRESS` has it.

        Raises RemoteFault ``bad_broker_url``.
        """
        return cls.from_url(address if "://" in address else f"amqp://{address}", **more)

    @property
    def where(self) -> str:
        """``host:port/vhost`` for messages; never credentials."""
        return f"{self.host}:{self.port}{'' if self.vhost == '/' else '/' + self.vhost}"

    def credentials(self) -> Credentials:
        """User name and password, files read now.

        Raises Unavailable ``broker_credentials`` if a file cannot be read or is empty: it may come later, and the next connect looks again.
        """
        folder = self._credentials_folder()
        return Credentials(
            username=_part(self.username_file, self.username, folder, "username"),
            password=_part(self.password_file, self.password, folder, "password"),
        )

    def _credentials_folder(self) -> Path | None:
        if self.credentials_dir is None:
            return None
        # Kubernetes changes all files of a volume at once by moving the link `..data`: user and password must be from one side of it.
        now = Path(self.credentials_dir, "..data")
        return now.resolve() if now.is_symlink() else Path(self.credentials_dir)


def _part(file: str | None, value: str | None, folder: Path | None, name: str) -> str:
    if file is not None:
        return _read(Path(file))
    if value is not None:
        return value
    return _read(folder / name) if folder is not None else _GUEST


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Unavailable(
            "broker_credentials", f"Broker credentials file {file} cannot be read: {reason}", "mount the Secret there"
        ) from error
    if not text:
        raise Unavailable("broker_credentials", f"Broker credentials file {file} is empty", "fill the Secret's key of that name")
    return text


def _refused(problem: str, hint: str) -> RemoteFault:
    return RemoteFault("bad_broker_url", f"Broker {problem}", hint)
