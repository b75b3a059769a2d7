# ruff: noqa: RUF009 - a row is frozen, one per field
"""The sidecar's settings: one table, read once by `__main__`; and the policy that decisions need, made from them.

The reference page docs/reference/sidecar.md holds the table; a test compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asya_core.ops.settings import (
    Listen,
    choice,
    duration,
    integer,
    json_object,
    listen,
    parse_duration,
    path,
    read_settings,
    setting,
    size,
    text,
    url,
)
from asya_core.ops.tracing import otlp_endpoint, otlp_traces_endpoint
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import MAX_ACTOR_LENGTH, check_namespace, is_actor
from asya_sidecar.policy import Policy
from asya_sidecar.retry import RetryPolicy

__all__ = ["SidecarSettings", "make_policy", "read_sidecar_settings"]

_DAY: Final = 86_400.0
_MIB: Final = 1024 * 1024
_SQS_TIMEOUT_SECONDS: Final = 11 * 3600.0
_SQS_MAX_BYTES: Final = _MIB
"""Of one message (asya_core.transports.sqs.settings); not imported, since that is for who uses it."""
_SQS_THRESHOLD_BYTES: Final = 200_000
"""SQS bills each 64 KiB, and a batch holds 1 MiB: five of these still travel together."""
_FRAME_ROOM_BYTES: Final = 131_072
"""Room in a frame beside a payload that was fetched: the rest of its envelope."""


def _is_namespace(name: str) -> bool:
    try:
        check_namespace(name)
    except RemoteFault:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SidecarSettings:
    """What the sidecar is told by its environment; each field's meaning is in its row."""

    actor: str = setting(
        "ASYA_ACTOR",
        text(f"an actor's name: [a-z]([-a-z0-9]*[a-z0-9])?, at most {MAX_ACTOR_LENGTH} characters", check=is_actor),
        "Name of this actor; its queue is `asya-{namespace}-{actor}`.",
        required=True,
    )
    namespace: str = setting(
        "ASYA_NAMESPACE", text("a namespace's name (RFC 1123 label)", check=_is_namespace), "Namespace of all queues.", required=True
    )
    transport: str = setting("ASYA_TRANSPORT", choice("rabbitmq", "sqs", "embedded"), "What moves the messages.", required=True)
    timeout_seconds: float = setting(
        "ASYA_TIMEOUT",
        duration(0.001, _DAY, "more than 0, at most 24h"),
        "Limit of one run of the handler; on SQS at most 11h, since a message cannot stay in flight for more than 12h.",
        default="5m",
    )
    grace_seconds: float = setting(
        "ASYA_GRACE",
        duration(6.0, 2 * _DAY, "from 6s to 48h"),
        "The pod's grace period; 5 s before its end the sidecar leaves with what is open unsettled. Default: the default timeout and 30 s.",
        default="330s",
    )
    retry: dict[str, Any] = setting(
        "ASYA_RETRY",
        json_object(),
        'Which exceptions of the handler are tried again: `{"maxAttempts": 3, "backoff": {"initial": "1s", "factor": 2, "max": "5m"}, '
        '"include": ["TimeoutError"], "exclude": []}`, every key optional.',
        default="{}",
    )
    max_deliveries: int = setting(
        "ASYA_MAX_DELIVERIES",
        integer(1, 1_000_000),
        "Deliveries of one message before it is an error; at least `maxAttempts` + 10 count. Off for end actors.",
        default="20",
    )
    max_hops: int = setting("ASYA_MAX_HOPS", integer(1, 1_000_000), "Publishes of one envelope before it is an error.", default="10000")
    unroutable_tries: int = setting(
        "ASYA_UNROUTABLE_TRIES",
        integer(0, 1000),
        "Publishes after the first one to a queue that does not exist; the default's delays add up to 95 s, time to declare it anew.",
        default="7",
    )
    prefetch: int | None = setting(
        "ASYA_PREFETCH",
        integer(1, 10_000, word="auto"),
        "Unsettled deliveries at a time; `auto` follows the handler's time: many for fast ones, no hoarding by slow ones.",
        default="auto",
    )
    publish_window: int = setting("ASYA_PUBLISH_WINDOW", integer(1, 10_000), "Publishes without confirm at a time.", default="200")
    max_message_bytes: int = setting(
        "ASYA_MAX_MESSAGE_BYTES",
        size(1024, 512 * _MIB),
        "A larger output is not sent and becomes `payload_too_large`; the default is RabbitMQ 4's limit. SQS takes 1 MiB, whatever stands "
        "here.",
        default="16Mi",
    )
    socket: Path = setting("ASYA_SOCKET", path(), "Unix socket of the runtime.", default="/var/run/asya/runtime.sock")
    max_frame_bytes: int = setting(
        "ASYA_MAX_FRAME_BYTES", size(1024, 1024 * _MIB), "Largest frame between sidecar and runtime; the same on both.", default="64Mi"
    )
    claim_url: str | None = setting(
        "ASYA_CLAIM_URL",
        text("s3://bucket/prefix or file:///folder", check=lambda value: value.startswith(("s3://", "file:///"))),
        "Where large payloads are kept while a reference travels: `s3://bucket/prefix`, or `file:///folder`, a volume that all actors "
        "mount; absent: all payloads travel.",
    )
    claim_threshold: int | None = setting(
        "ASYA_CLAIM_THRESHOLD",
        size(1024, 512 * _MIB),
        "Bytes from which on a payload is large; less than `ASYA_MAX_MESSAGE_BYTES`; absent: half of that, on SQS 200 kB.",
    )
    claim_region: str | None = setting(
        "ASYA_CLAIM_REGION", text(), "Region of the bucket; absent: `AWS_REGION`, else boto3's own settings."
    )
    claim_endpoint: str | None = setting(
        "ASYA_CLAIM_ENDPOINT", url("http", "https"), "Address of an S3-compatible storage, with the bucket in the path; absent: AWS."
    )
    gateway_url: str | None = setting("ASYA_GATEWAY_URL", url("http", "https"), "The gateway's internal address; absent: no reports.")
    gateway_token_file: Path | None = setting(
        "ASYA_GATEWAY_TOKEN_FILE", path(), "File with the bearer token for the gateway; read again when it has changed."
    )
    health_listen: Listen | None = setting(
        "ASYA_HEALTH_LISTEN",
        listen(),
        "Address of `/live`, `/ready` and `/metrics`; `off` for none, port 0 for any free one.",
        default=":9464",
    )
    log_level: str = setting("ASYA_LOG_LEVEL", choice("debug", "info", "warning", "error"), "Least level that is logged.", default="info")
    log_deliveries: str = setting(
        "ASYA_LOG_DELIVERIES", choice("all", "failures"), "`failures` leaves out the lines of deliveries that went well.", default="all"
    )
    otlp_endpoint: str | None = otlp_endpoint()
    otlp_traces_endpoint: str | None = otlp_traces_endpoint()
    rabbitmq_address: str | None = setting(
        "ASYA_RABBITMQ_ADDRESS",
        text("host:port, amqp://host:port or amqps://host:port, without user", check=lambda value: "@" not in value),
        "The broker; required with `ASYA_TRANSPORT=rabbitmq`.",
    )
    rabbitmq_vhost: str = setting("ASYA_RABBITMQ_VHOST", text(), "Virtual host.", default="/")
    rabbitmq_username: str | None = setting("ASYA_RABBITMQ_USERNAME", text(), "User at the broker.")
    rabbitmq_username_file: Path | None = setting(
        "ASYA_RABBITMQ_USERNAME_FILE", path(), "File with the user; read again at each connect. Wins over `ASYA_RABBITMQ_USERNAME`."
    )
    rabbitmq_password: str | None = setting("ASYA_RABBITMQ_PASSWORD", text(), "The user's password.", secret=True)
    rabbitmq_password_file: Path | None = setting(
        "ASYA_RABBITMQ_PASSWORD_FILE", path(), "File with the password; read again at each connect. Wins over `ASYA_RABBITMQ_PASSWORD`."
    )
    rabbitmq_credentials_dir: Path | None = setting(
        "ASYA_RABBITMQ_CREDENTIALS_DIR",
        path(),
        "Folder with the files `username` and `password`, read again at each connect, so that a rotated password needs no restart; "
        "the four settings above win over it, each for its part.",
    )
    rabbitmq_tls_ca: Path | None = setting(
        "ASYA_RABBITMQ_TLS_CA", path(), "Certificates (PEM) that vouch for the broker with amqps; absent: the system's."
    )
    rabbitmq_queue_type: str = setting(
        "ASYA_RABBITMQ_QUEUE_TYPE",
        choice("quorum", "classic"),
        "Kind of the actor's queue, as it was declared; it decides how attempts are counted.",
        default="quorum",
    )
    sqs_region: str | None = setting("AWS_REGION", text(), "Region of the queues on SQS; absent: boto3's own settings.")
    sqs_endpoint: str | None = setting(
        "ASYA_SQS_ENDPOINT", url("http", "https"), "Address of another server that speaks SQS's protocol; absent: AWS."
    )
    sqs_visibility_seconds: float = setting(
        "ASYA_SQS_VISIBILITY",
        duration(1.0, _DAY / 2, "from 1s to 12h"),
        "After which a message of a sidecar that ended without a word is handed to another; renewed every third of it. Whole seconds.",
        default="2m",
    )
    embedded_path: Path | None = setting(
        "ASYA_EMBEDDED_PATH", path(), "SQLite file that holds all queues; required with `ASYA_TRANSPORT=embedded`."
    )
    embedded_sync: str = setting(
        "ASYA_EMBEDDED_SYNC", choice("normal", "full"), "`normal` survives killed processes, `full` also power loss.", default="normal"
    )
    parent_fd: int | None = setting(
        "ASYA_PARENT_FD",
        integer(0, 1_000_000),
        "Number of an inherited descriptor; its end of file is taken as SIGTERM. Set by `asya run`, so that no sidecar outlives it.",
    )


