"""The gateway process: builds the ports, starts two sockets and the loops, stops them in order. Called by `__main__`."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from asya_core import __version__
from asya_core.objects import ObjectStore, S3Access, open_store
from asya_core.ops.clock import Clock, SystemClock
from asya_core.ops.logs import Log
from asya_core.ops.settings import Listen
from asya_core.ops.tracing import Tracing, open_tracing
from asya_core.transports.base import PublishOutcome, Transport
from asya_core.wire.errors import AsyaError, RemoteFault
from asya_core.wire.names import HAPPY_END, queue_name
from asya_gateway.claims import Claims
from asya_gateway.http.auth import ApiKeys, Authenticator, FileKey, MeshToken, Nobody, OAuth
from asya_gateway.http.errors import refused, unexpected
from asya_gateway.http.front import Front, Hosts
from asya_gateway.http.internal import Internal, Readiness, internal_app
from asya_gateway.http.limits import StreamSlots
from asya_gateway.http.login import Login
from asya_gateway.http.mcp import Mcp
from asya_gateway.http.metadata import Metadata
from asya_gateway.http.page import Page
from asya_gateway.http.rest import Rest, not_found
from asya_gateway.http.tokens import TokenChecker, issuer_of
from asya_gateway.metrics import GatewayMetrics
from asya_gateway.publisher import Publisher
from asya_gateway.reload import Tools
from asya_gateway.service import Measures, Service
from asya_gateway.settings import GatewaySettings
from asya_gateway.status import Status
from asya_gateway.store.base import Store
from asya_gateway.store.measured import MeasuredStore
from asya_gateway.store.sqlite import SqliteStore
from asya_gateway.streams import Streams
from asya_gateway.sweeper import Sweeper
from asya_gateway.traces import Traces

__all__ = ["Gateway", "make_store", "make_transport"]

_MAX_INCOMPLETE_HEADER_BYTES: Final = 32 * 1024
_KEEP_ALIVE_SECONDS: Final = 75
_MAX_CONNECTIONS: Final = 12_000
_DRAIN_SECONDS: Final = 10
_BACKLOG: Final = 2_048
_SYSTEMS: Final = {"rabbitmq": "rabbitmq", "sqs": "aws_sqs", "embedded": "asya_embedded"}
"""Transports as OpenTelemetry's attribute ``messaging.system`` names them; the last one it does not know."""
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Gateway:
    """One replica.

    Args:
        settings: see there.
        log: bound to nothing yet.
    """

    def __init__(self, settings: GatewaySettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._leaving = asyncio.Event()
        self._reason = ""

    async def run(self) -> int:
        """Serve until a signal; gives the exit code.

        Raises RemoteFault ``bad_setting``, ``bad_tools``, ``bad_keys``, Refused of the store: what a start cannot mend.
        """
        settings, clock = self._settings, SystemClock()
        metrics = GatewayMetrics()
        tools = Tools(settings.tools, log=self._log, counted=lambda outcome: metrics.reloads.add(outcome))
        tools.load()
        public_auth, internal_auth = make_public_auth(settings, self._log), make_internal_auth(settings)
        store = MeasuredStore(make_store(settings), read=metrics.store_read_seconds.observe, written=metrics.store_write_seconds.observe)
        await store.open()
        streams = Streams()

        def ended(status: Status, ids: list[str]) -> None:
            metrics.ended.add(status.value, by=len(ids))
            streams.notify(ids)

        tracing = make_tracing(settings, metrics, self._log)
        traces = None if tracing is None else make_traces(settings, tracing)
        publisher = Publisher(
            make_transport(settings),
            namespace=settings.namespace,
            store=store,
            clock=clock,
            log=self._log,
            changed=lambda ids: ended(Status.FAILED, ids),
            published=lambda outcome: metrics.publishes.add(outcome),
            settled=None if traces is None else _settled(traces, clock),
        )
        service = Service(
            store=store,
            tools=tools,
            publisher=publisher,
            streams=streams,
            clock=clock,
            log=self._log,
            measures=_measures(metrics),
            records=make_records(settings),
            claims=make_claims(settings, publisher.max_message_bytes, self._log),
            traces=traces,
        )
        sweeper = Sweeper(
            store,
            clock=clock,
            log=self._log,
            changed=lambda ids: ended(Status.EXPIRED, ids),
            retention_seconds=settings.retention_seconds,
            retention_failed_seconds=settings.retention_failed_seconds,
        )
        slots = StreamSlots(settings.limits)
        hosts = Hosts(settings.hosts)
        mcp = Mcp(service, slots, hosts=hosts, max_body_bytes=settings.max_body_bytes, poll_tools=settings.poll_tools)
        tools.changed = mcp.tools_changed
        login = Login(
            public_auth, kind=settings.auth, namespace=settings.namespace, has_records=service.has_records, log=self._log, wall=clock.wall
        )
        public = self._public_app(Rest(service, slots), login, mcp, hosts, public_auth, metrics)

        async def refresh() -> None:
            metrics.streams.set(slots.total)
            metrics.tools.set(len(tools.registry.tools))
            metrics.tools_refused.set(1 if tools.problem else 0)
            waiting, age = await service.outbox()
            metrics.outbox.set(waiting)
            metrics.outbox_age.set(age)

        internal = Internal(
            service,
            authenticator=internal_auth,
            metrics=metrics,
            checks=_checks(service, tools, publisher),
            max_result_bytes=settings.max_inline_result_bytes,
            refresh=refresh,
        )
        public_socket = _bind(settings.public, "ASYA_GATEWAY_LISTEN")
        internal_socket = _bind(settings.internal, "ASYA_GATEWAY_INTERNAL_LISTEN")
        servers = [_Server(public, public_socket), _Server(internal_app(internal), internal_socket)]
        self._hear_signals()
        gc.collect()
        gc.freeze()  # what lives as long as the process is looked at no more: a collection among thousands of streams takes a moment less
        self._log.info(
            "started",
            public=public_socket.getsockname()[1],
            internal=internal_socket.getsockname()[1],
            tools=len(tools.registry.tools),
            store=settings.store,
            auth=settings.auth,
            pid=os.getpid(),
        )
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(work) for work in (service.run(), publisher.run(), sweeper.run(), streams.watch(store), tools.run())]
            serving = [group.create_task(server.serve()) for server in servers]
            await self._leaving.wait()
            self._log.info("draining", reason=self._reason)
            streams.drain()
            mcp.drain()
            for server in servers:
                server.should_exit = True
            await asyncio.wait(serving)
            for loop in loops:
                loop.cancel()
        await publisher.close(3.0)
        if tracing is not None:
            await tracing.close(3.0)
        await store.close()
        self._log.info("stopped")
        return 0

    def _public_app(
        self, rest: Rest, login: Login, mcp: Mcp, hosts: Hosts, authenticator: Authenticator, metrics: GatewayMetrics
    ) -> ASGIApp:
        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            async with mcp.running():
                yield

        app = Starlette(
            routes=[*mcp.routes(), *rest.routes(), *login.routes(), *Page().routes(), *self._metadata().routes()],
            exception_handlers={HTTPException: not_found, AsyaError: refused, Exception: unexpected},
            lifespan=lifespan,
        )
        app.router.redirect_slashes = False

        def counted(route: str, status: int, seconds: float) -> None:
            metrics.requests.add("public", route, str(status))
            if not route.endswith("/stream"):
                metrics.request_seconds.observe(seconds)

        return Front(
            app,
            authenticator=authenticator,
            hosts=hosts,
            limits=self._settings.limits,
            log=self._log,
            counted=counted,
            refused=lambda code: metrics.refusals.add(code),
        )

    def _metadata(self) -> Metadata:
        settings = self._settings
        is_oauth = settings.auth == "oauth"
        return Metadata(oauth_resource(settings) if is_oauth else None, settings.oauth_issuer)

    def _leave(self, reason: str) -> None:
        if not self._leaving.is_set():
            self._reason = reason
            self._leaving.set()

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave, number.name)
        descriptor = self._settings.parent_fd
        if descriptor is None:
            return

        def parent_readable() -> None:
            with suppress(BlockingIOError):
                if not os.read(descriptor, 4096):
                    loop.remove_reader(descriptor)
                    self._leave("the parent has ended")

        try:
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, parent_readable)
        except OSError as error:
            raise RemoteFault("bad_setting", f"ASYA_PARENT_FD {descriptor} cannot be read: {error.strerror}", "leave it unset") from error


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers would take them from one another and from us."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on" if isinstance(app, Front) else "off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=_MAX_INCOMPLETE_HEADER_BYTES,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
                ws="none",
            )
        )
        self._listening = listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `Gateway` owns them."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on the socket that was bound before."""
        await super().serve(sockets=[self._listening])


