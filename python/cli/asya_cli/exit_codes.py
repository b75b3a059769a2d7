"""Exit codes of `asya`, and the one table from error class to code.

Called by `asya_cli.__main__` and by the test that compares docs/reference/exit-codes.md. Knows no command.
"""

from enum import IntEnum
from typing import Final

from asya_cli.errors import Failed, Interrupted, TimedOut
from asya_core.wire.errors import AsyaError, Bug, Refused, RemoteFault, Unavailable

__all__ = ["CODES", "MEANINGS", "ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """What the process says when it ends; the sentence of each is in `MEANINGS`."""

    DONE = 0
    NO = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    TIMED_OUT = 5
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.DONE: "done",
    ExitCode.NO: "done, and the answer is no: an envelope failed, was cancelled or expired, a check failed, a change would strand messages",
    ExitCode.USAGE: "usage: an option, a values file, the JSON input, the route, the handler or a tool's argument is not right",
    ExitCode.UNAVAILABLE: "the broker, the gateway or another peer cannot be reached",
    ExitCode.REFUSED: "a healthy peer said no: wrong credentials, no permission, no such tool or envelope",
    ExitCode.TIMED_OUT: "`--timeout` ran out before the envelope ended",
    ExitCode.BUG: "a fault of Asya's own, with a traceback",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C (SIGINT)",
    ExitCode.TERMINATED: "terminated by SIGTERM",
}

CODES: Final[tuple[tuple[type[AsyaError], ExitCode], ...]] = (
    (Failed, ExitCode.NO),
    (TimedOut, ExitCode.TIMED_OUT),
    (Interrupted, ExitCode.INTERRUPTED),
    (RemoteFault, ExitCode.USAGE),
    (Unavailable, ExitCode.UNAVAILABLE),
    (Refused, ExitCode.REFUSED),
    (Bug, ExitCode.BUG),
)
"""The first class that fits wins."""


def exit_code_of(error: AsyaError) -> ExitCode:
    """The exit code for `error`; 70 for a class that the table does not have."""
    if isinstance(error, Interrupted) and error.terminated:
        return ExitCode.TERMINATED
    return next((code for kind, code in CODES if isinstance(error, kind)), ExitCode.BUG)
