"""Every reason that a condition of an AsyncActor may have, with example sentence and remedy. Pure data.

The reference page is generated from this table (`python -m asya_operator.reasons`), and a test wants each reason to be reachable.
"""

import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["BY_NAME", "PATIENT_SECONDS", "REASONS", "Condition", "Reason", "markdown"]

PATIENT_SECONDS: Final = 180.0
"""How long an image that cannot be pulled or a crashing container may last before a person is called."""


class Condition:
    """Types of conditions."""

    READY: Final = "Ready"
    QUEUE: Final = "QueueReady"
    WORKLOAD: Final = "WorkloadReady"
    SCALING: Final = "ScalingReady"
    STALLED: Final = "Stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason.

    Attributes:
        name: the word in the condition.
        condition: whose it is; Ready takes over the first False of the others.
        is_true: whether the condition is True with it.
        stalls: whether a person must act; ``patient``: after three minutes.
        example: a message as it may read.
        remedy: what to do; empty for what is well.
    """

    name: str
    condition: str
    is_true: bool
    example: str
    remedy: str = ""
    stalls: str = ""


def _good(name: str, condition: str, example: str) -> Reason:
    return Reason(name=name, condition=condition, is_true=True, example=example)


def _bad(name: str, condition: str, example: str, remedy: str, stalls: str = "") -> Reason:
    return Reason(name=name, condition=condition, is_true=False, example=example, remedy=remedy, stalls=stalls)


_NOW: Final = "now"
_PATIENT: Final = "patient"
_R, _Q, _W, _S = Condition.READY, Condition.QUEUE, Condition.WORKLOAD, Condition.SCALING
REASONS: Final = (
    _good("Running", _R, "3 pods are ready"),
    _good("Napping", _R, "No messages; the first one starts a pod"),
    _good(
        "Draining",
        _R,
        "Deleted, and goes on: its queue holds messages. It ends by 2026-01-01T01:10:00Z, at once with the annotation "
        '`asya.sh/skip-drain: "true"`',
    ),
    _good("Waking", _W, "Pods are starting for waiting messages"),
    _good("Paused", _S, "Scaling is paused at 2 pods"),
    _bad(
        "SpecInvalid",
        _R,
        "spec.sidecar.env[0].name ASYA_ACTOR belongs to the operator; remove it",
        "Correct the field that the message names. If it says that an object exists and is not this actor's, rename the actor or "
        "remove that object.",
        _NOW,
    ),
    _good("Declared", _Q, "Queue asya-demo-ocr exists on rabbitmq"),
    _bad(
        "BrokerUnreachable",
        _Q,
        "rabbitmq.mq.svc:5672: connection refused; running pods are not affected",
        "Look at the broker and at the network between it and the operator. The operator tries again by itself.",
    ),
    _bad(
        "QueueRefused",
        _Q,
        "rabbitmq.mq.svc:5672 refused configure for user asya",
        "RabbitMQ: give the operator's user the rights in docs/reference/rabbitmq.md, or correct its Secret. SQS: give the operator's "
        "service account a role with the rights in docs/how-to/run-on-aws.md, or correct its Secret; check transports.sqs.region.",
        _NOW,
    ),
    _bad(
        "QueueDeletedRecently",
        _Q,
        "Queue asya-demo-ocr was deleted less than a minute ago; SQS takes its name again after that",
        "Wait; the operator makes the queue by itself.",
    ),
    _bad(
        "QueueMismatch",
        _Q,
        "x-queue-type is classic, wanted quorum; left as it is",
        "The queue works on as it is. To have it as wanted: let it run empty, delete the queue at the broker, and the operator declares "
        "it anew.",
        _NOW,
    ),
    _bad(
        "NameCollision",
        _Q,
        "Queue asya-a-b-c belongs to AsyncActor a/b-c; rename this actor",
        "Two pairs of namespace and name make the same queue name; rename the later actor. On SQS the owner is the queue's tag "
        "`asya.sh/owner`, which another cluster of the same account may have set: rename the actor, or, if the owner is no more, correct "
        "the tag.",
        _NOW,
    ),
    _bad(
        "QueueKept",
        _Q,
        "Queue asya-demo-ocr is not empty, so the deleted actor waits for it",
        'Let the messages be worked on or purge the queue; or leave the queue behind with the annotation `asya.sh/abandon-queue: "true"`.',
        _NOW,
    ),
    _bad(
        "QueueNameTooLong", _Q, "Queue name has 84 characters; sqs allows 80", "Choose a shorter name for the actor or the namespace.", _NOW
    ),
    _bad(
        "TransportDisabled",
        _Q,
        "Transport sqs is not enabled; choose rabbitmq, or set transports.sqs.enabled in the operator",
        "Leave spec.transport out, choose one that is enabled, or enable it in the operator's chart (transports.NAME.enabled).",
        _NOW,
    ),
    _good("Available", _W, "3 of 3 pods are ready"),
    _good("ScaledToZero", _W, "No pods are wanted"),
    _bad(
        "RollingOut",
        _W,
        "1 of 3 pods run the new template",
        "Wait; if it does not move, `kubectl describe pod` of the newest pod says why.",
    ),
    _bad(
        "HandlerInvalid",
        _W,
        "ASYA_HANDLER 'ocr.run': module ocr has no attribute run; did you mean 'ocr.process'?",
        "Correct the handler's path or its module; the message is the runtime's own last line.",
        _NOW,
    ),
    _bad(
        "CrashLoop", _W, "asya-runtime ended with code 1, 4 restarts: LAST LINE", "Look at `kubectl logs deploy/NAME --previous`.", _PATIENT
    ),
    _bad(
        "OutOfMemory",
        _W,
        "asya-runtime was killed at its memory limit 2Gi",
        "Raise resources.limits.memory of the container, or load less.",
        _PATIENT,
    ),
    _bad(
        "StartupTimeout",
        _W,
        "asya-runtime had not loaded its handler after 600 s",
        "Raise spec.runtime.startupTimeout, or make imports and model loading faster.",
        _NOW,
    ),
    _bad(
        "ImagePullFailed", _W, 'asya-runtime: Back-off pulling image "my-processor:v2"', "Correct the image, or its pull secret.", _PATIENT
    ),
    _bad("SecretMissing", _W, 'asya-sidecar: secret "asya-rabbitmq" not found', "Create the Secret in the actor's namespace.", _NOW),
    _bad(
        "Unschedulable",
        _W,
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu",
        "Lower what the pod requests, or add nodes; a cluster that scales its nodes does so by itself.",
    ),
    _bad(
        "PodsRefused",
        _W,
        'pods "ocr-5c" is forbidden: exceeded quota',
        "Raise the namespace's quota, or correct what Pod Security names.",
        _NOW,
    ),
    _bad(
        "PodTemplateRefused",
        _W,
        "spec.workload.template.spec.securityContext.runAsUser 0 is root; choose another user",
        "Correct the field that the message names.",
        _NOW,
    ),
    _good("ScalerReady", _S, "KEDA watches the queue"),
    _good("ScalingOff", _S, "Scaling is off: 2 fixed pods"),
    _bad(
        "ScalerPending",
        _S,
        "KEDA has not reported on the ScaledObject yet",
        "Wait; if it stays, look at KEDA's operator: `kubectl -n keda logs deploy/keda-operator`.",
    ),
    _bad(
        "KedaMissing",
        _S,
        "KEDA is not installed: 1 fixed pod",
        "Install KEDA, or set scaling.keda of the operator's chart to disabled and spec.scaling.enabled to false.",
    ),
    _bad(
        "TriggerFailing",
        _S,
        "KEDA: error establishing rabbitmq connection",
        "Correct what KEDA's words name: mostly the Secret or the address.",
    ),
    _bad("ScalingRefused", _S, 'admission webhook "vscaledobject.kb.io" denied the request: …', "Correct what KEDA's webhook names.", _NOW),
)
BY_NAME: Final = {reason.name: reason for reason in REASONS}


def markdown() -> str:
    """The reference page docs/reference/conditions.md."""
    head = (
        "# Conditions of an AsyncActor\n\n"
        "For who reads `kubectl describe asya NAME` and wants to know what a reason means and what to do.\n\n"
        "`Ready` takes the first False of `QueueReady`, `WorkloadReady` and `ScalingReady`, with its reason and message. `Stalled` is\n"
        "True when a person must act, and absent otherwise. *now*: at once; *patient*: if it has lasted three minutes.\n\n"
        "`Waking` keeps `Ready` True: a pod that starts for a first message is no alarm.\n\n"
        "Seven mistakes, 32 s after they were applied to a test cluster (wrong handler, wrong image, 900 GiB of memory, a capability\n"
        "that the namespace forbids, user 0, a handler that is no path; in another namespace no Secret):\n\n"
        "<!-- this block does not run: it is a run on the test cluster; tests/e2e/test_conditions.py makes these mistakes -->\n"
        "```\n"
        "NAME            READY   STATUS               REPLICAS   QUEUED   TRANSPORT   AGE\n"
        "bad-spec        False   SpecInvalid                                          31s\n"
        "caps            False   PodsRefused          0          0        rabbitmq    29s\n"
        "root            False   PodTemplateRefused   0          0        rabbitmq    30s\n"
        "too-big         False   Unschedulable        1          0        rabbitmq    32s\n"
        "wrong-handler   False   HandlerInvalid       1          0        rabbitmq    33s\n"
        "wrong-image     False   ImagePullFailed      1          0        rabbitmq    33s\n"
        "no-secret       False   SecretMissing        1          0        rabbitmq    32s\n"
        "```\n\n"
        "<!-- Generated by `make generate` from python/operator/asya_operator/reasons.py; do not edit. -->\n"
    )
    parts = [head]
    for condition in (_R, _Q, _W, _S):
        parts.append(f"\n## {condition}\n\n| reason | status | stalled | example | what to do |\n|---|---|---|---|---|\n")
        for reason in REASONS:
            if reason.condition == condition:
                status = "True" if reason.is_true else "False"
                parts.append(f"| `{reason.name}` | {status} | {reason.stalls or '–'} | {reason.example} | {reason.remedy or '–'} |\n")
    return "".join(parts)


if __name__ == "__main__":  # pragma: no cover
    sys.stdout.write(markdown())
