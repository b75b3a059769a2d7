"""W3C trace context in envelope headers, and the spans that are made of it. Values and rules only.

Called by the sidecar's decisions and by the gateway; `asya_core.ops.tracing` sends spans away. Knows no OpenTelemetry package and no clock.
Rules: W3C Trace Context level 1, and the random flag of level 2 (https://www.w3.org/TR/trace-context-2/).
"""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

__all__ = [
    "SENT_HEADER",
    "TRACEPARENT",
    "TRACESTATE",
    "Attributes",
    "Sent",
    "Span",
    "SpanKind",
    "TraceContext",
    "derived_trace_id",
    "read_context",
    "read_traceparent",
    "read_tracestate",
]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SENT_HEADER: Final = "asya-sent"
"""When and to whom the envelope was sent last: a `Sent` as a JSON list. Only where tracing is on."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03
"""Sampled, and random of level 2; the others are reserved and sent on as 0."""
_MAX_TRACEPARENT: Final = 512
"""Characters of a traceparent of a later version that are looked at."""
_MAX_TRACESTATE: Final = 8192
_MAX_MEMBERS: Final = 32
# Section 3.3.1: key is simple or tenant@system, value is printable ASCII without comma and equals sign, no blank at its end.
_MEMBER: Final = re.compile(
    r"(?:[a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]", re.ASCII
)
_decode_text: Final = msgspec.json.Decoder(str).decode

Attributes = Mapping[str, str | int | float | bool]


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """Which trace, and which span of it something comes of.

    Attributes:
        trace_id: 32 lower-case hex digits, not all 0.
        span_id: 16 lower-case hex digits, not all 0.
        flags: bits; 1 is sampled.
        state: the tracestate as it travels; empty: none.
    """

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether spans are kept."""
        return bool(self.flags & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """As it travels, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & _KNOWN_FLAGS:02x}"

    def child(self, span_id: str) -> "TraceContext":
        """The context of another span of this trace."""
        return TraceContext(self.trace_id, span_id, self.flags, self.state)

    def sampled(self, is_sampled: bool) -> "TraceContext":
        """This context with another decision."""
        return TraceContext(self.trace_id, self.span_id, self.flags & ~_SAMPLED | is_sampled, self.state)


class Sent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Header ``asya-sent``: a publish. An actor without tracing passes it on as it is; hops and actor tell that it is not the last one.

    Attributes:
        at_us: when, Unix time in microseconds.
        hops: header ``asya-hops`` of the envelope as it was sent.
        actor: whose queue it was sent to.
    """

    at_us: int
    hops: int
    actor: str


class SpanKind(StrEnum):
    """The place of a span between processes, as OpenTelemetry names it."""

    INTERNAL = "internal"
    SERVER = "server"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(msgspec.Struct, frozen=True):
    """One finished span.

    Attributes:
        name: of few values, such as ``process asya-ns-a``.
        kind: see there.
        context: its own; sampled.
        parent_id: the span that it is a part of, 16 hex digits; None: it is the first of its trace.
        start_us: Unix time in microseconds.
        end_us: not before `start_us`.
        attributes: by OpenTelemetry's names and our own.
        error: short text if what it tells of failed; None if not.
    """

    name: str
    kind: SpanKind
    context: TraceContext
    parent_id: str | None
    start_us: int
    end_us: int
    attributes: Attributes
    error: str | None = None


def read_traceparent(text: str) -> TraceContext | None:
    """The context of a ``traceparent``; None if it is none, which starts a new trace (section 4.3 of the recommendation).

    A later version than 00 is read as far as 00 goes; version ff and ids of 0 only are none.
    """
    match = _TRACEPARENT.fullmatch(text[:_MAX_TRACEPARENT])
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    known = int(flags, 16) & (_KNOWN_FLAGS if version == "00" else _SAMPLED)
    return TraceContext(trace_id, span_id, known)


def read_tracestate(text: str) -> str:
    """A ``tracestate`` fit to be sent on, empty members and blanks left out; empty if any member breaks the rules: then all are dropped."""
    if len(text) > _MAX_TRACESTATE:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    if len(members) > _MAX_MEMBERS or not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    keys = [member.partition("=")[0] for member in members]
    return ",".join(members) if len(set(keys)) == len(keys) else ""


def read_context(headers: Mapping[str, msgspec.Raw]) -> TraceContext | None:
    """The context that an envelope's headers carry, JSON bytes by name; None if there is none or a broken one."""
    traceparent = _text(headers.get(TRACEPARENT))
    context = None if traceparent is None else read_traceparent(traceparent)
    if context is None:
        return None
    state = _text(headers.get(TRACESTATE))
    return TraceContext(context.trace_id, context.span_id, context.flags, read_tracestate(state)) if state else context


def derived_trace_id(envelope_id: str) -> str:
    """The trace of an envelope that carries none: a pure function of its id, so that each of its deliveries is in the same one."""
    return hashlib.sha256(b"asya trace " + envelope_id.encode()).hexdigest()[:32]


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return _decode_text(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
