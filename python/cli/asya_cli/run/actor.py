"""One actor as its values describe it: what `asya run` and the chart read alike. Pure.

Called by `project`; `environment` turns it into the environments of the two processes. Knows no file and no process.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from asya_core.ops.settings import parse_duration
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_actor, is_end_actor

__all__ = ["ActorSpec", "FromCluster", "RetrySpec", "Scalar", "actor_spec"]

Scalar: TypeAlias = str | int | float | bool
MAX_TIMEOUT_SECONDS: Final = {"": 24 * 3600.0, "rabbitmq": 24 * 3600.0, "sqs": 11 * 3600.0}
EXACT_INTEGERS: Final = 2**53
"""Numbers from here on are altered by Helm before any template sees them."""
_HANDLER: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_ALLOWED_ASYA: Final = re.compile(r"ASYA_(HANDLER|FLOW|CREW)_[A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class FromCluster:
    """A variable whose value a Secret, a ConfigMap or the pod supplies.

    Attributes:
        source: for people, such as ``secretKeyRef judge-keys/token``.
        optional: it may be absent.
    """

    source: str
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """When a call that raised is tried again; meaning as in the chart's values."""

    max_attempts: int = 1
    initial: str = "1s"
    factor: float = 2
    max: str = "5m"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSpec:
    """One actor.

    Attributes:
        name: legal, no end actor.
        handler: ``module.function`` or ``module.Class.method``.
        mode: ``payload`` or ``envelope``.
        env: variables of the handler, scalars as the values file has them.
        env_from: names of Secrets and ConfigMaps whose every key is a variable.
        timeout: a duration such as ``5m``.
        concurrency: calls at a time.
        retry: the policy.
        transport: ``rabbitmq``, ``sqs`` or empty.
        files: handler code by path, from ``source.files``.
        sidecar_env: settings of the sidecar.
        log_level: of the sidecar; empty: its default.
        prefetch: of the sidecar; empty: its default.
    """

    name: str
    handler: str
    mode: str = "payload"
    env: Mapping[str, Scalar | FromCluster]
    env_from: tuple[str, ...] = ()
    timeout: str = "5m"
    concurrency: int = 1
    retry: RetrySpec = RetrySpec()
    transport: str = ""
    files: Mapping[str, str]
    sidecar_env: Mapping[str, Scalar | FromCluster]
    log_level: str = ""
    prefetch: str = ""

    @property
    def timeout_seconds(self) -> float:
        """`timeout` in seconds."""
        return parse_duration(self.timeout)


def actor_spec(values: Mapping[str, Any], *, release: str, file: str) -> ActorSpec:
    """The actor that checked `values` describe.

    Args:
        values: passed `values.check`.
        release: the release's name, which is the actor's unless ``actorName`` says otherwise.
        file: for messages.

    Raises RemoteFault ``bad_values`` for what the schema cannot say: handler missing or no dotted path, an illegal name, a timeout out of
    bounds, variables that belong to the operator, numbers that Helm would alter.
    """
    name = values.get("actorName") or release
    _check_name(name, file)
    handler = values.get("handler") or ""
    if not handler:
        raise RemoteFault("bad_values", f"{file}: handler is not set", "set it to module.function or module.Class.method")
    if _HANDLER.fullmatch(handler) is None:
        raise RemoteFault("bad_values", f"{file}: handler {handler!r} is no dotted path", "write module.function or module.Class.method")
    retry = _map(values, "retry")
    backoff = _map(retry, "backoff")
    sidecar = _map(values, "sidecar")
    spec = ActorSpec(
        name=name,
        handler=handler,
        mode=values.get("handlerMode", "payload"),
        env=_variables(_map(values, "env"), where="env", file=file, of_handler=True),
        env_from=_env_from(_map(values, "envFrom")),
        timeout=values.get("timeout", "5m"),
        concurrency=int(values.get("concurrency", 1)),
        retry=RetrySpec(
            max_attempts=int(retry.get("maxAttempts", 1)),
            initial=backoff.get("initial", "1s"),
            factor=backoff.get("factor", 2),
            max=backoff.get("max", "5m"),
            include=_chosen(_map(retry, "include")),
            exclude=_chosen(_map(retry, "exclude")),
        ),
        transport=values.get("transport", ""),
        files={path: text for path, text in sorted(_map(_map(values, "source"), "files").items()) if text is not None},
        sidecar_env=_variables(_map(sidecar, "env"), where="sidecar.env", file=file, of_handler=False),
        log_level=sidecar.get("logLevel", ""),
        prefetch=str(sidecar.get("prefetch", "")),
    )
    _check_timeout(spec, file)
    return spec


def _check_name(name: str, file: str) -> None:
    if not is_actor(name):
        raise RemoteFault(
            "bad_values",
            f"{file}: actor name {name!r} is not legal",
            "name the file with a-z, 0-9 and dashes, at most 53, or set actorName",
        )
    if is_end_actor(name) or name == "mode":
        raise RemoteFault("bad_values", f"{file}: actor name {name} is Asya's own", "rename the file, or set actorName")


def _check_timeout(spec: ActorSpec, file: str) -> None:
    limit = MAX_TIMEOUT_SECONDS[spec.transport]
    if not 1 <= spec.timeout_seconds <= limit:
        raise RemoteFault("bad_values", f"{file}: timeout {spec.timeout} is out of bounds", f"choose 1s to {limit / 3600:.0f}h")


def _map(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return values.get(key) or {}


def _chosen(flags: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name, chosen in flags.items() if chosen))


def _env_from(entries: Mapping[str, Any]) -> tuple[str, ...]:
    names = []
    for key, entry in sorted(entries.items()):
        reference = (entry or {}).get("secretRef") or (entry or {}).get("configMapRef")
        if entry is not None:
            names.append(reference["name"] if reference else key)
    return tuple(names)


def _variables(env: Mapping[str, Any], *, where: str, file: str, of_handler: bool) -> dict[str, Scalar | FromCluster]:
    variables: dict[str, Scalar | FromCluster] = {}
    for name, value in sorted(env.items()):
        what = f"{file}: {where}.{name}"
        if of_handler and name.startswith("ASYA_") and (name == "ASYA_HANDLER_MODE" or not _ALLOWED_ASYA.fullmatch(name)):
            raise RemoteFault(
                "bad_values", f"{what} belongs to Asya", "use handler, handlerMode, timeout or concurrency of the values instead"
            )
        if isinstance(value, dict):
            variables[name] = _from_cluster(value["valueFrom"])
        elif value is not None:
            if not isinstance(value, (str, bool)) and abs(value) >= EXACT_INTEGERS:
                raise RemoteFault("bad_values", f"{what} is {value}, a number that Helm does not keep exactly", f'quote it: "{value}"')
            if isinstance(value, str) and "{{" in value:
                raise RemoteFault("bad_values", f"{what} is a Helm template, which is rendered on a cluster only", "give the text by --set")
            variables[name] = value
    return variables


def _from_cluster(value_from: Mapping[str, Any]) -> FromCluster:
    kind, reference = next(iter(value_from.items()))
    reference = reference if isinstance(reference, dict) else {}
    named = "/".join(str(reference[key]) for key in ("name", "key", "fieldPath", "resource") if key in reference)
    return FromCluster(source=f"{kind} {named}".strip(), optional=bool(reference.get("optional", False)))
