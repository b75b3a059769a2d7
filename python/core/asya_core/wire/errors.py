"""The error tree: whose fault it is, and whether trying again helps.

::

    AsyaError(code, message, hint)
    ├─ RemoteFault    they broke the contract: frame, envelope, values file, arguments
    ├─ Unavailable    not now: broker, storage, gateway; trying again helps
    ├─ Refused        a healthy peer said no for good
    └─ Bug            our own invariant broke; never retried, logged with its stack

Raised by every component; translated to an effect, a status or an exit code by one table per component.
"""

from typing import Final

__all__ = ["ERROR_CODES", "AsyaError", "Bug", "Refused", "RemoteFault", "Unavailable"]

RUNTIME_CODES: Final = (
    "handler_error",
    "timeout",
    "bad_message",
    "result_not_serialisable",
    "too_many_items",
    "reply_too_large",
    "not_an_envelope",
    "route_past_changed",
    "route_current_invalid",
    "route_entry_invalid",
    "envelope_key_reserved",
)
SIDECAR_CODES: Final = (
    "bad_envelope",
    "route_mismatch",
    "route_too_long",
    "deadline_exceeded",
    "cancelled",
    "too_many_deliveries",
    "timeout",
    "runtime_crashed",
    "bad_reply",
    "unroutable",
    "payload_too_large",
    "claim_invalid",
    "result_not_stored",
)
ERROR_CODES: Final = frozenset(RUNTIME_CODES) | frozenset(SIDECAR_CODES)
"""Every value that `error.code` of an envelope may have, unless the handler set an error of its own."""


class AsyaError(Exception):
    """Base of all errors of Asya.

    Args:
        code: a word for programs, such as ``bad_envelope``.
        message: one sentence for people: thing, value, problem, what was expected.
        hint: what to do now; empty if there is nothing to do.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class RemoteFault(AsyaError):
    """The other side broke the contract; the same input fails again."""


class Unavailable(AsyaError):
    """A peer cannot be reached or cannot serve now; trying again helps.

    Args:
        retry_after_seconds: how long the peer asked to be left alone, 0 if it did not say.
    """

    def __init__(self, code: str, message: str, hint: str = "", *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(code, message, hint)
        self.retry_after_seconds = retry_after_seconds


class Refused(AsyaError):
    """A healthy peer said no, and will say no again."""


class Bug(AsyaError):
    """An invariant of ours broke. Never retried."""
