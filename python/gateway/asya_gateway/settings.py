# ruff: noqa: RUF009 - a row is frozen, one per field
"""The gateway's settings: one table, read once by `__main__`.

The reference page docs/reference/gateway.md holds the table; a test compares.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asya_core.objects import Location, parse_location
from asya_core.ops.settings import (
    Kind,
    Listen,
    choice,
    integer,
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
from asya_core.wire.names import check_namespace
from asya_gateway.http.limits import Limits

__all__ = ["GatewaySettings", "read_gateway_settings"]

_MIB: Final = 1024 * 1024
_SQS_MAX_BYTES: Final = _MIB
"""Of one message (asya_core.transports.sqs.settings); not imported, since that is for who uses it."""
_SQS_THRESHOLD_BYTES: Final = 200_000
"""SQS bills each 64 KiB, and a batch holds 1 MiB: five of these still travel together."""
_DAYS: Final = re.compile(r"(\d{1,5})d")


def _is_namespace(name: str) -> bool:
    try:
        check_namespace(name)
    except RemoteFault:
        return False
    return True


def _flag() -> Kind:
    def parse(given: str) -> bool:
        return {"true": True, "false": False}[given] if given in ("true", "false") else _refuse(given)

    return Kind(name="true or false", expected="true or false", parse=parse)


def _refuse(given: str) -> bool:
    raise ValueError(given)


def _long_duration() -> Kind:
    def parse(given: str) -> float:
        days = _DAYS.fullmatch(given)
        seconds = int(days[1]) * 86_400.0 if days else parse_duration(given)
        if not 60.0 <= seconds <= 3_660 * 86_400.0:
            raise ValueError(given)
        return seconds

    return Kind(name="duration", expected="a duration such as 7d or 168h, from 1m to 3660d", parse=parse)


def _read_location(given: str) -> Location:
    try:
        return parse_location(given)
    except RemoteFault as fault:
        raise ValueError(given) from fault


def _location() -> Kind:
    return Kind(name="address", expected="s3://bucket/prefix or file:///folder", parse=_read_location)


def _names() -> Kind:
    return Kind(
        name="names",
        expected="names, separated by commas",
        parse=lambda given: tuple(name.strip() for name in given.split(",") if name.strip()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What the gateway is told by its environment; each field's meaning is in its row."""

    namespace: str = setting(
        "ASYA_NAMESPACE", text("a namespace's name (RFC 1123 label)", check=_is_namespace), "Namespace of all queues.", required=True
    )
    transport: str = setting("ASYA_TRANSPORT", choice("rabbitmq", "sqs", "embedded"), "What moves the messages.", required=True)
    public: Listen | None = setting(
        "ASYA_GATEWAY_LISTEN", listen(), "Address of the public socket: MCP, REST, page. Port 0 is any free one.", default=":8080"
    )
    internal: Listen | None = setting(
        "ASYA_GATEWAY_INTERNAL_LISTEN", listen(), "Address of the internal socket: reports, health, metrics.", default=":8081"
    )
    tools: Path = setting(
        "ASYA_GATEWAY_TOOLS",
        path(),
        "File, or directory of `*.yaml`, each with the maps `tools` and `flows`; looked at every 2 s.",
        default="/etc/asya-gateway/tools",
    )
    store: str = setting("ASYA_GATEWAY_STORE", choice("sqlite", "postgres"), "Where envelopes are kept.", default="sqlite")
    sqlite_path: Path = setting(
        "ASYA_GATEWAY_SQLITE_PATH", path(), "File of the SQLite store; one gateway per file.", default="/var/lib/asya-gateway/gateway.db"
    )
    postgres_url_file: Path | None = setting(
        "ASYA_GATEWAY_POSTGRES_URL_FILE",
        path(),
        "File with `postgresql://user:password@host/database`, read at each connect; required with `ASYA_GATEWAY_STORE=postgres`.",
    )
    auth: str = setting(
        "ASYA_GATEWAY_AUTH",
        choice("apiKey", "oauth", "none"),
        "How callers are known. `none` only on loopback, or together with `ASYA_GATEWAY_ALLOW_ANONYMOUS=true`.",
        default="apiKey",
    )
    allow_anonymous: bool = setting(
        "ASYA_GATEWAY_ALLOW_ANONYMOUS",
        _flag(),
        "The second word for `none`: everybody who reaches the socket may do everything.",
        default="false",
    )
    keys_file: Path = setting(
        "ASYA_GATEWAY_KEYS_FILE",
        path(),
        "API keys, made by `asya key new`; read again when it has changed.",
        default="/etc/asya-gateway/keys/keys.yaml",
    )
    oauth_issuer: str | None = setting("ASYA_GATEWAY_OAUTH_ISSUER", text(), "The `iss` of access tokens; required with `oauth`.")
    oauth_audience: str | None = setting("ASYA_GATEWAY_OAUTH_AUDIENCE", text(), "The `aud` of access tokens; required with `oauth`.")
    oauth_jwks_url: str | None = setting(
        "ASYA_GATEWAY_OAUTH_JWKS_URL", url("https", "http"), "The issuer's keys (JWKS); required with `oauth`."
    )
    oauth_resource: str | None = setting(
        "ASYA_GATEWAY_OAUTH_RESOURCE", url("https", "http"), "Public address of this gateway, told to clients; default: the audience."
    )
    internal_auth: str = setting(
        "ASYA_GATEWAY_INTERNAL_AUTH",
        choice("jwt", "key", "none"),
        "How sidecars are known: ServiceAccount tokens, a key, or not at all (loopback only).",
        default="jwt",
    )
    internal_key_file: Path = setting(
        "ASYA_GATEWAY_INTERNAL_KEY_FILE",
        path(),
        "One or two valid keys, a line each; read again when it has changed.",
        default="/etc/asya-gateway/internal/key",
    )
    internal_issuer: str | None = setting(
        "ASYA_GATEWAY_INTERNAL_ISSUER",
        text(),
        "The `iss` of the cluster's ServiceAccount tokens; absent: that of the pod's own token.",
    )
    internal_audience: str = setting("ASYA_GATEWAY_INTERNAL_AUDIENCE", text(), "The `aud` of the sidecars' tokens.", default="asya-gateway")
    internal_jwks_url: str = setting(
        "ASYA_GATEWAY_INTERNAL_JWKS_URL",
        url("https", "http"),
        "The cluster's keys; asked for with the pod's own token and the cluster's certificate where they are mounted.",
        default="https://kubernetes.default.svc/openid/v1/jwks",
    )
    hosts: tuple[str, ...] = setting(
        "ASYA_GATEWAY_HOSTS",
        _names(),
        "Accepted names in Host and Origin beside loopback, separated by commas; `*` is any.",
        default="localhost",
    )
    poll_tools: bool = setting(
        "ASYA_GATEWAY_POLL_TOOLS", _flag(), "Offer MCP clients `asya_result` and `asya_cancel` for calls that run long.", default="true"
    )
    results: Location | None = setting(
        "ASYA_GATEWAY_RESULTS_URL",
        _location(),
        "The crew's storage, `s3://bucket/prefix` or `file:///folder`, read for records and replays; absent: neither.",
    )
    results_s3_region: str | None = setting("ASYA_GATEWAY_RESULTS_S3_REGION", text(), "The bucket's region; absent: boto3's own settings.")
    results_s3_endpoint: str | None = setting(
        "ASYA_GATEWAY_RESULTS_S3_ENDPOINT", url("http", "https"), "Address of an S3-compatible storage; absent: AWS."
    )
    results_s3_path_style: bool = setting(
        "ASYA_GATEWAY_RESULTS_S3_PATH_STYLE",
        _flag(),
        "`true` puts the bucket into the path; most storages that are not AWS's need it.",
        default="false",
    )
    retention_seconds: float = setting("ASYA_GATEWAY_RETENTION", _long_duration(), "How long a final envelope is kept.", default="7d")
    retention_failed_seconds: float = setting("ASYA_GATEWAY_RETENTION_FAILED", _long_duration(), "How long a failed one is.", default="30d")
    max_body_bytes: int = setting("ASYA_GATEWAY_MAX_BODY", size(1024, 64 * _MIB), "Largest body of a request.", default="4Mi")
    max_inline_result_bytes: int = setting(
        "ASYA_GATEWAY_MAX_INLINE_RESULT", size(0, 64 * _MIB), "A larger result is shown by reference only.", default="1Mi"
    )
    rate: int = setting("ASYA_GATEWAY_RATE", integer(1, 1_000_000), "Requests per second of one caller and replica.", default="50")
    burst: int = setting("ASYA_GATEWAY_BURST", integer(1, 1_000_000), "Requests that a caller may save up.", default="100")
    streams: int = setting("ASYA_GATEWAY_STREAMS", integer(1, 1_000_000), "Open streams and held calls of one replica.", default="5000")
    streams_per_principal: int = setting(
        "ASYA_GATEWAY_STREAMS_PER_PRINCIPAL", integer(1, 1_000_000), "The same of one caller.", default="50"
    )
    max_message_bytes: int = setting(
        "ASYA_MAX_MESSAGE_BYTES",
        size(1024, 512 * _MIB),
        "Largest message that the broker takes; the default is RabbitMQ 4's. SQS takes 1 MiB, whatever stands here.",
        default="16Mi",
    )
    claim_url: Location | None = setting(
        "ASYA_CLAIM_URL",
        _location(),
        "Where large payloads are kept while a reference travels, the same as the sidecars'; absent: all payloads travel.",
    )
    claim_threshold: int | None = setting(
        "ASYA_CLAIM_THRESHOLD",
        size(1024, 512 * _MIB),
        "Bytes from which on a payload is large; absent: half of `ASYA_MAX_MESSAGE_BYTES`, on SQS 200 kB.",
    )
    claim_region: str | None = setting(
        "ASYA_CLAIM_REGION", text(), "Region of the bucket; absent: `AWS_REGION`, else boto3's own settings."
    )
    claim_endpoint: str | None = setting(
        "ASYA_CLAIM_ENDPOINT", url("http", "https"), "Address of an S3-compatible storage, with the bucket in the path; absent: AWS."
    )
    rabbitmq_address: str | None = setting(
        "ASYA_RABBITMQ_ADDRESS",
        text("host:port, amqp://host:port or amqps://host:port, without user", check=lambda value: "@" not in value),
        "The broker; required with `ASYA_TRANSPORT=rabbitmq`.",
    )
    rabbitmq_vhost: str = setting("ASYA_RABBITMQ_VHOST", text(), "Virtual host.", default="/")
    rabbitmq_username: str | None = setting("ASYA_RABBITMQ_USERNAME", text(), "User at the broker.")
    rabbitmq_username_file: Path | None = setting("ASYA_RABBITMQ_USERNAME_FILE", path(), "File with the user; read at each connect.")
    rabbitmq_password: str | None = setting("ASYA_RABBITMQ_PASSWORD", text(), "The user's password.", secret=True)
    rabbitmq_password_file: Path | None = setting("ASYA_RABBITMQ_PASSWORD_FILE", path(), "File with the password; read at each connect.")
    rabbitmq_credentials_dir: Path | None = setting(
        "ASYA_RABBITMQ_CREDENTIALS_DIR", path(), "Folder with the files `username` and `password`, read at each connect."
    )
    rabbitmq_tls_ca: Path | None = setting("ASYA_RABBITMQ_TLS_CA", path(), "Certificates (PEM) that vouch for the broker with amqps.")
    sqs_region: str | None = setting("AWS_REGION", text(), "Region of the queues on SQS; absent: boto3's own settings.")
    sqs_endpoint: str | None = setting(
        "ASYA_SQS_ENDPOINT", url("http", "https"), "Address of another server that speaks SQS's protocol; absent: AWS."
    )
    embedded_path: Path | None = setting(
        "ASYA_EMBEDDED_PATH", path(), "SQLite file that holds all queues; required with `ASYA_TRANSPORT=embedded`."
    )
    otlp_endpoint: str | None = otlp_endpoint()
    otlp_traces_endpoint: str | None = otlp_traces_endpoint()
    log_level: str = setting("ASYA_LOG_LEVEL", choice("debug", "info", "warning", "error"), "Least level that is logged.", default="info")
    parent_fd: int | None = setting(
        "ASYA_PARENT_FD", integer(0, 1_000_000), "An inherited descriptor; its end of file is taken as SIGTERM. Set by `asya run`."
    )

    @property
    def broker_max_bytes(self) -> int:
        """The most bytes of one message."""
        return min(self.max_message_bytes, _SQS_MAX_BYTES) if self.transport == "sqs" else self.max_message_bytes

    @property
    def claim_threshold_bytes(self) -> int:
        """From which size on a payload is large."""
        return self.claim_threshold or (_SQS_THRESHOLD_BYTES if self.transport == "sqs" else self.max_message_bytes // 2)

    @property
    def limits(self) -> Limits:
        """What one caller may take."""
        return Limits(
            body_bytes=self.max_body_bytes,
            requests_per_second=self.rate,
            burst=self.burst,
            streams=self.streams,
            streams_per_principal=self.streams_per_principal,
        )


def read_gateway_settings(environment: Mapping[str, str]) -> GatewaySettings:
    """The settings, checked with one another. Raises RemoteFault ``bad_setting`` with one sentence."""
    settings = read_settings(GatewaySettings, environment)
    public, internal = settings.public, settings.internal
    if public is None or internal is None:
        raise RemoteFault("bad_setting", "ASYA_GATEWAY_LISTEN and ASYA_GATEWAY_INTERNAL_LISTEN cannot be off", "give host:port")
    if settings.auth == "none" and not settings.allow_anonymous and not _is_loopback(public):
        raise RemoteFault(
            "bad_setting",
            f"ASYA_GATEWAY_AUTH is none and the gateway listens on {public.host or 'every address'}",
            "listen on 127.0.0.1, or say it twice with ASYA_GATEWAY_ALLOW_ANONYMOUS=true",
        )
    if settings.internal_auth == "none" and not _is_loopback(internal):
        raise RemoteFault(
            "bad_setting", "ASYA_GATEWAY_INTERNAL_AUTH is none and its socket is not on loopback", "use key or jwt, or listen on 127.0.0.1"
        )
    for name, value, when, is_needed in (
        ("ASYA_RABBITMQ_ADDRESS", settings.rabbitmq_address, "ASYA_TRANSPORT is rabbitmq", settings.transport == "rabbitmq"),
        ("ASYA_EMBEDDED_PATH", settings.embedded_path, "ASYA_TRANSPORT is embedded", settings.transport == "embedded"),
        ("ASYA_GATEWAY_POSTGRES_URL_FILE", settings.postgres_url_file, "ASYA_GATEWAY_STORE is postgres", settings.store == "postgres"),
        ("ASYA_GATEWAY_OAUTH_ISSUER", settings.oauth_issuer, "ASYA_GATEWAY_AUTH is oauth", settings.auth == "oauth"),
        ("ASYA_GATEWAY_OAUTH_AUDIENCE", settings.oauth_audience, "ASYA_GATEWAY_AUTH is oauth", settings.auth == "oauth"),
        ("ASYA_GATEWAY_OAUTH_JWKS_URL", settings.oauth_jwks_url, "ASYA_GATEWAY_AUTH is oauth", settings.auth == "oauth"),
    ):
        if is_needed and value is None:
            raise RemoteFault("bad_setting", f"{name} is not set and {when}", "set it")
    if settings.claim_url is not None and settings.claim_threshold_bytes >= settings.broker_max_bytes:
        raise RemoteFault(
            "bad_setting",
            f"ASYA_CLAIM_THRESHOLD is {settings.claim_threshold_bytes} and the broker takes {settings.broker_max_bytes}; "
            "expected a smaller threshold",
            "correct one of the two",
        )
    return settings


def _is_loopback(where: Listen) -> bool:
    if where.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(where.host).is_loopback
    except ValueError:
        return False