def make_tracing(settings: GatewaySettings, metrics: GatewayMetrics, log: Log) -> Tracing | None:
    """The way out for spans; None without an endpoint. In a running loop. Raises RemoteFault ``bad_setting``."""
    if settings.otlp_endpoint is None and settings.otlp_traces_endpoint is None:
        return None
    resource = {"service.name": "asya-gateway", "service.namespace": settings.namespace, "service.version": __version__}
    return open_tracing(
        os.environ, resource=resource, version=__version__, log=log, counted=lambda fate, count: metrics.spans.add(fate, by=count)
    )


def make_traces(settings: GatewaySettings, tracing: Tracing) -> Traces:
    """What makes spans of calls."""
    return Traces(
        Random(),
        samples=tracing.samples,
        export=tracing.export,
        namespace=settings.namespace,
        attributes={"messaging.system": _SYSTEMS[settings.transport]},
    )


def _settled(traces: Traces, clock: Clock) -> Callable[[str, PublishOutcome], None]:
    def settled(envelope_id: str, outcome: PublishOutcome) -> None:
        if outcome in (PublishOutcome.CONFIRMED, PublishOutcome.TOO_LARGE):  # after any other it is published again
            error = None if outcome is PublishOutcome.CONFIRMED else outcome.value
            traces.published(envelope_id, error, int(clock.wall() * 1e6))

    return settled


