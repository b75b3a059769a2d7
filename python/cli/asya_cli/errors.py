"""Errors that only the command line has, beside the tree of `asya_core.wire.errors`, and the nearest-name hint.

::

    AsyaError
    ├─ Failed         the work is done and the answer is no
    ├─ TimedOut       --timeout ran out
    └─ Interrupted    Ctrl-C or SIGTERM

Raised by commands, printed once by `asya_cli.__main__`; `exit_codes` turns each into a code.
"""

import difflib
from collections.abc import Iterable

from asya_core.wire.errors import AsyaError

__all__ = ["Failed", "Interrupted", "TimedOut", "nearest"]


class Failed(AsyaError):
    """The work was done and the answer is no: an envelope ended in error-end."""


class TimedOut(AsyaError):
    """The time that the user allowed ran out."""


class Interrupted(AsyaError):
    """The user or the system asked the process to stop.

    Args:
        terminated: True for SIGTERM, False for SIGINT.
    """

    def __init__(self, code: str, message: str, hint: str = "", *, terminated: bool = False) -> None:
        super().__init__(code, message, hint)
        self.terminated = terminated


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown `word`: ``did you mean X?`` if something is near, else the list of what is known (at most 20)."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known are: {listed}" if names else "none are known here"
