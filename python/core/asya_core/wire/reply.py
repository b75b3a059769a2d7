"""The runtime's answer to one call, as a tagged union.

Made by the frame reader, taken by the sidecar's decisions. Payloads stay the bytes that the runtime wrote.
"""

from typing import TypeAlias

import msgspec

__all__ = ["EnvelopesReply", "ErrorReply", "PayloadsReply", "Reply"]


class PayloadsReply(msgspec.Struct, frozen=True, gc=False):
    """The handler's results in payload mode.

    Attributes:
        items: the JSON text of each payload, UTF-8; empty if the handler ended the envelope (``None``).
        fan_out: whether the items replace the envelope as a list does; without it there is at most one item.
    """

    items: tuple[bytes, ...]
    fan_out: bool


class EnvelopesReply(msgspec.Struct, frozen=True, gc=False):
    """The handler's results in envelope mode.

    Attributes:
        items: pairs of head (JSON object: the envelope without ``payload``) and payload (JSON text), both UTF-8.
        fan_out: as in `PayloadsReply`.
    """

    items: tuple[tuple[bytes, bytes], ...]
    fan_out: bool


class ErrorReply(msgspec.Struct, frozen=True, gc=False):
    """The call failed.

    Attributes:
        code: one of the runtime's codes in `asya_core.wire.errors`.
        type: the exception's class, spelled as in `mro`; None if there was no exception.
        mro: class names of the exception and its bases without ``object``; builtins bare, others dotted; at most 20.
        message: the exception's text, at most 4 KiB.
        traceback: at most 16 KiB; None if there is none.
    """

    code: str
    type: str | None
    mro: tuple[str, ...]
    message: str
    traceback: str | None


Reply: TypeAlias = PayloadsReply | EnvelopesReply | ErrorReply
