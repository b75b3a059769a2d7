"""The environments of an actor's two processes, from its values. Pure; the chart and the operator must come to the same.

Called by `processes`. Knows no process and does not read the environment of this one: it is given as a mapping.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from asya_cli.run.actor import ActorSpec, FromCluster, Scalar
from asya_core.wire.errors import RemoteFault

__all__ = ["basic_environment", "env_text", "retry_json", "runtime_environment", "sidecar_environment"]

_BASIC: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TMPDIR|TZ|LANG|LC_[A-Z]+|LD_[A-Z_]+|PYTHON[A-Z]+|VIRTUAL_ENV|SSL_CERT_(FILE|DIR)"
    r"|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|CUDA_VISIBLE_DEVICES|OMP_NUM_THREADS"
)
"""What a process needs of its surroundings. Anything else might fill a handler's parameters by accident, on each machine another way."""


def basic_environment(surroundings: Mapping[str, str]) -> dict[str, str]:
    """The part of `surroundings` that every process gets."""
    return {name: value for name, value in surroundings.items() if _BASIC.fullmatch(name)}


def runtime_environment(spec: ActorSpec, surroundings: Mapping[str, str]) -> dict[str, str]:
    """Variables of the runtime that the values decide: the user's, and the handler, its mode, its concurrency.

    A variable that the cluster would supply (``valueFrom``) is taken from `surroundings` by its own name. Raises RemoteFault
    ``variable_missing`` if it is not there and not optional.
    """
    env = {"ASYA_HANDLER": spec.handler, "ASYA_HANDLER_MODE": spec.mode, "ASYA_CONCURRENCY": str(spec.concurrency)}
    return env | _variables(spec, spec.env, surroundings)


def sidecar_environment(spec: ActorSpec, surroundings: Mapping[str, str]) -> dict[str, str]:
    """Variables of the sidecar that the values decide: name, timeout, grace period, retry policy, log level, prefetch, ``sidecar.env``.

    The grace period is the timeout and 30 s, as that of the pod.
    """
    env = {
        "ASYA_ACTOR": spec.name,
        "ASYA_TIMEOUT": spec.timeout,
        "ASYA_GRACE": f"{spec.timeout_seconds + 30:.0f}s",
        "ASYA_RETRY": retry_json(spec),
    }
    if spec.log_level:
        env["ASYA_LOG_LEVEL"] = spec.log_level
    if spec.prefetch:
        env["ASYA_PREFETCH"] = spec.prefetch
    return env | _variables(spec, spec.sidecar_env, surroundings)


def retry_json(spec: ActorSpec) -> str:
    """The policy as the AsyncActor's ``spec.retry`` has it, on one line."""
    retry = spec.retry
    factor = int(retry.factor) if float(retry.factor).is_integer() else retry.factor
    policy = {
        "maxAttempts": retry.max_attempts,
        "backoff": {"initial": retry.initial, "factor": factor, "max": retry.max},
        "include": list(retry.include),
        "exclude": list(retry.exclude),
    }
    return json.dumps(policy, separators=(",", ":"))


def env_text(value: Scalar) -> str:
    """A scalar of a values file as the text that reaches the container: as Helm's ``toJson`` writes it, texts as they are.

    Numbers are floats to Helm: ``1e3`` is ``1000``, ``0.50`` is ``0.5``; an exponent is written below 1e-6 and from 1e21 on (Go's
    encoding/json).
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            if value == 0:
                return "-0" if str(value).startswith("-") else "0"
            if 1e-6 <= abs(value) < 1e21:
                plain = format(Decimal(repr(value)), "f")
                return plain.rstrip("0").rstrip(".") if "." in plain else plain
            mantissa, exponent = repr(value).split("e")
            sign = "-" if exponent.startswith("-") else "+"
            digits = exponent.lstrip("+-").lstrip("0")
            return f"{mantissa.removesuffix('.0')}e{sign}{digits}"


def _variables(spec: ActorSpec, env: Mapping[str, Scalar | FromCluster], surroundings: Mapping[str, str]) -> dict[str, str]:
    texts = {}
    for name, value in env.items():
        if not isinstance(value, FromCluster):
            texts[name] = env_text(value)
        elif name in surroundings:
            texts[name] = surroundings[name]
        elif not value.optional:
            raise RemoteFault(
                "variable_missing",
                f"Actor {spec.name}: variable {name} comes from {value.source}, which exists on a cluster only",
                f"set {name} in the environment of asya run, or --set {spec.name}.env.{name}=VALUE",
            )
    return texts
