"""Composition root: builds the ports from the settings, starts and stops them. Called by `__main__`.

Start: nothing waits for anything. Broker, runtime and gateway may all be away; each is connected to for ever, and ``/ready`` says what is
missing. Stop: SIGTERM, SIGINT or the end of the parent's descriptor ask for a drain; the decisions say when to leave; the time is bounded
by the grace period.
"""

import asyncio
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

import asya_core
from asya_core.ops.logs import Log
from asya_core.transports.base import Transport
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import queue_name
from asya_sidecar.consume import Consumer
from asya_sidecar.decide import Decider
from asya_sidecar.effects import DrainRequested, Effect, GraceOver
from asya_sidecar.health import HealthServer
from asya_sidecar.metrics import SidecarMetrics
from asya_sidecar.perform import Performer
from asya_sidecar.runtime_client import RuntimeClient
from asya_sidecar.settings import SidecarSettings, make_policy

if TYPE_CHECKING:  # imported at run time only where a gateway, a claim storage or tracing is set
    from asya_core.ops.tracing import Tracing
    from asya_sidecar.claim_store import ClaimStore
    from asya_sidecar.reporter import Reporter

__all__ = ["EXIT_BUG", "Sidecar", "make_transport"]

EXIT_BUG: Final = 70
"""Exit code after a broken invariant of ours (EX_SOFTWARE of sysexits.h). Nothing was settled, so everything comes again."""
_SYSTEMS: Final = {"rabbitmq": "rabbitmq", "sqs": "aws_sqs", "embedded": "asya_embedded"}
"""Transports as OpenTelemetry's attribute ``messaging.system`` names them; the last one it does not know."""
_GRACE_MARGIN_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 3.0
"""For the last acks and requeues to leave, and the last progress reports and spans."""

Perform = Callable[[list[Effect]], None]


