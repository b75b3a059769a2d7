"""New envelopes around old bytes: the head is written anew, the payload stays as it is.

Called by `outputs` and `checks`. Decides nothing: whoever calls knows what is to be sent. Never parses a payload.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from asya_core.wire.digest import sha256_hex
from asya_core.wire.envelope import CATCH_HEADER, FANOUT_HEADER, HOPS_HEADER, Envelope, child_id, unreadable_id
from asya_core.wire.names import is_end_actor, is_route_entry, split_entry
from asya_core.wire.reply import ErrorReply
from asya_core.wire.route import Route

__all__ = ["advanced", "caught", "child", "ended", "error_member", "failed", "fitted", "mark_hop", "unreadable"]

_encode: Final = msgspec.json.encode
_Headers = Mapping[str, msgspec.Raw]


def mark_hop(envelope: Envelope, headers: _Headers, *, siblings: int = 0, hops: int = 1) -> dict[str, msgspec.Raw]:
    """`headers` with the sidecar's own, whatever they said: ``asya-hops`` and ``asya-fanout`` of `envelope`, plus this hop.

    Args:
        envelope: as this actor received it.
        headers: of the output.
        siblings: how many items replace the envelope, 0 if it goes on itself.
        hops: publishes to count; 0 for what goes to error-end, which is kept as it was received.
    """
    marked = dict(headers)
    total = max(0, envelope.hops) + hops
    if total:
        marked[HOPS_HEADER] = msgspec.Raw(b"%d" % total)
    else:
        marked.pop(HOPS_HEADER, None)
    if siblings:
        marked[FANOUT_HEADER] = msgspec.Raw(_encode([*envelope.fanout, siblings]))
    elif FANOUT_HEADER in envelope.headers:
        marked[FANOUT_HEADER] = envelope.headers[FANOUT_HEADER]
    else:
        marked.pop(FANOUT_HEADER, None)
    return marked


def advanced(envelope: Envelope, payload: bytes) -> Envelope:
    """The envelope for the next actor, with the handler's one payload."""
    return envelope.changed(route=envelope.route.advanced(), headers=mark_hop(envelope, envelope.headers), payload=payload)


def child(envelope: Envelope, payload: bytes, *, index: int, siblings: int) -> Envelope:
    """Item `index` of a list of `siblings` payloads that replaces the envelope, for the next actor."""
    return envelope.changed(
        id=child_id(envelope.id, envelope.route.current, index),
        parent_id=envelope.id,
        route=envelope.route.advanced(),
        headers=mark_hop(envelope, envelope.headers, siblings=siblings),
        payload=payload,
    )


def ended(envelope: Envelope) -> Envelope:
    """The envelope for happy-end after the handler ended it: payload and route as they came, so one sees where it ended."""
    return envelope.changed(headers=mark_hop(envelope, envelope.headers))


def error_member(failure: ErrorReply, *, actor: str, attempt: int, at: datetime) -> dict[str, object]:
    """The member ``error`` of a failed envelope: all eight fields, ``at`` in UTC with milliseconds."""
    return {
        "code": failure.code,
        "type": failure.type,
        "mro": failure.mro,
        "message": failure.message,
        "traceback": failure.traceback,
        "actor": actor,
        "attempt": attempt,
        "at": at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
    }


def failed(envelope: Envelope, error: Mapping[str, object], *, keeps_claim: bool) -> Envelope:
    """The envelope for error-end: as it is, plus `error`; a claim that error-end could not fetch becomes a payload that tells of it."""
    if envelope.claim is not None and not keeps_claim:
        return envelope.changed(payload=_encode({"asya_claim": envelope.claim}), error=error)
    return envelope.changed(error=error)


def caught(envelope: Envelope, error: Mapping[str, object]) -> Envelope | None:
    """The envelope for the top entry of ``asya-catch``: entry popped, inserted after `current`, advanced to, `error` set.

    None if there is no such entry, or it names no actor that could take it.
    """
    stack = envelope.catch
    if not stack or not is_route_entry(stack[-1]) or is_end_actor(split_entry(stack[-1])[0]):
        return None
    headers = mark_hop(envelope, envelope.headers)
    headers[CATCH_HEADER] = msgspec.Raw(_encode(stack[:-1]))
    actors, after = envelope.route.actors, envelope.route.current + 1
    return envelope.changed(route=Route((*actors[:after], stack[-1], *actors[after:]), after), headers=headers, error=error)


def unreadable(body: bytes, error: Mapping[str, object], *, actor: str, limit_bytes: int) -> bytes:
    """The error record of a message that is no envelope, its bytes inside; at most `limit_bytes` long if that can be.

    Args:
        body: the message.
        error: the member ``error``.
        actor: who could not read it.
        limit_bytes: what the broker takes. A longer record has its text cut; size and hash stay true.
    """
    record = {"id": unreadable_id(body), "route": {"actors": [actor], "current": 0}}
    return _fit(lambda kept: _encode({**record, "payload": _quoted(body, kept), "error": error}), len(body), limit_bytes)


def fitted(record: Envelope, error: Mapping[str, object], limit_bytes: int) -> bytes:
    """The bytes of an error record, at most `limit_bytes` long if that can be: first the traceback goes, then the payload is cut.

    A cut payload is an object like that of an unreadable message: text, size and hash of the JSON that it was.
    """
    encoded = record.changed(error=error).encode()
    if len(encoded) <= limit_bytes:
        return encoded
    short = {**error, "traceback": None}
    encoded = record.changed(error=short).encode()
    if len(encoded) <= limit_bytes:
        return encoded
    quote, content = _unquoted(bytes(record.payload or b"null"))
    return _fit(
        lambda kept: record.changed(payload=_encode(_quoted(content, kept, quote)), error=short).encode(),
        len(content),
        limit_bytes,
    )


class _Quote(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Bytes that are no payload, as a payload: their head as text or base64, their whole size, their hash."""

    bytes: int
    sha256: str
    text: str | None = None
    base64: str | None = None


_decode_quote: Final = msgspec.json.Decoder(_Quote).decode


def _unquoted(payload: bytes) -> tuple[_Quote | None, bytes]:
    """What to cut: the head that a quote holds, with the quote, whose facts stay true; else the payload itself."""
    try:
        quote = _decode_quote(payload)
    except msgspec.MsgspecError:
        return None, payload
    if quote.base64 is not None:
        return quote, base64.b64decode(quote.base64)
    return quote, (quote.text or "").encode()


def _quoted(body: bytes, kept: int, facts: _Quote | None = None) -> _Quote:
    size, sha256 = (len(body), sha256_hex(body)) if facts is None else (facts.bytes, facts.sha256)
    head = body[:kept]
    try:
        body.decode()
    except UnicodeDecodeError:
        return _Quote(bytes=size, sha256=sha256, base64=base64.b64encode(head).decode())
    return _Quote(bytes=size, sha256=sha256, text=head.decode(errors="ignore"))


def _fit(encode: Callable[[int], bytes], length: int, limit_bytes: int) -> bytes:
    encoded = encode(length)
    while len(encoded) > limit_bytes and length:
        length = max(0, length * limit_bytes // len(encoded) - 64)
        encoded = encode(length)
    return encoded