def make_store(settings: GatewaySettings, *, migrating: bool = False) -> Store:
    """The store of the settings; `migrating` lets it change the schema, which SQLite always may."""
    if settings.store == "sqlite":
        return SqliteStore(settings.sqlite_path)
    from asya_gateway.store.postgres import PostgresStore

    assert settings.postgres_url_file is not None
    return PostgresStore(settings.postgres_url_file, migrating=migrating)


def make_records(settings: GatewaySettings) -> ObjectStore | None:
    """Where the end actors store, if the gateway may read there."""
    if settings.results is None:
        return None
    access = S3Access(region=settings.results_s3_region, endpoint=settings.results_s3_endpoint, path_style=settings.results_s3_path_style)
    return open_store(settings.results, access)


def make_claims(settings: GatewaySettings, max_message_bytes: int, log: Log) -> Claims:
    """Where large payloads wait, if the settings name a storage."""
    objects = None
    if settings.claim_url is not None:
        endpoint = settings.claim_endpoint
        access = S3Access(region=settings.claim_region or settings.sqs_region, endpoint=endpoint, path_style=endpoint is not None)
        objects = open_store(settings.claim_url, access)
    return Claims(objects, threshold_bytes=settings.claim_threshold_bytes, max_message_bytes=max_message_bytes, log=log)