class Sidecar:
    """One sidecar process.

    Args:
        settings: what it was told.
        log: bound to the actor.
        wrap: what stands between decisions and their performing; tests put crash points there.
    """

    def __init__(self, settings: SidecarSettings, log: Log, *, wrap: Callable[[Perform], Perform] = lambda perform: perform) -> None:
        self._settings = settings
        self._log = log
        self._wrap = wrap
        self._leaving = asyncio.Event()
        self._transport_closed = asyncio.Event()
        self._exit_code = 0
        self._is_draining = False

    async def run(self) -> int:
        """Serve until drained; gives the exit code. Raises RemoteFault ``bad_setting`` if a setting cannot work on this machine."""
        settings = self._settings
        asyncio.get_running_loop().set_exception_handler(self._escaped)
        metrics = SidecarMetrics(settings.actor)
        transport = make_transport(settings, counted=metrics.transport_calls.add)
        traces = _make_traces(settings, metrics, self._log)
        decider = _make_decider(settings, traces)
        consumer = Consumer(decider, metrics=metrics, log=self._log, closed=self._transport_closed.set, failed=self._failed)
        runtime = RuntimeClient(
            str(settings.socket),
            actor=settings.actor,
            version=asya_core.__version__,
            max_frame_bytes=settings.max_frame_bytes,
            sink=consumer.take,
            log=self._log,
        )
        reporter = _make_reporter(settings, consumer, metrics, self._log)
        claims = _make_claims(settings, consumer, metrics, self._log)
        performer = Performer(
            transport=transport,
            queue=queue_name(settings.namespace, settings.actor),
            runtime=runtime,
            reporter=reporter,
            claims=claims,
            traces=traces,
            sink=consumer.take,
            leave=self._leaving.set,
            log=self._log,
            log_fine=settings.log_deliveries == "all",
            metrics=metrics,
            published=consumer.publish_sent,
        )
        consumer.attach(self._wrap(performer.perform))

        def metrics_text() -> str:
            metrics.read(decider)
            return metrics.registry.text()

        health = HealthServer(lambda: [*([f"runtime: {runtime.problem}"] if runtime.problem else []), *consumer.problems()], metrics_text)
        port = await _listen(health, settings)
        self._log.info("started", transport=settings.transport, health_port=port, version=asya_core.__version__, pid=os.getpid())
        self._hear_signals(consumer)
        transport.open(consumer.take_transport)
        runtime.start()
        gc.collect()
        gc.freeze()
        await self._leaving.wait()
        transport.close()
        async with asyncio.TaskGroup() as group:
            group.create_task(_within(_CLOSE_SECONDS, self._transport_closed))
            if reporter is not None:
                group.create_task(reporter.close(_CLOSE_SECONDS))
            if traces is not None:
                group.create_task(traces.close(_CLOSE_SECONDS))
        if claims is not None:
            claims.close()
        runtime.stop()
        performer.close()
        health.close()
        self._log.info("stopped", exit_code=self._exit_code)
        return self._exit_code

    def _hear_signals(self, consumer: Consumer) -> None:
        loop = asyncio.get_running_loop()

        def drain(reason: str) -> None:
            if self._is_draining:
                return
            self._is_draining = True
            self._log.info("draining", reason=reason)
            grace = max(0.0, self._settings.grace_seconds - _GRACE_MARGIN_SECONDS)
            loop.call_later(grace, consumer.take, GraceOver())
            consumer.take(DrainRequested(final=True))

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, drain, number.name)
        descriptor = self._settings.parent_fd
        if descriptor is not None:

            def parent_readable() -> None:
                with suppress(BlockingIOError):
                    if not os.read(descriptor, 4096):
                        loop.remove_reader(descriptor)
                        drain("the parent has ended")

            try:
                os.set_blocking(descriptor, False)
                loop.add_reader(descriptor, parent_readable)
            except OSError as error:
                raise RemoteFault(
                    "bad_setting", f"ASYA_PARENT_FD {descriptor} cannot be read: {error.strerror}", "leave it unset"
                ) from error

    def _escaped(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that a callback or a task let go. Whatever it was to bring about will not come: as bad as a broken invariant."""
        error = context.get("exception")
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self._failed(error)
        else:  # a socket that broke while it was closed, a task that a closing loop left
            self._log.warning("log", reason=f"{context.get('message')}: {error}")

    def _failed(self, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        self._log.error("bug", reason=f"{type(error).__name__}: {error}", traceback=trace)
        self._exit_code = EXIT_BUG
        self._leaving.set()


def make_transport(settings: SidecarSettings, *, counted: Callable[[str], None] = lambda _action: None) -> Transport:
    """The transport of the settings. Imports that one only: the other's client library costs memory and start-up time.

    Args:
        settings: which, and where.
        counted: told each API call of a transport whose calls are billed.
    """
    match settings.transport:
        case "embedded":
            from asya_core.transports.embedded import EmbeddedTransport

            assert settings.embedded_path is not None
            return EmbeddedTransport(settings.embedded_path, sync=settings.embedded_sync, max_message_bytes=settings.max_message_bytes)
        case "rabbitmq":
            return _rabbitmq(settings)
        case "sqs":
            from asya_core.transports.sqs import SqsSettings, SqsTransport

            return SqsTransport(
                SqsSettings(
                    region=settings.sqs_region,
                    endpoint=settings.sqs_endpoint,
                    visibility_seconds=round(settings.sqs_visibility_seconds),
                    max_message_bytes=settings.max_message_bytes,
                ),
                probe_queue=queue_name(settings.namespace, settings.actor),
                counted=counted,
            )
        case other:
            raise RemoteFault("bad_setting", f"ASYA_TRANSPORT is {other!r}; expected rabbitmq, sqs or embedded")


def _rabbitmq(settings: SidecarSettings) -> Transport:
    from asya_core.transports.rabbitmq import QueueType, RabbitSettings, RabbitTransport

    username, password = settings.rabbitmq_username, settings.rabbitmq_password
    user_file, password_file = settings.rabbitmq_username_file, settings.rabbitmq_password_file
    credentials = {
        **({"username": username} if username else {}),
        **({"password": password} if password else {}),
        **({"username_file": str(user_file)} if user_file else {}),
        **({"password_file": str(password_file)} if password_file else {}),
    }
    assert settings.rabbitmq_address is not None
    return RabbitTransport(
        RabbitSettings.from_address(
            settings.rabbitmq_address,
            vhost=settings.rabbitmq_vhost,
            namespace=settings.namespace,
            credentials_dir=str(settings.rabbitmq_credentials_dir) if settings.rabbitmq_credentials_dir else None,
            tls_ca=str(settings.rabbitmq_tls_ca) if settings.rabbitmq_tls_ca else None,
            queue_type=QueueType(settings.rabbitmq_queue_type),
            max_message_bytes=settings.max_message_bytes,
            handler_timeout_seconds=settings.timeout_seconds,
            client_name=f"asya-sidecar {settings.namespace}/{settings.actor}",
            **credentials,
        )
    )


def _make_reporter(settings: SidecarSettings, consumer: Consumer, metrics: SidecarMetrics, log: Log) -> "Reporter | None":
    if settings.gateway_url is None:
        return None
    from asya_sidecar.reporter import GatewayConnection, Reporter

    url, token_file = settings.gateway_url, settings.gateway_token_file
    return Reporter(
        lambda: GatewayConnection(url, token_file),
        actor=settings.actor,
        sink=consumer.take,
        log=log,
        dropped=lambda count: metrics.progress_dropped.add(by=count),
        reported=lambda answer: metrics.final_reports.add(answer),
        wall=time.time,
    )


def _make_traces(settings: SidecarSettings, metrics: SidecarMetrics, log: Log) -> "Tracing | None":
    if settings.otlp_endpoint is None and settings.otlp_traces_endpoint is None:
        return None
    from asya_core.ops.tracing import open_tracing

    resource = {"service.name": settings.actor, "service.namespace": settings.namespace, "service.version": asya_core.__version__}
    return open_tracing(
        os.environ, resource=resource, version=asya_core.__version__, log=log, counted=lambda fate, count: metrics.spans.add(fate, by=count)
    )


def _make_decider(settings: SidecarSettings, traces: "Tracing | None") -> Decider:
    policy = make_policy(settings)
    if traces is None:
        return Decider(policy, Random())
    from asya_sidecar.traced import TracedDecider, TracePolicy

    tracing = TracePolicy(samples=traces.samples, attributes={"messaging.system": _SYSTEMS[settings.transport]})
    return TracedDecider(policy, Random(), tracing)


def _make_claims(settings: SidecarSettings, consumer: Consumer, metrics: SidecarMetrics, log: Log) -> "ClaimStore | None":
    if settings.claim_url is None:
        return None
    from asya_core.objects import S3Access, open_store, parse_location
    from asya_sidecar.claim_store import ClaimStore

    region = settings.claim_region or os.environ.get("AWS_REGION") or None  # boto3 does not read it, and pod identity sets it
    access = S3Access(region=region, endpoint=settings.claim_endpoint, path_style=settings.claim_endpoint is not None)
    objects = open_store(parse_location(settings.claim_url), access)
    return ClaimStore(objects, sink=consumer.take, log=log, moved=lambda op, count: metrics.claim_bytes.add(op, by=count))


async def _listen(health: HealthServer, settings: SidecarSettings) -> int | None:
    if settings.health_listen is None:
        return None
    try:
        return await health.start(settings.health_listen)
    except OSError as error:
        where = f"{settings.health_listen.host}:{settings.health_listen.port}"
        raise RemoteFault(
            "bad_setting", f"ASYA_HEALTH_LISTEN {where} cannot be had: {os.strerror(error.errno or 0)}", "choose another port, or off"
        ) from error


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
