"""What reports to the gateway say: the JSON of its internal API. Pure: bytes and values in, bytes out.

Called by `reporter`, in its threads. The API is specified in the gateway's page (``/internal/v1/progress``, ``/internal/v1/final``) and
described in docs/reference/sidecar.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from asya_core.wire.envelope import FANOUT_HEADER
from asya_core.wire.names import ERROR_END, is_envelope_id
from asya_sidecar.effects import Report

__all__ = ["final_body", "final_without_result", "is_recorded", "progress_bodies", "told_cancelled"]

_MAX_ROUTE: Final = 256
"""Entries; a longer route is left out of progress, which is sent for every hop."""
_MAX_BODY_BYTES: Final = 1_048_576
_MAX_RESULT_BYTES: Final = 1_048_576

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.encode


def progress_bodies(reports: Iterable[tuple[Report, str, Mapping[str, str]]], *, actor: str, cursor: Any) -> Iterator[tuple[bytes, int]]:
    """Bodies of ``/internal/v1/progress``, each with the number of reports in it; each at most 1 MiB, or one report.

    ``{"reports": [{"id", "parent_id"?, "actor", "hop", "attempt", "state", "route"?, "at", "earlier"?}], "cursor"?}``;
    ``earlier`` has the times of states of the same attempt that were not told on their own.

    Args:
        reports: each with its time, RFC 3339, and the times of the states before it that it took the place of.
        actor: whose sidecar this is.
        cursor: what the last answer gave; None if there was none.
    """
    head = b'{"reports":['
    tail = b"]}" if cursor is None else b'],"cursor":' + _encode(cursor) + b"}"
    items: list[bytes] = []
    size = 0
    routes: dict[tuple[str, ...], bytes] = {}
    told_actor = _encode(actor)
    for report, at, earlier in reports:
        route = routes.get(report.route)
        if route is None:
            route = routes[report.route] = b',"route":' + _encode(report.route) if len(report.route) <= _MAX_ROUTE else b""
        item = _progress_item(report, told_actor, route, at, earlier)
        if items and size + len(item) > _MAX_BODY_BYTES:
            yield head + b",".join(items) + tail, len(items)
            items, size = [], 0
        items.append(item)
        size += len(item) + 1
    if items:
        yield head + b",".join(items) + tail, len(items)


def _progress_item(report: Report, actor: bytes, route: bytes, at: str, earlier: Mapping[str, str]) -> bytes:
    """One report. Put together from text, as it is made for every message: ids, states and times need no escapes.

    A parent that is no legal id is left out: for it the gateway would refuse all reports of the request.
    """
    parent = f',"parent_id":"{report.parent_id}"' if report.parent_id is not None and is_envelope_id(report.parent_id) else ""
    before = "" if not earlier else ',"earlier":{' + ",".join([f'"{state}":"{time}"' for state, time in earlier.items()]) + "}"
    start = f'{{"id":"{report.envelope_id}"{parent},"actor":'
    state = f',"hop":{report.current},"attempt":{report.attempt},"state":"{report.status.value}"'
    return start.encode() + actor + state.encode() + route + f',"at":"{at}"{before}}}'.encode()


def told_cancelled(answer: bytes, cursor: Any) -> tuple[tuple[str, ...], Any]:
    """The cancelled ids of an answer to progress, and the new cursor; nothing and the old one if the answer is not as it should be."""
    try:
        told = _decode_any(answer)
        return tuple(each for each in told.get("cancelled", ()) if isinstance(each, str)), told.get("cursor", cursor)
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError, TypeError):
        return (), cursor


def final_body(envelope: bytes, actor: str, at: str) -> bytes:
    """The body of ``/internal/v1/final`` for an end actor's output.

    ``{"id", "parent_id"?, "fanout"?, "status", "result"? | "result_ref"?, "error"?, "actor", "attempt", "at"}``. Happy-end's are
    ``succeeded``; the payload travels as ``result`` up to 1 MiB, above it ``result_ref`` alone. Error-end's are ``failed``, with the error,
    whose traceback stays in the stored record, and ``result_ref``, which says where that is.

    What an envelope published by hand has wrong in parent, fan-out or error is left out: the gateway would refuse the report for it.

    Raises msgspec.MsgspecError or UnicodeDecodeError if `envelope` is no envelope.
    """
    members = _decode_members(envelope)
    body: dict[str, Any] = {"id": members["id"]} if "id" in members else {}
    parent_id = _read(members.get("parent_id"))
    if isinstance(parent_id, str) and is_envelope_id(parent_id):
        body["parent_id"] = parent_id
    fanout = _fanout(members.get("headers"))
    if fanout:
        body["fanout"] = fanout
    has_failed = actor == ERROR_END
    body["status"] = "failed" if has_failed else "succeeded"
    payload = members.get("payload")
    if not has_failed and payload is not None and len(memoryview(payload)) <= _MAX_RESULT_BYTES:
        body["result"] = payload
    elif "asya_stored" in members:
        body["result_ref"] = members["asya_stored"]
    attempt = 1
    error = _read(members.get("error")) if has_failed else None
    if isinstance(error, dict):
        body["error"] = {key: value for key, value in error.items() if key != "traceback"}
        attempt = error["attempt"] if type(error.get("attempt")) is int else 1
        actor = error["actor"] if isinstance(error.get("actor"), str) else actor
    body.update(actor=actor, attempt=attempt, at=at)
    return _encode(body)


def _read(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else _decode_any(raw)


def _fanout(headers: msgspec.Raw | None) -> list[int]:
    """Header ``asya-fanout`` if it is a list of whole numbers, else nothing: whoever publishes can write headers."""
    told = _read(headers)
    counts = told.get(FANOUT_HEADER) if isinstance(told, dict) else None
    return counts if isinstance(counts, list) and all(type(each) is int for each in counts) else []


def final_without_result(body: bytes, envelope: bytes) -> bytes | None:
    """The same report with ``result_ref`` in place of ``result``; None if it has no result or the envelope no reference."""
    report, stored = _decode_members(body), _decode_members(envelope).get("asya_stored")
    if "result" not in report or stored is None:
        return None
    return _encode({("result_ref" if key == "result" else key): (stored if key == "result" else raw) for key, raw in report.items()})


def is_recorded(answer: bytes) -> bool:
    """Whether an answer to a final report is the gateway's: ``{"recorded": true}``, or false with the status that stands."""
    try:
        told = _decode_any(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return isinstance(told, dict) and isinstance(told.get("recorded"), bool)
