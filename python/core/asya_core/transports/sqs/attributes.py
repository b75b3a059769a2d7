"""What Asya has on SQS: every queue with its attributes and tags, from one place, and how they differ from what is found. Pure.

The operator, the command line and tests make what is listed here (`admin`); the transport only uses the names. Knows no connection.

Unlike RabbitMQ's arguments all of them may be changed while messages are in the queue, so a queue that differs is changed in place.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from asya_core.transports.base import QueueSpec
from asya_core.transports.sqs.settings import MAX_MESSAGE_BYTES, MAX_WAIT_SECONDS
from asya_core.wire.names import ERROR_END, HAPPY_END, check_namespace, dead_letter_queue_name, is_end_actor, queue_name

__all__ = [
    "CONSTANTS",
    "END_ACTOR_RECEIVES",
    "LEAST_RECEIVES",
    "MAX_RECEIVES",
    "OWNER_TAG",
    "REDRIVE",
    "SqsQueue",
    "actor_queue",
    "changes",
    "dead_letter_queue",
    "described",
    "found_redrive",
    "namespace_queues",
    "queue_of",
    "redrive_policy",
    "wanted_attributes",
]

MAX_RECEIVES: Final = 1_000
"""The most that a redrive policy allows (SQS API reference, SetQueueAttributes)."""
LEAST_RECEIVES: Final = 200
"""Receives of one message before SQS itself gives it up: the net below the sidecar's own limit."""
END_ACTOR_RECEIVES: Final = MAX_RECEIVES
"""The same of happy-end and error-end, which try for as long as they may."""
_ATTEMPTS_ROOM: Final = 20
"""Receives beyond the retry policy's attempts: polls and pods that ended in mid-call count too."""
OWNER_TAG: Final = "asya.sh/owner"
"""Tag of a queue: ``namespace/actor``, or the namespace alone for its dead letters. Another value is another's queue."""
REDRIVE: Final = "RedrivePolicy"

CONSTANTS: Final[Mapping[str, str]] = {
    "MessageRetentionPeriod": str(14 * 86_400),
    "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    "VisibilityTimeout": "120",
    "ReceiveMessageWaitTimeSeconds": str(MAX_WAIT_SECONDS),
    "DelaySeconds": "0",
}
"""Attributes that every queue has: the longest retention, the largest message, and the defaults of those who receive and say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsQueue:
    """A standard queue as it should be.

    Attributes:
        name: at most 80 characters.
        dead_letter: name of the queue that takes what was received more than `max_receives` times; None: nothing is given up.
        max_receives: 1 to 1,000; of no meaning without `dead_letter`.
        owner: value of `OWNER_TAG`; None: whoever's it is, nothing is tagged.
    """

    name: str
    dead_letter: str | None = None
    max_receives: int = LEAST_RECEIVES
    owner: str | None = None


def actor_queue(namespace: str, actor: str, *, max_attempts: int = 1) -> SqsQueue:
    """The queue of an actor. What SQS gives up on goes to error-end's queue; error-end's own to the dead-letter queue.

    Args:
        namespace: of the actor.
        actor: its name.
        max_attempts: of its retry policy; SQS never gives up before it is spent.
    """
    dead_letter = dead_letter_queue_name(namespace) if actor == ERROR_END else queue_name(namespace, ERROR_END)
    receives = END_ACTOR_RECEIVES if is_end_actor(actor) else min(MAX_RECEIVES, max(LEAST_RECEIVES, max_attempts + _ATTEMPTS_ROOM))
    return SqsQueue(name=queue_name(namespace, actor), dead_letter=dead_letter, max_receives=receives, owner=f"{namespace}/{actor}")


def dead_letter_queue(namespace: str) -> SqsQueue:
    """The queue of what error-end itself could not take."""
    return SqsQueue(name=dead_letter_queue_name(check_namespace(namespace)), owner=namespace)


def namespace_queues(namespace: str, actors: Iterable[str]) -> tuple[SqsQueue, ...]:
    """Every queue of a namespace with `actors`; one that takes another's dead letters comes first, since SQS wants it to exist."""
    names = dict.fromkeys((ERROR_END, HAPPY_END, *actors))
    return (dead_letter_queue(namespace), *(actor_queue(namespace, name) for name in names))


def queue_of(spec: QueueSpec) -> SqsQueue:
    """The queue that `spec` asks for, without an owner."""
    return SqsQueue(name=spec.name, dead_letter=spec.dead_letter, max_receives=min(MAX_RECEIVES, max(1, spec.max_deliveries)))


def redrive_policy(dead_letter_arn: str, max_receives: int) -> str:
    """The attribute `REDRIVE`."""
    return json.dumps({"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": max_receives}, separators=(",", ":"))


def wanted_attributes(queue: SqsQueue, dead_letter_arn: str | None) -> dict[str, str]:
    """All attributes of `queue`; without a dead-letter queue its policy is the empty text, which removes one."""
    policy = redrive_policy(dead_letter_arn, queue.max_receives) if dead_letter_arn is not None else ""
    return {**CONSTANTS, REDRIVE: policy}


def found_redrive(found: Mapping[str, str]) -> tuple[str, int] | None:
    """ARN and count of a found policy; None without one. A policy that cannot be read is one of no queue."""
    raw_policy = found.get(REDRIVE)
    if not raw_policy:
        return None
    try:
        policy = json.loads(raw_policy)
        return str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (ValueError, TypeError, KeyError):
        return "", 0


def changes(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The attributes of `wanted` that `found` has otherwise.

    A constant that the server does not tell is one that it does not know (SQS tells all; some doubles leave some out): not a difference.
    """
    made = {name: value for name, value in wanted.items() if name != REDRIVE and name in found and found[name] != value}
    if REDRIVE in wanted and found_redrive(wanted) != found_redrive(found):
        made[REDRIVE] = wanted[REDRIVE]
    return made


def described(changed: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The difference for people: ``VisibilityTimeout is 30, wanted 120``, joined by "; "."""
    told = []
    for name, value in sorted(changed.items()):
        if name == REDRIVE:
            told.append(f"{name} is {_redrive_words(found_redrive(found))}, wanted {_redrive_words(found_redrive(changed))}")
        else:
            told.append(f"{name} is {found.get(name) or 'absent'}, wanted {value}")
    return "; ".join(told)


def _redrive_words(policy: tuple[str, int] | None) -> str:
    return f"{policy[0].rpartition(':')[2] or 'unreadable'} after {policy[1]} receives" if policy is not None else "absent"
