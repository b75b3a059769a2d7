"""KEDA's RabbitMQ trigger. Pure.

With the management API the number is waiting + running messages, so that a busy pod is never idle. Without it KEDA asks by AMQP, which
counts waiting messages only; `desired.scaling` lengthens the cool-down then.
"""

from typing import Any

from asya_operator.settings import RabbitSection

__all__ = ["counts_running", "trigger_authentication_spec", "trigger_metadata"]


def counts_running(settings: RabbitSection) -> bool:
    """Whether the trigger sees messages that are being worked on."""
    return bool(settings.management_url)


def trigger_metadata(settings: RabbitSection, *, queue: str, value: int, activation: int) -> dict[str, str]:
    """Metadata of one trigger; all strings, as KEDA wants them. Credentials come from the authentication."""
    common = {
        "vhostName": settings.vhost,
        "queueName": queue,
        "mode": "QueueLength",
        "value": str(value),
        "activationValue": str(activation),
    }
    if counts_running(settings):
        return {"protocol": "http", "host": settings.management_url, **common, "excludeUnacknowledged": "false"}
    scheme = "amqps" if settings.tls else "amqp"
    return {"protocol": "amqp", "host": f"{scheme}://{settings.host}:{settings.port}", **common}


def trigger_authentication_spec(settings: RabbitSection) -> dict[str, Any]:
    """Spec of the TriggerAuthentication: the Secret of the actor's namespace."""
    secret = settings.actor_secret
    spec: dict[str, Any] = {
        "secretTargetRef": [
            {"parameter": "username", "name": secret.name, "key": secret.username_key},
            {"parameter": "password", "name": secret.name, "key": secret.password_key},
        ]
    }
    if settings.tls and settings.ca_config_map:
        spec["configMapTargetRef"] = [{"parameter": "ca", "name": settings.ca_config_map, "key": settings.ca_key}]
    return spec
