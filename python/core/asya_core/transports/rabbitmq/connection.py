"""One link to RabbitMQ: connects, tells, reconnects for ever. With `wire` the only importer of pika.

`transport` has two of these. A link knows its channels but not what is consumed or published on them. Whatever goes wrong with the
connection, or with a channel that matters, ends in the same way: `on_down` once, then a new connection after a delay with full jitter.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import pika
from pika import exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.adapters.utils import connection_workflow

from asya_core.ops.backoff import Backoff
from asya_core.transports.rabbitmq.settings import RabbitSettings
from asya_core.transports.rabbitmq.wire import FrameListener, SocketServices, Wire
from asya_core.wire.errors import AsyaError, Refused, Unavailable

__all__ = ["Channel", "Link", "PreconditionFailed", "Session", "blocking_connection", "server_version", "translated"]

RECONNECT: Final = Backoff(initial_seconds=0.1, max_seconds=10.0)
STEADY_AFTER_SECONDS: Final = 60.0
"""A connection that held so long is a good one: the next reconnect begins with the shortest delay again."""
STOP_SECONDS: Final = 0.8
"""How long a polite goodbye may take before the socket is closed; a blocked broker does not answer one."""

_SAID: Final = re.compile(r"""ConnectionClosedByBroker: \((\d+)\) (['"])(.*)\2""")

# Each failure is told once, by `Disconnected`; pika would write stack traces beside the component's JSON lines.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)


class Channel:
    """One channel of a session. Methods on a channel that is gone do nothing: its end has been or will be told.

    Args:
        session: its connection.
        listener: takes deliveries and confirms.
        on_open: called when it can be used.
        on_closed: called when the *broker* closes it, with AMQP's code and text; not when the whole connection ends.
    """

    def __init__(
        self,
        session: "Session",
        *,
        listener: FrameListener | None,
        on_open: Callable[["Channel"], None],
        on_closed: Callable[[int, str], None],
    ) -> None:
        self.session = session
        self._listener = listener
        self._on_open = on_open
        self._on_closed = on_closed
        self._cancel: Callable[[], None] = lambda: None
        self.number = 0
        self._pika: Any = None
        with _dead_is_told():
            self._pika = session.pika.channel(on_open_callback=self._opened)
            self.number = self._pika.channel_number
            self._pika.add_on_close_callback(self._closed)

    def _opened(self, _channel: Any) -> None:
        if self._listener is not None:
            self.session.wire.attach(self.number, self._listener)
        self._on_open(self)

    def _closed(self, _channel: Any, error: BaseException) -> None:
        self.session.wire.detach(self.number)
        if isinstance(error, exceptions.ChannelClosedByBroker):
            self._on_closed(error.reply_code, error.reply_text)

    def write(self, *frames: bytes | memoryview) -> None:
        """Send frames of `codec` at the end of this turn of the loop."""
        self.session.wire.write_frames(list(frames))

    def hold(self, *frames: bytes | memoryview) -> None:
        """Send frames of `codec` within 1 ms, with others."""
        self.session.wire.hold(list(frames))

    def release(self) -> None:
        """Send what is held at the end of this turn."""
        self.session.wire.release()

    def confirm(self, done: Callable[[], None]) -> None:
        """Ask for confirms of publishes."""
        with _dead_is_told():
            # The callback for confirms is never called: `wire` takes them first.
            self._pika.confirm_delivery(ack_nack_callback=lambda _frame: None, callback=lambda _frame: done())

    def prefetch(self, count: int, done: Callable[[], None]) -> None:
        """Limit for the consumers that begin after this."""
        with _dead_is_told():
            self._pika.basic_qos(prefetch_count=count, callback=lambda _frame: done())

    def consume(self, queue: str, tag: str, arguments: dict[str, Any], done: Callable[[], None]) -> None:
        """Begin a consumer."""
        with _dead_is_told():
            self._pika.basic_consume(queue, lambda *_: None, consumer_tag=tag, arguments=arguments, callback=lambda _frame: done())

    def cancel(self, tags: list[str], done: Callable[[], None]) -> None:
        """End consumers; what they have handed over stays open. All are told at once: pika would wait for each answer."""
        with _dead_is_told():
            for tag in tags[:-1]:
                self._pika.basic_cancel(tag)
                self._pika._cancelled.discard(tag)  # there it would stay for as long as the channel lives
            self._pika.basic_cancel(tags[-1], callback=lambda _frame: done())

    def on_cancelled_by_broker(self, call: Callable[[str], None]) -> None:
        """Call this with a consumer's tag when the broker ends it, since its queue is gone or moved."""
        with _dead_is_told():
            self._pika.add_on_cancel_callback(lambda frame: call(frame.method.consumer_tag))

    def queue_exists(self, queue: str, done: Callable[[], None]) -> None:
        """Passive declare; a missing queue closes this channel."""
        with _dead_is_told():
            self._pika.queue_declare(queue, passive=True, callback=lambda _frame: done())

    def exchange_exists(self, exchange: str, done: Callable[[], None]) -> None:
        """Passive declare; a missing exchange closes this channel."""
        with _dead_is_told():
            self._pika.exchange_declare(exchange, passive=True, callback=lambda _frame: done())

    def close(self) -> None:
        """Not needed any more."""
        with _dead_is_told():
            self._pika.close()


@contextlib.contextmanager
def _dead_is_told() -> Iterator[None]:
    with contextlib.suppress(exceptions.AMQPError, AttributeError):
        yield


class Session:
    """One connection while it is up."""

    def __init__(self, connection: Any, wire: Wire) -> None:
        self.pika = connection
        self.wire = wire
        self.alive = True

    @property
    def frame_max(self) -> int:
        """The most bytes of one frame, as negotiated."""
        return int(self.pika.params.frame_max)

    def on_blocked(self, call: Callable[[bool], None]) -> None:
        """Call this with True when the broker takes no publishes for now, with False when it does again."""
        self.pika.add_on_connection_blocked_callback(lambda *_: call(True))
        self.pika.add_on_connection_unblocked_callback(lambda *_: call(False))

    def probe(self, ask: Callable[[Channel, Callable[[], None]], None], answer: Callable[[int, str], None]) -> None:
        """Ask something on a throw-away channel: code 0 when answered, AMQP's code and text when the broker closes the channel."""

        def answered(channel: Channel) -> None:
            channel.close()
            answer(0, "")

        Channel(
            self,
            listener=None,
            on_open=lambda channel: ask(channel, lambda: answered(channel)),
            on_closed=answer,
        )


class Link:
    """A connection that comes back.

    Args:
        settings: where and as whom.
        name: a word for the broker's management page.
        on_up: called with the session when the connection is there.
        on_down: called once per session, or per attempt that failed, with one sentence.
        random: gives numbers in [0, 1).
    """

    def __init__(
        self,
        settings: RabbitSettings,
        *,
        name: str,
        on_up: Callable[[Session], None],
        on_down: Callable[[str], None],
        random: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._name = name
        self._on_up = on_up
        self._on_down = on_down
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._connection: Any = None
        self._services: SocketServices | None = None
        self._session: Session | None = None
        self._failures = 0
        self._up_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped: Callable[[], None] | None = None

    def start(self) -> None:
        """Connect now; reconnect until `stop`."""
        self._timer = None
        try:
            parameters = connection_parameters(self._settings, self._name)
            self._services = SocketServices(self._loop, self._settings.connect_timeout_seconds)
            self._connection = AsyncioConnection(
                parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._ended,
                on_close_callback=self._ended,
                custom_ioloop=self._services,
            )
        except AsyaError as error:
            self._connection = None
            self._down(error.message)

    def fail(self, reason: str) -> None:
        """Something on the session went wrong: begin anew."""
        self._drop_connection()
        self._down(reason)

    def stop(self, stopped: Callable[[], None]) -> None:
        """Say goodbye within `STOP_SECONDS`, then call `stopped`. Frames written before are sent first."""
        self._stopped = stopped
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is None:
            self._loop.call_soon(self._finish_stop)
            return
        if self._session is None:
            self._drop_connection()
            self._loop.call_soon(self._finish_stop)
            return
        self._timer = self._loop.call_later(STOP_SECONDS, self._finish_stop)
        with _dead_is_told():
            self._connection.close()

    def _finish_stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop_connection()
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped()

    def _opened(self, connection: Any) -> None:
        if connection is not self._connection or self._services is None or self._services.wire is None:
            return
        self._session = Session(connection, self._services.wire)
        self._up_since = self._loop.time()
        self._on_up(self._session)

    def _ended(self, connection: Any, error: BaseException) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self._stopped is not None:
            self._finish_stop()
        else:
            self._down(describe(error, self._settings))

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        services, self._services = self._services, None
        if connection is not None and services is not None:
            services.forget()

    def _down(self, reason: str) -> None:
        if self._session is not None:
            self._session.alive = False
            if self._loop.time() - self._up_since >= STEADY_AFTER_SECONDS:
                self._failures = 0
            self._session = None
        self._failures += 1
        if self._stopped is None and self._timer is None:
            self._timer = self._loop.call_later(RECONNECT.delay_seconds(self._failures, self._random), self.start)
        self._on_down(reason)


def connection_parameters(settings: RabbitSettings, name: str) -> Any:
    """pika's parameters, with credentials read now. Raises Unavailable."""
    credentials = settings.credentials()
    ssl_options = None
    if settings.tls:
        try:
            context = ssl.create_default_context(cafile=settings.tls_ca)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(
                "broker_tls", f"Broker's CA file {settings.tls_ca} cannot be read: {error}", "mount the certificate there"
            ) from error
        ssl_options = pika.SSLOptions(context, settings.host)
    return pika.ConnectionParameters(
        host=settings.host,
        port=settings.port,
        virtual_host=settings.vhost,
        credentials=pika.PlainCredentials(credentials.username, credentials.password),
        heartbeat=settings.heartbeat_seconds,
        socket_timeout=settings.connect_timeout_seconds,
        stack_timeout=settings.connect_timeout_seconds,
        connection_attempts=1,
        blocked_connection_timeout=None,
        ssl_options=ssl_options,
        client_properties={"connection_name": f"{settings.client_name} {name}"},
    )


def describe(error: BaseException | None, settings: RabbitSettings) -> str:
    """One sentence for what pika says, without credentials."""
    leaf = _leaf(error)
    match leaf:
        case exceptions.ProbableAuthenticationError() | exceptions.ProbableAccessDeniedError():
            match _said_while_connecting(leaf):
                case (403, _):
                    return f"Broker {settings.where} refused the user name or password"
                case (530, text):
                    return f"Broker {settings.where} refused the vhost: {text}"
                case (code, text):
                    return f"Broker {settings.where} closed the connection: {code} {text}"
                case _:
                    return f"Broker {settings.where} broke the connection during the login"
        case exceptions.AuthenticationError():
            return f"Broker {settings.where} refused the user name or password: it takes no passwords"
        case exceptions.ConnectionOpenAborted() if "Timeout" in str(leaf):
            return f"Broker {settings.where} did not answer in time"
        case exceptions.ConnectionClosedByBroker():
            return f"Broker {settings.where} closed the connection: {leaf.reply_code} {leaf.reply_text}"
        case exceptions.AMQPHeartbeatTimeout():
            return f"Broker {settings.where} was silent for two heartbeats"
        case TimeoutError() | connection_workflow.AMQPConnectorPhaseErrorBase():
            return f"Broker {settings.where} did not answer in time"
        case ssl.SSLCertVerificationError():
            return f"Broker {settings.where} shows a certificate that is not trusted: {leaf.verify_message}"
        case ssl.SSLError():
            return f"Broker {settings.where} does not speak TLS as expected: {leaf.reason or 'the connection ended'}"
        case OSError():
            # asyncio puts words of its own in place of the system's.
            reason = os.strerror(leaf.errno) if leaf.errno is not None and leaf.errno > 0 else leaf.strerror or leaf
            return f"Broker {settings.where} cannot be reached: {reason}"
        case _:
            return f"Connection to broker {settings.where} was lost"


def _said_while_connecting(error: BaseException) -> tuple[int, str] | None:
    """AMQP's code and text of a broker that closed a connection in the making; None if it just broke. pika keeps them as text only."""
    found = _SAID.search(str(error.args[0])) if error.args else None
    return (int(found[1]), found[3]) if found else None


def _leaf(error: BaseException | None) -> BaseException | None:
    """The innermost cause: pika wraps what happened in up to four layers."""
    for _ in range(8):
        inner = getattr(error, "exceptions", None)
        if inner:
            error = inner[-1]
        elif isinstance(getattr(error, "exception", None), BaseException):
            error = getattr(error, "exception")  # noqa: B009  the type checker knows no such attribute
        elif isinstance(error, exceptions.AMQPConnectionError) and error.args and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            break
    return error


class PreconditionFailed(Exception):
    """AMQP 406: the thing exists with other arguments, or is not in the state that was asked for. The text is the broker's."""


@contextlib.contextmanager
def translated(settings: RabbitSettings) -> Iterator[None]:
    """Turns pika's errors into ours: Unavailable, Refused, `PreconditionFailed`."""
    try:
        yield
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code == 404:
            raise Refused("no_such_queue", f"Broker {settings.where} says: {error.reply_text}", "declare it first") from error
        if error.reply_code == 406:
            raise PreconditionFailed(error.reply_text) from error
        raise Refused(
            "broker_refused", f"Broker {settings.where} says: {error.reply_code} {error.reply_text}", "check the user's permissions"
        ) from error
    except (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError) as error:
        said = _said_while_connecting(error)
        if said is None or said[0] not in (403, 530):
            raise Unavailable("broker_unavailable", describe(error, settings), "try again later") from error
        raise Refused("broker_refused", describe(error, settings), "check user, password and vhost") from error
    except (exceptions.AMQPError, OSError, connection_workflow.AMQPConnectorException) as error:
        raise Unavailable("broker_unavailable", describe(error, settings), "check that it runs and can be reached") from error


def blocking_connection(settings: RabbitSettings, name: str) -> tuple[BlockingConnection, BlockingChannel]:
    """A connection for administration, and a channel on it. Raises Unavailable, Refused."""
    with translated(settings):
        connection = BlockingConnection(connection_parameters(settings, name))
        return connection, connection.channel()


def server_version(channel: BlockingChannel) -> str:
    """The version that the broker of an open channel has told, empty if none."""
    # pika's blocking connection has no public way to it.
    properties = getattr(channel.connection._impl, "server_properties", None) or {}
    version = properties.get("version", "")
    return version.decode() if isinstance(version, bytes) else str(version)