def make_transport(settings: GatewaySettings) -> Transport:
    """The transport of the settings. Imports that one only."""
    if settings.transport == "sqs":
        from asya_core.transports.sqs import SqsSettings, SqsTransport

        return SqsTransport(
            SqsSettings(region=settings.sqs_region, endpoint=settings.sqs_endpoint, max_message_bytes=settings.broker_max_bytes),
            probe_queue=queue_name(settings.namespace, HAPPY_END),
        )
    if settings.transport == "embedded":
        from asya_core.transports.embedded import EmbeddedTransport

        assert settings.embedded_path is not None
        return EmbeddedTransport(settings.embedded_path, max_message_bytes=settings.max_message_bytes)
    from asya_core.transports.rabbitmq import RabbitSettings, RabbitTransport

    given = {
        "username": settings.rabbitmq_username,
        "password": settings.rabbitmq_password,
        "username_file": settings.rabbitmq_username_file,
        "password_file": settings.rabbitmq_password_file,
        "credentials_dir": settings.rabbitmq_credentials_dir,
        "tls_ca": settings.rabbitmq_tls_ca,
    }
    assert settings.rabbitmq_address is not None
    return RabbitTransport(
        RabbitSettings.from_address(
            settings.rabbitmq_address,
            vhost=settings.rabbitmq_vhost,
            namespace=settings.namespace,
            max_message_bytes=settings.max_message_bytes,
            client_name=f"asya-gateway {settings.namespace}",
            **{name: str(value) for name, value in given.items() if value is not None},
        )
    )


def make_public_auth(settings: GatewaySettings, log: Log) -> Authenticator:
    """Tells who calls. Raises RemoteFault ``bad_keys``."""
    match settings.auth:
        case "none":
            return Nobody()
        case "oauth":
            assert settings.oauth_issuer is not None
            assert settings.oauth_audience is not None
            assert settings.oauth_jwks_url is not None
            checker = TokenChecker(issuer=settings.oauth_issuer, audience=settings.oauth_audience, jwks_url=settings.oauth_jwks_url)
            return OAuth(checker, f"{oauth_resource(settings)}/.well-known/oauth-protected-resource")
        case _:
            keys = ApiKeys(settings.keys_file, log)
            keys.load()
            return keys


def oauth_resource(settings: GatewaySettings) -> str:
    """Public address of this gateway as OAuth clients know it."""
    return (settings.oauth_resource or settings.oauth_audience or "").rstrip("/").removesuffix("/mcp")


def make_internal_auth(settings: GatewaySettings) -> Authenticator:
    """Tells whether a report is of the mesh. Raises RemoteFault ``bad_keys``."""
    match settings.internal_auth:
        case "none":
            return Nobody()
        case "key":
            key = FileKey(settings.internal_key_file)
            key.load()
            return key
        case _:
            token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
            issuer = settings.internal_issuer or (issuer_of(token.read_text(encoding="utf-8")) if token.exists() else None)
            if issuer is None:
                raise RemoteFault(
                    "bad_setting",
                    f"ASYA_GATEWAY_INTERNAL_ISSUER is not set and {token} names no issuer",
                    "mount the service account's token, set the issuer, or use ASYA_GATEWAY_INTERNAL_AUTH=key",
                )
            return MeshToken(
                TokenChecker(
                    issuer=issuer,
                    audience=settings.internal_audience,
                    jwks_url=settings.internal_jwks_url,
                    token_file=token if token.exists() else None,
                    ca_file=authority if authority.exists() else None,
                ),
                settings.namespace,
            )


def _measures(metrics: GatewayMetrics) -> Measures:
    def ended(status: str, seconds: float) -> None:
        metrics.ended.add(status)
        metrics.envelope_seconds.observe(seconds)

    return Measures(
        called=lambda tool: metrics.calls.add(tool),
        ended=ended,
        reports=lambda count: metrics.reports.add(by=count),
        late=lambda: metrics.late.add(),
    )


def _checks(service: Service, tools: Tools, publisher: Publisher) -> tuple[Readiness, ...]:
    async def store() -> str:
        try:
            async with asyncio.timeout(2.0):
                await service.check()
        except TimeoutError:
            return "no answer within 2 s"
        except AsyaError as error:
            return error.message
        return ""

    async def loaded() -> str:
        return tools.problem

    async def broker() -> str:
        return publisher.problem

    return (
        Readiness(name="store", check=store),
        Readiness(name="tools", check=loaded, is_vital=False),
        Readiness(name="broker", check=broker, is_vital=False),
    )


def _bind(where: Listen | None, name: str) -> socket.socket:
    assert where is not None
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((where.host, where.port))
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no address"
        raise RemoteFault("bad_setting", f"{name} {where.host}:{where.port} cannot be had: {reason}", "choose another address") from error
    listening.listen(_BACKLOG)
    return listening
