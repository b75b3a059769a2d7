"""Names: which are legal, and which queue an actor of a namespace has.

Called by whoever names a queue or checks a route. Knows no broker.

A namespace and an actor are Kubernetes names, so neither can hold an underscore: a queue of Asya's own (dead letters, delays) has one
and cannot collide with an actor's queue.
"""

import re
from typing import Final

from asya_core.wire.errors import RemoteFault

__all__ = [
    "ERROR_END",
    "HAPPY_END",
    "MAX_ACTOR_LENGTH",
    "check_actor",
    "check_namespace",
    "dead_letter_queue_name",
    "is_actor",
    "is_end_actor",
    "is_envelope_id",
    "is_route_entry",
    "queue_name",
    "split_entry",
]

HAPPY_END: Final = "happy-end"
ERROR_END: Final = "error-end"
MAX_ACTOR_LENGTH: Final = 53
"""Characters; a Helm release name is no longer, and an actor is one release."""
MAX_NAMESPACE_LENGTH: Final = 63
"""Characters of a Kubernetes namespace (RFC 1123 label)."""

_ACTOR: Final = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_STEP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ENVELOPE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_actor(name: str) -> bool:
    """Whether `name` may be an actor's: ``[a-z]([-a-z0-9]*[a-z0-9])?``, at most 53 characters."""
    return len(name) <= MAX_ACTOR_LENGTH and _ACTOR.fullmatch(name) is not None


def is_end_actor(name: str) -> bool:
    """Whether `name` is one of the two end actors, happy-end and error-end."""
    return name in (HAPPY_END, ERROR_END)


def is_envelope_id(value: str) -> bool:
    """Whether `value` may be an envelope's id: 1–128 characters of ``[A-Za-z0-9._:-]``."""
    return _ENVELOPE_ID.fullmatch(value) is not None


def split_entry(entry: str) -> tuple[str, str]:
    """The actor and the step of a route entry ``actor`` or ``actor:step``; the step is empty without one."""
    actor, _, step = entry.partition(":")
    return actor, step


def is_route_entry(entry: str) -> bool:
    """Whether `entry` may stand in a route: a legal actor, optionally ``:step`` with a step of 1–128 ``[A-Za-z0-9_.-]``."""
    actor, colon, step = entry.partition(":")
    return is_actor(actor) and (not colon or _STEP.fullmatch(step) is not None)


def check_actor(name: str) -> str:
    """`name` itself. Raises RemoteFault ``bad_name`` if it may not be an actor's."""
    if not is_actor(name):
        raise RemoteFault(
            "bad_name",
            f"Actor name {name!r} is not legal; expected [a-z]([-a-z0-9]*[a-z0-9])?, at most {MAX_ACTOR_LENGTH} characters",
            "rename the actor: lower-case letters, digits and dashes",
        )
    return name


def check_namespace(name: str) -> str:
    """`name` itself. Raises RemoteFault ``bad_name`` if it may not be a namespace's (RFC 1123 label)."""
    if len(name) > MAX_NAMESPACE_LENGTH or _NAMESPACE.fullmatch(name) is None:
        raise RemoteFault(
            "bad_name",
            f"Namespace {name!r} is not legal; expected an RFC 1123 label of at most {MAX_NAMESPACE_LENGTH} characters",
            "use lower-case letters, digits and dashes",
        )
    return name


def queue_name(namespace: str, actor: str) -> str:
    """The queue of `actor` in `namespace`: ``asya-{namespace}-{actor}``. Checks neither."""
    return f"asya-{namespace}-{actor}"


def dead_letter_queue_name(namespace: str) -> str:
    """The queue of what error-end itself could not take: ``asya-{namespace}_dlq``. Nobody consumes it; an alert watches it."""
    return f"asya-{namespace}_dlq"