def read_sidecar_settings(environment: Mapping[str, str]) -> SidecarSettings:
    """The settings, checked with one another. Raises RemoteFault ``bad_setting`` with one sentence."""
    settings = read_settings(SidecarSettings, environment)
    if settings.transport == "rabbitmq" and settings.rabbitmq_address is None:
        raise _missing("ASYA_RABBITMQ_ADDRESS", "rabbitmq", "such as amqp://rabbitmq:5672")
    if settings.transport == "embedded" and settings.embedded_path is None:
        raise _missing("ASYA_EMBEDDED_PATH", "embedded", "the path of the SQLite file that all processes share")
    if settings.transport == "sqs":
        if settings.timeout_seconds > _SQS_TIMEOUT_SECONDS:
            raise RemoteFault(
                "bad_setting",
                f"ASYA_TIMEOUT is {settings.timeout_seconds:g} s; expected at most 11h on SQS, "
                "where a message cannot stay in flight for more than 12h",
                "lower it",
            )
        settings = replace(settings, max_message_bytes=min(settings.max_message_bytes, _SQS_MAX_BYTES))
    if settings.claim_url is not None:
        _check_claims(settings)
    read_retry(settings.retry)
    return settings


def claim_threshold(settings: SidecarSettings) -> int | None:
    """Bytes from which on a payload goes to claim storage; None without one."""
    if settings.claim_url is None:
        return None
    return settings.claim_threshold or (_SQS_THRESHOLD_BYTES if settings.transport == "sqs" else settings.max_message_bytes // 2)


def _check_claims(settings: SidecarSettings) -> None:
    from asya_core.objects.location import parse_location  # only where large payloads are kept

    try:
        parse_location(settings.claim_url or "")
    except RemoteFault as fault:
        raise RemoteFault("bad_setting", f"ASYA_CLAIM_URL: {fault.message}", fault.hint) from fault
    threshold = claim_threshold(settings) or 0
    if threshold >= settings.max_message_bytes:
        raise RemoteFault(
            "bad_setting",
            f"ASYA_CLAIM_THRESHOLD is {threshold} and ASYA_MAX_MESSAGE_BYTES is {settings.max_message_bytes}; expected a smaller threshold",
            "correct one of the two",
        )


def make_policy(settings: SidecarSettings) -> Policy:
    """What decisions need of the settings."""
    return Policy(
        actor=settings.actor,
        namespace=settings.namespace,
        timeout_seconds=settings.timeout_seconds,
        retry=read_retry(settings.retry),
        max_deliveries=settings.max_deliveries,
        max_hops=settings.max_hops,
        unroutable_tries=settings.unroutable_tries,
        prefetch=settings.prefetch,
        publish_window=settings.publish_window,
        max_message_bytes=settings.max_message_bytes,
        reports_progress=settings.gateway_url is not None,
        claim_threshold=claim_threshold(settings),
        max_claim_bytes=settings.max_frame_bytes - _FRAME_ROOM_BYTES,
    )


def read_retry(value: Mapping[str, Any]) -> RetryPolicy:
    """The ``retry`` object of the AsyncActor resource. Raises RemoteFault ``bad_setting`` naming the key."""
    _only(value, ("maxAttempts", "backoff", "include", "exclude"), "")
    backoff = value.get("backoff", {})
    if not isinstance(backoff, dict):
        raise _bad_retry("backoff", "an object {initial, factor, max}")
    _only(backoff, ("initial", "factor", "max"), "backoff.")
    attempts = value.get("maxAttempts", 1)
    if type(attempts) is not int or not 1 <= attempts <= 1000:
        raise _bad_retry("maxAttempts", "a whole number from 1 to 1000")
    factor = backoff.get("factor", 2)
    if type(factor) not in (int, float) or not 1 <= factor <= 100:
        raise _bad_retry("backoff.factor", "a number from 1 to 100")
    return RetryPolicy(
        max_attempts=attempts,
        initial_seconds=_retry_duration(backoff, "initial", "1s"),
        factor=float(factor),
        max_seconds=_retry_duration(backoff, "max", "5m"),
        include=_names(value, "include"),
        exclude=_names(value, "exclude"),
    )


def _retry_duration(backoff: Mapping[str, Any], key: str, default: str) -> float:
    given = backoff.get(key, default)
    try:
        seconds = parse_duration(given)
    except (ValueError, TypeError):
        seconds = 0.0
    if not 0 < seconds <= _DAY:
        raise _bad_retry(f"backoff.{key}", "a duration such as 1s or 5m, more than 0, at most 24h")
    return seconds


def _names(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = value.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise _bad_retry(key, "a list of exception names")
    return tuple(names)


def _only(value: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in value:
        if key not in known:
            raise RemoteFault(
                "bad_setting", f"ASYA_RETRY has the key {where + key!r}; expected some of {', '.join(known)}", "correct the key"
            )


def _bad_retry(key: str, expected: str) -> RemoteFault:
    return RemoteFault("bad_setting", f"ASYA_RETRY {key} is not as it should be; expected {expected}", "correct the value")


def _missing(name: str, transport: str, expected: str) -> RemoteFault:
    return RemoteFault("bad_setting", f"{name} is not set and ASYA_TRANSPORT is {transport}; expected {expected}", "set it")
