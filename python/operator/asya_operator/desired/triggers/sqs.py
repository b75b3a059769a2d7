"""KEDA's SQS trigger. Pure. In-flight messages count, so that a busy pod is never idle; delayed ones do not wake anything."""

from typing import Any

from asya_operator.settings import SqsSection

__all__ = ["trigger_authentication_spec", "trigger_metadata"]


def trigger_metadata(settings: SqsSection, *, queue_url: str, value: int, activation: int) -> dict[str, str]:
    """Metadata of one trigger; all strings, as KEDA wants them."""
    made = {
        "queueURL": queue_url,
        "awsRegion": settings.region,
        "queueLength": str(value),
        "activationQueueLength": str(activation),
        "scaleOnInFlight": "true",
        "scaleOnDelayed": "false",
    }
    return made | ({"awsEndpoint": settings.endpoint} if settings.endpoint else {})


def trigger_authentication_spec(settings: SqsSection) -> dict[str, Any]:
    """Spec of the TriggerAuthentication: the pod's cloud identity, or the Secret of the actor's namespace."""
    if settings.auth == "podIdentity":
        return {"podIdentity": {"provider": "aws"}}
    return {
        "secretTargetRef": [
            {"parameter": "awsAccessKeyID", "name": settings.actor_secret, "key": "AWS_ACCESS_KEY_ID"},
            {"parameter": "awsSecretAccessKey", "name": settings.actor_secret, "key": "AWS_SECRET_ACCESS_KEY"},
        ]
    }
