"""What goes wrong with a connection: each is told in one sentence without credentials, and tried again."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pika import exceptions, spec
from python.core.tests.rabbitmq.brokers import Server, connected, opened, settings_of, told, up
from python.core.tests.rabbitmq.fake_broker import Conversation, FakeBroker

from asya_core.transports.base import Blocked, Connected, Disconnected, Link, PublishOutcome, ReceiptsLost, Unblocked
from asya_core.transports.rabbitmq import RabbitAdmin
from asya_core.transports.rabbitmq.connection import describe
from asya_core.wire.errors import Refused, Unavailable
from tests.loopback import Loopback

pytestmark = pytest.mark.unmeasured

SECRET = "secret-word"


def run(test: Callable[[FakeBroker], Coroutine[Any, Any, None]], broker: FakeBroker | None = None) -> None:
    async def inside() -> None:
        async with (broker or FakeBroker()).running() as serving:
            await test(serving)

    asyncio.run(inside())


def close_with(code: int, text: str) -> Callable[[Conversation, int, Any], None]:
    return lambda conversation, _channel, _method: conversation.send(0, spec.Connection.Close(code, text, 0, 0))


def test_refused_port_is_told_and_tried_until_somebody_listens() -> None:
    async def inside() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        broker = FakeBroker()
        broker.port = port
        async with opened(settings_of(port, password=SECRET)) as peer:
            assert await told(peer, "cannot be reached") == f"Broker 127.0.0.1:{port} cannot be reached: Connection refused"
            async with broker.running():
                await connected(peer)

    asyncio.run(inside())


def test_name_that_does_not_resolve_is_told() -> None:
    async def inside() -> None:
        from asya_core.transports.rabbitmq import RabbitSettings

        async with opened(RabbitSettings(host="nowhere.invalid")) as peer:
            assert "nowhere.invalid:5672 cannot be reached" in await told(peer, "cannot be reached")

    asyncio.run(inside())


def test_server_that_says_nothing_is_given_up_in_time() -> None:
    async def test(broker: FakeBroker) -> None:
        broker.mute = True
        async with opened(settings_of(broker.port, connect_timeout_seconds=0.2)) as peer:
            await told(peer, "did not answer in time")
            broker.mute = False
            await connected(peer)

    run(test)


@pytest.mark.parametrize(
    ("method", "code", "text", "words"),
    [
        (
            spec.Connection.StartOk,
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN",
            "refused the user name or password",
        ),
        (spec.Connection.StartOk, 541, "INTERNAL_ERROR", "closed the connection: 541 INTERNAL_ERROR"),
        (spec.Connection.Open, 530, "NOT_ALLOWED - vhost x not found", "refused the vhost: NOT_ALLOWED - vhost x not found"),
        (
            spec.Connection.Open,
            530,
            "NOT_ALLOWED - access to vhost 'x' refused",
            "refused the vhost: NOT_ALLOWED - access to vhost 'x' refused",
        ),
        (spec.Channel.Open, 504, "CHANNEL_ERROR", "closed the connection: 504 CHANNEL_ERROR"),
        (spec.Confirm.Select, 541, "INTERNAL_ERROR", "closed the connection: 541 INTERNAL_ERROR"),
    ],
)
def test_broker_that_closes_while_connecting_is_told_with_its_words_and_tried_again(method: type, code: int, text: str, words: str) -> None:
    async def test(broker: FakeBroker) -> None:
        broker.answers[method] = close_with(code, text)
        async with opened(settings_of(broker.port, password=SECRET)) as peer:
            assert SECRET not in await told(peer, words)
            broker.answers.clear()
            await up(peer)

    run(test)


@pytest.mark.parametrize(
    "method", [spec.Connection.StartOk, spec.Connection.TuneOk, spec.Connection.Open, spec.Channel.Open, spec.Basic.Qos]
)
def test_socket_that_breaks_while_connecting_is_tried_again(method: type) -> None:
    async def test(broker: FakeBroker) -> None:
        broker.answers[method] = lambda conversation, _channel, _method: conversation.end()
        async with opened(settings_of(broker.port)) as peer:
            peer.transport.subscribe("q", 1)
            await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
            broker.answers.clear()
            await up(peer)
            await broker.until(lambda: len(broker.methods(spec.Basic.Consume)) > 0)

    run(test)


@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00", b"\x00" * 20])
def test_server_of_another_protocol_is_told(noise: bytes) -> None:
    async def inside() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(noise)
            with contextlib.suppress(OSError):
                await reader.read()

        server = Loopback(answer)
        await server.listen()
        async with opened(settings_of(server.port, connect_timeout_seconds=0.5)) as peer:
            await told(peer, "127.0.0.1")
        await server.end()

    asyncio.run(inside())


def test_broker_that_shuts_down_loses_the_receipts_and_is_found_again() -> None:
    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port)) as peer:
            await connected(peer)
            since = len(peer.events)
            for conversation in broker.connections:
                conversation.send(0, spec.Connection.Close(320, "CONNECTION_FORCED - broker forced connection closure", 0, 0))
            await connected(peer, since)
            events = peer.events[since:]
            reason = "closed the connection: 320 CONNECTION_FORCED - broker forced connection closure"
            assert {event.link for event in events if isinstance(event, Disconnected) and reason in event.reason} == set(Link)
            assert events.index(ReceiptsLost()) < events.index(Connected(Link.CONSUME))

    run(test)


@pytest.mark.slow
def test_silent_link_is_given_up_and_one_on_which_only_deliveries_come_is_not() -> None:
    """pika looks every heartbeat + 5 s, so this takes twice 6 s."""

    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, heartbeat_seconds=1)) as peer:
            peer.transport.subscribe("q", 10_000)
            await broker.until(lambda: len(broker.methods(spec.Basic.Consume)) > 0)
            (consuming,) = broker.named("consume")
            silent = asyncio.ensure_future(told(peer, "was silent", Link.PUBLISH))
            tag = 0
            while not silent.done():
                tag += 1
                consuming.deliver(1, tag)
                await asyncio.wait([silent], timeout=0.1)
            assert silent.result() == f"Broker 127.0.0.1:{broker.port} was silent for two heartbeats"
            assert not any(isinstance(event, Disconnected) and event.link is Link.CONSUME for event in peer.events)

    run(test, FakeBroker(heartbeat_seconds=1))


def test_blocked_link_holds_publishes_back_until_it_is_unblocked() -> None:
    async def test(broker: FakeBroker) -> None:
        broker.answers[spec.Basic.Publish] = acknowledge()
        async with opened(settings_of(broker.port)) as peer:
            await connected(peer)
            (publishing,) = broker.named("publish")
            publishing.send(0, spec.Connection.Blocked("low on memory"))
            await peer.until(lambda: Blocked() in peer.events)
            token = peer.send("q", b"1")
            await asyncio.sleep(0.05)
            assert broker.methods(spec.Basic.Publish) == []
            publishing.send(0, spec.Connection.Unblocked())
            await peer.until(lambda: token in peer.outcomes)
            assert peer.outcomes[token] == [PublishOutcome.CONFIRMED]
            assert Unblocked() in peer.events

    run(test)


def test_link_that_breaks_while_blocked_is_unblocked_by_that() -> None:
    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port)) as peer:
            await connected(peer)
            (publishing,) = broker.named("publish")
            publishing.send(0, spec.Connection.Blocked("low on disk"))
            await peer.until(lambda: Blocked() in peer.events)
            publishing.end()
            await peer.until(lambda: Unblocked() in peer.events)

    run(test)


def test_close_waits_not_long_for_a_broker_that_does_not_say_goodbye() -> None:
    async def test(broker: FakeBroker) -> None:
        broker.answers[spec.Connection.Close] = lambda *_: None
        async with opened(settings_of(broker.port)) as peer:
            await connected(peer)
            waiting = peer.send("q", b"1")
            await asyncio.wait_for(peer.close(), 10)
            assert peer.outcomes[waiting] == [PublishOutcome.LOST]

    run(test)


def acknowledge() -> Callable[[Conversation, int, Any], None]:
    """Confirms each publish of each channel."""
    counts: dict[tuple[Conversation, int], int] = {}

    def answer(conversation: Conversation, channel: int, _method: Any) -> None:
        tag = counts[conversation, channel] = counts.get((conversation, channel), 0) + 1
        conversation.send(channel, spec.Basic.Ack(tag))

    return answer


@pytest.mark.rabbitmq
def test_wrong_password_is_told_by_a_real_broker(server: Server) -> None:
    async def inside() -> None:
        async with opened(settings_of(server.port, username="asya", password=SECRET)) as peer:
            reason = await told(peer, "refused the user name or password")
            assert SECRET not in reason

    asyncio.run(inside())


@pytest.mark.rabbitmq
def test_vhost_that_is_missing_is_told_by_a_real_broker(server: Server) -> None:
    async def inside() -> None:
        async with opened(server.settings(vhost="none-such")) as peer:
            await told(peer, "none-such")

    asyncio.run(inside())


@pytest.mark.rabbitmq
def test_vhost_without_rights_is_told_by_a_real_broker(server: Server, user: str) -> None:
    async def inside() -> None:
        server.api("PUT", f"users/{user}", {"password": "x", "tags": ""})
        async with opened(settings_of(server.port, username=user, password="x")) as peer:
            await told(peer, "refused")

    asyncio.run(inside())


# -- TLS


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 or, with another name, for that; files of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


def tls_broker(folder: Path, name: str = "127.0.0.1") -> tuple[FakeBroker, Path]:
    ca, key = certificate(folder, name)
    broker = FakeBroker()
    broker.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    broker.tls.load_cert_chain(ca, key)
    return broker, ca


def test_certificate_that_the_ca_vouches_for_is_taken(tmp_path: Path) -> None:
    broker, ca = tls_broker(tmp_path)

    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, tls=True, tls_ca=str(ca))) as peer:
            await connected(peer)

    run(test, broker)


def test_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    broker, _ = tls_broker(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other", "127.0.0.1")

    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, tls=True, tls_ca=str(other))) as peer:
            await told(peer, "certificate that is not trusted: self-signed certificate")
            assert all(not each.frames for each in broker.connections)

    run(test, broker)


def test_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    broker, ca = tls_broker(tmp_path, "broker.example")

    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, tls=True, tls_ca=str(ca))) as peer:
            await told(peer, "certificate that is not trusted: IP address mismatch")

    run(test, broker)


def test_plain_server_where_tls_is_expected_is_told() -> None:
    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, tls=True, connect_timeout_seconds=0.5)) as peer:
            await told(peer, f"127.0.0.1:{broker.port} does not speak TLS as expected")

    run(test)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unreadable_ca_file_is_named_and_may_come_later(tmp_path: Path, content: str | None) -> None:
    broker, ca = tls_broker(tmp_path)
    file = tmp_path / "late.pem"
    if content is not None:
        file.write_text(content)

    async def test(broker: FakeBroker) -> None:
        async with opened(settings_of(broker.port, tls=True, tls_ca=str(file))) as peer:
            assert str(file) in await told(peer, "CA file")
            file.write_bytes(ca.read_bytes())
            await connected(peer)

    run(test, broker)


# -- errors in words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "was lost"),
        (exceptions.AMQPConnectionError(OSError(113, "No route to host")), "cannot be reached: No route to host"),
        (exceptions.StreamLostError("x"), "was lost"),
        (exceptions.AMQPHeartbeatTimeout("x"), "silent for two heartbeats"),
        (exceptions.AMQPConnectionError(exceptions.ConnectionClosedByBroker(320, "bye")), "closed the connection: 320 bye"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_error_is_described_by_its_innermost_cause(error: BaseException | None, words: str) -> None:
    assert words in describe(error, settings_of(1, password=SECRET))


# -- administration


def administer(broker: FakeBroker, call: Callable[[RabbitAdmin], object]) -> Coroutine[Any, Any, object]:
    def inside() -> object:
        admin = RabbitAdmin(settings_of(broker.port, connect_timeout_seconds=5.0))
        try:
            return call(admin)
        finally:
            admin.close()

    return asyncio.to_thread(inside)


@pytest.mark.parametrize(
    ("code", "text", "kind", "words"),
    [
        (404, "NOT_FOUND - no queue 'q'", Refused, "no queue 'q'"),
        (403, "ACCESS_REFUSED - access to queue 'q' refused", Refused, "access to queue 'q' refused"),
        (405, "RESOURCE_LOCKED - cannot obtain exclusive access", Refused, "405 RESOURCE_LOCKED"),
    ],
)
def test_administration_translates_a_closed_channel(code: int, text: str, kind: type[Exception], words: str) -> None:
    async def test(broker: FakeBroker) -> None:
        broker.answers[spec.Queue.Declare] = lambda conversation, channel, _method: conversation.send(
            channel, spec.Channel.Close(code, text, 50, 10)
        )
        with pytest.raises(kind, match=words):
            await administer(broker, lambda admin: admin.glance("q"))

    run(test)


def test_administration_tells_an_absent_broker() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="cannot be reached"):
            RabbitAdmin(settings_of(free.getsockname()[1])).glance("q")


def test_administration_tries_once_more_if_its_connection_died_meanwhile() -> None:
    async def test(broker: FakeBroker) -> None:
        def twice(admin: RabbitAdmin) -> object:
            first = admin.glance("q")
            asyncio.run_coroutine_threadsafe(end_all(), loop).result(10)
            return first, admin.glance("q")

        async def end_all() -> None:
            for conversation in broker.connections:
                conversation.end()

        loop = asyncio.get_running_loop()
        assert await administer(broker, twice) == ((0, 0), (0, 0))
        assert len(broker.connections) == 2

    run(test)
