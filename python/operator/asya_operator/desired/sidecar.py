"""The injected sidecar: container and volumes. Pure.

Settings of the sidecar are docs/reference/sidecar.md. Credentials of the broker are files of a Secret's volume, mounted here alone: the
handler's container never sees them, and a rotated password needs no restart.
"""

import json
from typing import Any, Final

from asya_operator.desired.runtime import stop_hook
from asya_operator.settings import BROKER_DIR, OperatorSettings
from asya_operator.spec import ActorSpec
from asya_operator.words import SIDECAR_CONTAINER

__all__ = ["SOCKET_DIR", "SOCKET_PATH", "sidecar_container", "sidecar_version", "sidecar_volumes"]

Json = dict[str, Any]
SOCKET_DIR: Final = "/var/run/asya"
SOCKET_PATH: Final = f"{SOCKET_DIR}/runtime.sock"
TOKEN_DIR: Final = "/var/run/secrets/asya"
CA_DIR: Final = "/etc/asya-broker-ca"
METRICS_PORT: Final = 9464


def sidecar_version(image: str) -> str:
    """Tag of an image, else its digest, for people; ``latest`` without either."""
    named, _, digest = image.partition("@")
    tag = named.rpartition("/")[2].partition(":")[2]
    return tag or digest or "latest"


