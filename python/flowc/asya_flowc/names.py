"""Names of actors and of their variables: how a function's or class's name becomes an actor's. Pure text; knows no program."""

import hashlib
import re
from typing import Final

__all__ = ["MAX_ACTOR_LENGTH", "actor_of_handler", "actor_of_router", "is_actor", "step_of_router", "variable_of_actor"]

MAX_ACTOR_LENGTH: Final = 53
"""Characters: an actor is one Helm release, and a release name is no longer."""
_MAX_STEP_LENGTH: Final = 128
_ACTOR: Final = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_actor(name: str) -> bool:
    """Whether `name` may be an actor's and its variable is free: ``ASYA_HANDLER_MODE`` has a meaning of its own."""
    return len(name) <= MAX_ACTOR_LENGTH and _ACTOR.fullmatch(name) is not None and name != "mode"


def actor_of_handler(text: tuple[str, ...], *, is_method: bool) -> str:
    """The default actor of a user's handler; may be no legal name."""
    if not is_method:
        return _dashed(text[-1])
    owner = _dashed(_HUMP.sub("-", text[-2]))
    return owner if text[-1] == "process" else f"{owner}-{_dashed(text[-1])}"


def actor_of_router(name: str) -> str:
    """The actor of a router; too long a name is cut and ends in 8 hexadecimal digits of its SHA-256."""
    actor = _dashed(name)
    if len(actor) <= MAX_ACTOR_LENGTH:
        return actor
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{actor[: MAX_ACTOR_LENGTH - 9].rstrip('-')}-{digest}"


def step_of_router(name: str) -> str:
    """The step that names a router in a folded route entry: its function, or its actor's name where that is too long."""
    return name if len(name) <= _MAX_STEP_LENGTH else actor_of_router(name)


def variable_of_actor(actor: str) -> str:
    """``ASYA_HANDLER_<ACTOR>``."""
    return f"ASYA_HANDLER_{actor.upper().replace('-', '_')}"


def _dashed(name: str) -> str:
    return name.lower().replace("_", "-").strip("-")
