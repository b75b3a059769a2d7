# ruff: noqa: RUF009 - a row is frozen, one per field
"""What the operator is told: environment variables of the process and the settings file that the chart renders. Values only, no I/O.

`__main__` reads the file and hands in its parsed content; every other module takes the finished `OperatorSettings`. Knows no API server.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from asya_core.ops.settings import parse_duration, path, setting, size, text
from asya_core.wire.errors import RemoteFault

__all__ = [
    "BROKER_DIR",
    "Claims",
    "Gateway",
    "LeaseSettings",
    "Limits",
    "OperatorSettings",
    "PodPolicy",
    "ProcessSettings",
    "RabbitSection",
    "SecretKeys",
    "SidecarSection",
    "SqsSection",
    "Tracing",
    "parse_settings",
]

T = TypeVar("T")
BROKER_DIR: Final = "/var/run/secrets/asya-broker"
"""Where the sidecar finds `username` and `password` (docs/reference/sidecar.md, ASYA_RABBITMQ_CREDENTIALS_DIR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Environment variables of the operator's process."""

    settings_file: Path = setting(
        "ASYA_OPERATOR_SETTINGS",
        path(),
        "YAML file with everything that the chart's values decide.",
        default="/etc/asya-operator/settings.yaml",
    )
    namespace: str = setting(
        "ASYA_OPERATOR_NAMESPACE", text("a namespace"), "Namespace of the operator itself: that of its Lease.", default="asya-system"
    )
    pod: str | None = setting("ASYA_OPERATOR_POD", text("a pod's name"), "Name of this pod, holder of the Lease. Default: the host's name.")
    runtime_file: Path = setting(
        "ASYA_OPERATOR_RUNTIME_FILE", path(), "The file that is injected into actors' pods.", default="/opt/asya/asya_runtime.py"
    )
    credentials_dir: Path = setting(
        "ASYA_OPERATOR_CREDENTIALS_DIR",
        path(),
        "Folder with `username` and `password` for RabbitMQ, read again at each connect.",
        default="/var/run/secrets/asya-rabbitmq",
    )
    tls_ca: Path | None = setting("ASYA_OPERATOR_TLS_CA", path(), "Certificates (PEM) that vouch for the broker; absent: the system's.")
    kubeconfig: Path | None = setting(
        "ASYA_OPERATOR_KUBECONFIG", path(), "Kubeconfig file, for a run outside a cluster; absent: the pod's own account."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeys:
    """A Secret in an actor's namespace and its keys; the operator never reads it."""

    name: str
    username_key: str = "username"
    password_key: str = "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitSection:
    """`transports.rabbitmq`."""

    enabled: bool = False
    host: str = ""
    port: int = 5672
    vhost: str = "/"
    tls: bool = False
    ca_config_map: str = ""
    ca_key: str = "ca.crt"
    management_url: str = ""
    queue_type: str = "quorum"
    actor_secret: SecretKeys = field(default_factory=lambda: SecretKeys(name="asya-rabbitmq"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsSection:
    """`transports.sqs`."""

    enabled: bool = False
    region: str = ""
    endpoint: str = ""
    auth: str = "podIdentity"
    actor_secret: str = "asya-sqs"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSection:
    """`sidecar`: the operator's defaults for what it injects."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}
    )
    log_level: str = "info"
    env: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`limits`: of frames (bytes) and results of one call."""

    max_frame_bytes: int = 64 * 2**20
    max_items: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """`gateway`: `internal_url` may hold ``{namespace}``; empty: nobody is told."""

    internal_url: str = ""
    auth: str = "jwt"
    key_secret: str = "asya-gateway-internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """`claims`: storage of large payloads; empty `url`: none."""

    url: str = ""
    threshold: str = ""
    region: str = ""
    endpoint: str = ""
    secret_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """`tracing`: where sidecars send spans; empty `endpoint`: nowhere."""

    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPolicy:
    """`podPolicy`: what pods get that say nothing themselves, and what they may not say."""

    run_as_user: int | None = 10001
    fs_group: int | None = 10001
    read_only_root: bool = True
    tmp_size: str = "1Gi"
    allow_root: bool = False
    service_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """`leaderElection`, in seconds."""

    duration_seconds: float = 15
    renew_deadline_seconds: float = 10
    retry_seconds: float = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """The settings file; the chart's values of the same names (camelCase there) say what each is for.

    Attributes:
        namespaces: those that are watched; empty: all.
        default_transport: of actors that name none.
        keda: ``auto``, ``required`` or ``disabled``.
        behavior: the HorizontalPodAutoscaler's, in place of the operator's own; empty: the operator's own.
        drain_seconds: how long a deleted actor that says nothing itself may go on; 0: not at all.
        drain_quiet_seconds: how long nothing must have been on its way to it.
    """

    sidecar: SidecarSection
    namespaces: tuple[str, ...] = ()
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    default_transport: str = "rabbitmq"
    rabbitmq: RabbitSection = field(default_factory=RabbitSection)
    sqs: SqsSection = field(default_factory=SqsSection)
    limits: Limits = field(default_factory=Limits)
    gateway: Gateway = field(default_factory=Gateway)
    claims: Claims = field(default_factory=Claims)
    tracing: Tracing = field(default_factory=Tracing)
    pod_policy: PodPolicy = field(default_factory=PodPolicy)
    keda: str = "auto"
    behavior: Mapping[str, Any] = field(default_factory=dict)
    rollout_max_concurrent: int = 10
    drain_seconds: float = 3600.0
    drain_quiet_seconds: float = 30.0
    workers: int = 16
    resync_seconds: float = 600.0
    queue_interval_seconds: float = 30.0
    metrics_port: int = 8080
    log_level: str = "info"

    def is_enabled(self, transport: str) -> bool:
        """Whether actors may use this transport."""
        return {"rabbitmq": self.rabbitmq.enabled, "sqs": self.sqs.enabled}.get(transport, False)


# -------------------------------------------------------------------------------------------------------------------------------- parsing


class _Section:
    """A mapping of the file; every key must be asked for before `done`."""

    def __init__(self, raw: object, where: str) -> None:
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            raise _refused(where or "the file", raw, "a mapping")
        self._raw = raw
        self._where = where
        self._asked: set[str] = set()

    def _path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def section(self, key: str) -> "_Section":
        self._asked.add(key)
        return _Section(self._raw.get(key), self._path(key))

    def has(self, key: str) -> bool:
        return self._raw.get(key) is not None

    def skip(self, *keys: str) -> None:
        """Keys that are for the chart alone."""
        self._asked.update(keys)

    def take(self, key: str, default: T, check: Callable[[Any], bool], expected: str) -> Any:
        self._asked.add(key)
        value = self._raw.get(key)
        if value is None:
            return default
        if not check(value):
            raise _refused(self._path(key), value, expected)
        return value

    def text(self, key: str, default: str = "") -> str:
        return str(self.take(key, default, lambda value: isinstance(value, str), "text"))

    def flag(self, key: str, default: bool) -> bool:
        return bool(self.take(key, default, lambda value: isinstance(value, bool), "true or false"))

    def number(self, key: str, default: int, least: int = 0, most: int = 2**31) -> int:
        value = self.take(key, default, lambda given: _is_whole(given) and least <= given <= most, f"a whole number from {least} to {most}")
        return int(value)

    def optional_number(self, key: str, default: int | None) -> int | None:
        """A number, or None where the file says null (not where it says nothing)."""
        self._asked.add(key)
        if key in self._raw and self._raw[key] is None:
            return None
        return self.number(key, default) if default is not None else None

    def choice(self, key: str, default: str, *values: str) -> str:
        return str(self.take(key, default, lambda value: value in values, " or ".join(values)))

    def seconds(self, key: str, default: float, *, may_be_zero: bool = False) -> float:
        def check(value: object) -> bool:
            return _is_duration(value, may_be_zero=may_be_zero)

        value = self.take(key, default, check, "a duration such as 30s or 10m")
        return parse_duration(value) if isinstance(value, str) else float(value)

    def mapping(self, key: str) -> dict[str, Any]:
        return dict(self.take(key, {}, lambda value: isinstance(value, Mapping), "a mapping"))

    def names(self, key: str) -> tuple[str, ...]:
        """The keys of a map ``NAME: true``, sorted."""
        return tuple(sorted(name for name, value in self.mapping(key).items() if value))

    def done(self) -> None:
        for key in self._raw:
            if key not in self._asked:
                raise RemoteFault(
                    "bad_setting",
                    f"Settings file: {self._path(str(key))} is not known",
                    f"remove it; known here: {', '.join(sorted(self._asked))}",
                )


def parse_settings(raw: object) -> OperatorSettings:
    """The settings of a parsed file. Raises RemoteFault ``bad_setting`` naming the key, for unknown ones too."""
    root = _Section(raw, "")
    watch = root.section("watch")
    scope = watch.choice("scope", "cluster", "cluster", "namespace")
    namespaces = watch.names("namespaces")
    watch.done()
    if scope == "namespace" and not namespaces:
        raise RemoteFault(
            "bad_setting", "Settings file: watch.namespaces is empty", "name at least one namespace, or set watch.scope to cluster"
        )
    transports = root.section("transports")
    default_transport = transports.choice("default", "rabbitmq", "rabbitmq", "sqs")
    rabbitmq, sqs = _rabbitmq(transports.section("rabbitmq")), _sqs(transports.section("sqs"))
    transports.done()
    scaling, rollout, reconcile = root.section("scaling"), root.section("rollout"), root.section("reconcile")
    drain = root.section("drain")
    metrics, log = root.section("metrics"), root.section("log")
    metrics.skip("podMonitor", "rules", "dashboard")
    settings = OperatorSettings(
        sidecar=_sidecar(root.section("sidecar")),
        namespaces=namespaces if scope == "namespace" else (),
        lease=_lease(root.section("leaderElection")),
        default_transport=default_transport,
        rabbitmq=rabbitmq,
        sqs=sqs,
        limits=_limits(root.section("limits")),
        gateway=_gateway(root.section("gateway")),
        claims=_claims(root.section("claims")),
        tracing=_tracing(root.section("tracing")),
        pod_policy=_pod_policy(root.section("podPolicy")),
        keda=scaling.choice("keda", "auto", "auto", "required", "disabled"),
        behavior=scaling.mapping("behavior"),
        rollout_max_concurrent=rollout.number("maxConcurrent", 10, 1, 10_000),
        drain_seconds=drain.seconds("timeout", 3600.0, may_be_zero=True),
        drain_quiet_seconds=drain.seconds("quietPeriod", 30.0),
        workers=reconcile.number("workers", 16, 1, 256),
        resync_seconds=reconcile.seconds("resync", 600.0),
        queue_interval_seconds=reconcile.seconds("queueInterval", 30.0),
        metrics_port=metrics.number("port", 8080, 0, 65535),
        log_level=log.choice("level", "info", "debug", "info", "warning", "error"),
    )
    for section in (scaling, rollout, drain, reconcile, metrics, log, root):
        section.done()
    if not settings.is_enabled(default_transport):
        raise RemoteFault(
            "bad_setting",
            f"Settings file: transports.default is {default_transport}, which is not enabled",
            f"set transports.{default_transport}.enabled to true, or choose another default",
        )
    return settings


def _rabbitmq(section: _Section) -> RabbitSection:
    tls = section.section("tls")
    section.skip("operatorSecret")
    result = RabbitSection(
        enabled=section.flag("enabled", True),
        host=section.text("host"),
        port=section.number("port", 5672, 1, 65535),
        vhost=section.text("vhost", "/"),
        tls=tls.flag("enabled", False),
        ca_config_map=tls.text("caConfigMap"),
        ca_key=tls.text("caKey", "ca.crt"),
        management_url=section.text("managementUrl").rstrip("/"),
        queue_type=section.choice("queueType", "quorum", "quorum", "classic"),
        actor_secret=_secret(section.section("actorSecret"), "asya-rabbitmq"),
    )
    tls.done()
    section.done()
    if result.enabled and not result.host:
        raise RemoteFault(
            "bad_setting", "Settings file: transports.rabbitmq.host is empty", "set it to the broker's Service, such as rabbitmq.mq.svc"
        )
    if result.management_url and not result.management_url.startswith(("http://", "https://")):
        raise _refused("transports.rabbitmq.managementUrl", result.management_url, "http(s)://host:15672")
    return result


def _secret(section: _Section, name: str) -> SecretKeys:
    keys = SecretKeys(
        name=section.text("name", name),
        username_key=section.text("usernameKey", "username"),
        password_key=section.text("passwordKey", "password"),
    )
    section.done()
    return keys


def _sqs(section: _Section) -> SqsSection:
    secret = section.section("actorSecret")
    section.skip("operatorSecret")
    result = SqsSection(
        enabled=section.flag("enabled", False),
        region=section.text("region"),
        endpoint=section.text("endpoint"),
        auth=section.choice("auth", "podIdentity", "podIdentity", "secret"),
        actor_secret=secret.text("name", "asya-sqs"),
        tags={str(key): str(value) for key, value in section.mapping("tags").items()},
    )
    secret.done()
    section.done()
    if result.enabled and not result.region:
        raise RemoteFault("bad_setting", "Settings file: transports.sqs.region is empty", "set it, such as eu-central-1")
    return result


def _sidecar(section: _Section) -> SidecarSection:
    default = SidecarSection(image="")
    result = SidecarSection(
        image=section.text("image"),
        image_pull_policy=section.choice("imagePullPolicy", "IfNotPresent", "IfNotPresent", "Always", "Never"),
        resources=section.mapping("resources") if section.has("resources") else default.resources,
        log_level=section.choice("logLevel", "info", "debug", "info", "warning", "error"),
        env=section.mapping("env"),
    )
    section.skip("resources")
    section.done()
    if not result.image:
        raise RemoteFault(
            "bad_setting", "Settings file: sidecar.image is empty", "name the image of the sidecar, such as asya/sidecar:0.1.0"
        )
    return result


def _lease(section: _Section) -> LeaseSettings:
    result = LeaseSettings(
        duration_seconds=section.number("leaseDuration", 15, 3, 3600),
        renew_deadline_seconds=section.number("renewDeadline", 10, 2, 3600),
        retry_seconds=section.number("retryPeriod", 2, 1, 3600),
    )
    section.done()
    if not result.retry_seconds < result.renew_deadline_seconds < result.duration_seconds:
        raise RemoteFault(
            "bad_setting",
            "Settings file: leaderElection is not retryPeriod < renewDeadline < leaseDuration",
            "leave all three at 2, 10 and 15 s",
        )
    return result


def _limits(section: _Section) -> Limits:
    frame = section.take("maxFrame", 64 * 2**20, _is_size, "a size such as 64Mi")
    result = Limits(
        max_frame_bytes=_FRAME.parse(frame) if isinstance(frame, str) else int(frame),
        max_items=section.number("maxItems", 10_000, 1, 1_000_000),
    )
    section.done()
    return result


def _gateway(section: _Section) -> Gateway:
    result = Gateway(
        internal_url=section.text("internalUrl"),
        auth=section.choice("auth", "jwt", "jwt", "key"),
        key_secret=section.text("keySecret", "asya-gateway-internal"),
    )
    section.done()
    return result


def _claims(section: _Section) -> Claims:
    result = Claims(
        url=section.text("url"),
        threshold=section.text("threshold"),
        region=section.text("region"),
        endpoint=section.text("endpoint"),
        secret_name=section.text("secretName"),
    )
    section.done()
    return result


def _tracing(section: _Section) -> Tracing:
    result = Tracing(endpoint=section.text("endpoint"))
    section.done()
    if result.endpoint and not result.endpoint.startswith(("http://", "https://")):
        raise _refused("tracing.endpoint", result.endpoint, "http(s)://host:4318")
    return result


def _pod_policy(section: _Section) -> PodPolicy:
    result = PodPolicy(
        run_as_user=section.optional_number("runAsUser", 10001),
        fs_group=section.optional_number("fsGroup", 10001),
        read_only_root=section.flag("readOnlyRootFilesystem", True),
        tmp_size=section.text("tmpSize", "1Gi"),
        allow_root=section.flag("allowRoot", False),
        service_accounts=frozenset(section.names("serviceAccounts")),
    )
    section.done()
    return result


_FRAME = size(65_536, 2**30)


def _is_size(value: object) -> bool:
    if _is_whole(value):
        return 65_536 <= value <= 2**30  # type: ignore[operator]
    try:
        return isinstance(value, str) and bool(_FRAME.parse(value))
    except ValueError:
        return False


def _is_whole(value: object) -> bool:
    # Helm prints whole numbers that came through JSON as 1e+06: YAML reads those as floats.
    return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)


def _is_duration(value: object, *, may_be_zero: bool = False) -> bool:
    least = 0 if may_be_zero else 0.001
    if _is_whole(value):
        return value >= least  # type: ignore[operator]
    try:
        return isinstance(value, str) and parse_duration(value) >= least
    except ValueError:
        return False


def _refused(where: str, value: object, expected: str) -> RemoteFault:
    return RemoteFault("bad_setting", f"Settings file: {where} is {str(value)[:60]!r}; expected {expected}", "correct the chart's value")