def sidecar_container(spec: ActorSpec, settings: OperatorSettings, *, transport: str, grace_seconds: int) -> Json:
    """The native sidecar: an init container that keeps running. It has no startup probe, so nothing waits for it."""
    section = settings.sidecar
    return {
        "name": SIDECAR_CONTAINER,
        "image": spec.sidecar_image or section.image,
        "imagePullPolicy": spec.sidecar_pull_policy or section.image_pull_policy,
        "restartPolicy": "Always",
        "env": _environment(spec, settings, transport, grace_seconds),
        "ports": [{"name": "asya-metrics", "containerPort": METRICS_PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "asya-metrics"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/live", "port": "asya-metrics"}, "periodSeconds": 20, "failureThreshold": 3},
        "lifecycle": stop_hook(["python"]),
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "resources": dict(spec.sidecar_resources or section.resources),
        "volumeMounts": [
            {"name": "asya-socket", "mountPath": SOCKET_DIR},
            {"name": "asya-sidecar-tmp", "mountPath": "/tmp"},
            *([{"name": "asya-broker", "mountPath": BROKER_DIR, "readOnly": True}] if transport == "rabbitmq" else []),
            *([{"name": "asya-broker-ca", "mountPath": CA_DIR, "readOnly": True}] if _has_ca(settings, transport) else []),
            *([{"name": "asya-token", "mountPath": TOKEN_DIR, "readOnly": True}] if _has_gateway(spec, settings) else []),
        ],
    }


def sidecar_volumes(spec: ActorSpec, settings: OperatorSettings, *, transport: str) -> list[Json]:
    """Volumes that only the sidecar mounts."""
    volumes: list[Json] = [{"name": "asya-sidecar-tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    if transport == "rabbitmq":
        secret = settings.rabbitmq.actor_secret
        items = [{"key": secret.username_key, "path": "username"}, {"key": secret.password_key, "path": "password"}]
        volumes.append({"name": "asya-broker", "secret": {"secretName": secret.name, "items": items}})
    if _has_ca(settings, transport):
        items = [{"key": settings.rabbitmq.ca_key, "path": "ca.crt"}]
        volumes.append({"name": "asya-broker-ca", "configMap": {"name": settings.rabbitmq.ca_config_map, "items": items}})
    if _has_gateway(spec, settings):
        volumes.append({"name": "asya-token", **_token(settings)})
    return volumes


def _token(settings: OperatorSettings) -> Json:
    if settings.gateway.auth == "key":
        return {"secret": {"secretName": settings.gateway.key_secret, "items": [{"key": "token", "path": "token"}]}}
    return {"projected": {"sources": [{"serviceAccountToken": {"audience": "asya-gateway", "expirationSeconds": 3600, "path": "token"}}]}}


def _has_gateway(spec: ActorSpec, settings: OperatorSettings) -> bool:
    return spec.gateway and bool(settings.gateway.internal_url)


def _has_ca(settings: OperatorSettings, transport: str) -> bool:
    return transport == "rabbitmq" and settings.rabbitmq.tls and bool(settings.rabbitmq.ca_config_map)


def _environment(spec: ActorSpec, settings: OperatorSettings, transport: str, grace_seconds: int) -> list[Json]:
    made = {
        "ASYA_ACTOR": spec.name,
        "ASYA_NAMESPACE": spec.namespace,
        "ASYA_TRANSPORT": transport,
        "ASYA_TIMEOUT": spec.timeout,
        "ASYA_GRACE": f"{grace_seconds}s",
        "ASYA_RETRY": json.dumps(spec.retry, sort_keys=True, separators=(",", ":")),
        "ASYA_PREFETCH": spec.prefetch,
        "ASYA_SOCKET": SOCKET_PATH,
        "ASYA_MAX_FRAME_BYTES": str(settings.limits.max_frame_bytes),
        "ASYA_HEALTH_LISTEN": f":{METRICS_PORT}",
        "ASYA_LOG_LEVEL": spec.sidecar_log_level or settings.sidecar.log_level,
    }
    if _has_gateway(spec, settings):
        made["ASYA_GATEWAY_URL"] = settings.gateway.internal_url.replace("{namespace}", spec.namespace)
        made["ASYA_GATEWAY_TOKEN_FILE"] = f"{TOKEN_DIR}/token"
    if settings.tracing.endpoint:
        made["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.tracing.endpoint
    made |= _rabbitmq(spec, settings) if transport == "rabbitmq" else _sqs(settings)
    entries: dict[str, Json] = {name: {"name": name, "value": value} for name, value in made.items()}
    entries |= {each["name"]: each for each in _claims(settings) + (_sqs_secret(settings) if transport == "sqs" else [])}
    for name, value in settings.sidecar.env.items():
        if value is not None:
            entries[name] = {"name": name, **value} if isinstance(value, dict) else {"name": name, "value": _scalar(value)}
    entries |= {each["name"]: dict(each) for each in spec.sidecar_env}
    return list(entries.values())


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _rabbitmq(spec: ActorSpec, settings: OperatorSettings) -> dict[str, str]:
    section = settings.rabbitmq
    made = {
        "ASYA_RABBITMQ_ADDRESS": f"{'amqps' if section.tls else 'amqp'}://{section.host}:{section.port}",
        "ASYA_RABBITMQ_VHOST": section.vhost,
        "ASYA_RABBITMQ_CREDENTIALS_DIR": BROKER_DIR,
        "ASYA_RABBITMQ_QUEUE_TYPE": spec.queue_type or section.queue_type,
    }
    return made | ({"ASYA_RABBITMQ_TLS_CA": f"{CA_DIR}/ca.crt"} if _has_ca(settings, "rabbitmq") else {})


def _sqs(settings: OperatorSettings) -> dict[str, str]:
    made = {"AWS_REGION": settings.sqs.region}
    return made | ({"ASYA_SQS_ENDPOINT": settings.sqs.endpoint} if settings.sqs.endpoint else {})


def _sqs_secret(settings: OperatorSettings) -> list[Json]:
    return _aws_keys(settings.sqs.actor_secret) if settings.sqs.auth == "secret" else []


def _claims(settings: OperatorSettings) -> list[Json]:
    section = settings.claims
    if not section.url:
        return []
    made = {
        "ASYA_CLAIM_URL": section.url,
        "ASYA_CLAIM_THRESHOLD": section.threshold,
        "ASYA_CLAIM_REGION": section.region,
        "ASYA_CLAIM_ENDPOINT": section.endpoint,
    }
    entries = [{"name": name, "value": value} for name, value in made.items() if value]
    return entries + (_aws_keys(section.secret_name) if section.secret_name else [])


def _aws_keys(secret: str) -> list[Json]:
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
