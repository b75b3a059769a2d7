"""What one check found. Pure.

Made by the other modules of this package; printed by `asya_cli.commands.doctor`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from asya_core.wire.errors import AsyaError

__all__ = ["Check", "State", "bad", "good", "guarded", "odd", "skipped"]


class State(StrEnum):
    """How a check ended."""

    GOOD = "good"
    ODD = "odd"
    """It works, but is perhaps not what is meant; does not count as failed."""
    BAD = "bad"
    SKIPPED = "skipped"
    """Not looked at, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line.

    Attributes:
        name: what was looked at.
        state: how it ended.
        message: one sentence.
        hint: what to do now; never empty where it is odd or bad.
    """

    name: str
    state: State
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """``{"check", "state", "message", "hint"?}``."""
        told = {"check": self.name, "state": self.state.value, "message": self.message}
        return told | ({"hint": self.hint} if self.hint else {})


def good(name: str, message: str) -> Check:
    """All is well."""
    return Check(name=name, state=State.GOOD, message=message)


def odd(name: str, message: str, hint: str) -> Check:
    """Worth a look."""
    return Check(name=name, state=State.ODD, message=message, hint=hint)


def bad(name: str, message: str, hint: str) -> Check:
    """Something is missing or wrong."""
    return Check(name=name, state=State.BAD, message=message, hint=hint)


def skipped(name: str, why: str, hint: str = "") -> Check:
    """Not looked at."""
    return Check(name=name, state=State.SKIPPED, message=why, hint=hint)


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks of `look`; an error that it raises is one more, bad, and ends them."""
    try:
        yield from look()
    except AsyaError as error:
        yield bad(name, error.message, error.hint or "see docs/how-to/check-an-installation.md")
