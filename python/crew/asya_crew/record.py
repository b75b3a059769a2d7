"""What is stored of an envelope and under which key. Pure: no storage, no clock.

Called by `storing`. A record is the whole envelope as the end actor received it, as UTF-8 JSON without spaces; its key holds the envelope's
id and nothing else, so that a redelivery finds what it stored (specification: "Keys hold nothing but the id").
"""

import hashlib
import json
import math
from enum import StrEnum
from typing import Any, Final, TypeAlias

from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_envelope_id

__all__ = ["STORED", "Envelope", "Kind", "encode", "key_of", "reference", "without_reference"]

Envelope: TypeAlias = dict[str, Any]
"""An envelope as a handler in envelope mode gets it: parsed JSON."""

STORED: Final = "asya_stored"
"""The member that an end actor adds to what it returns: where the record is."""


class Kind(StrEnum):
    """The two kinds of records; the value is the folder of their keys."""

    RESULT = "results"
    """What happy-end got: the route is done, or a handler ended the envelope."""
    ERROR = "errors"
    """What error-end got: the envelope failed for good."""


def key_of(kind: Kind, envelope: Envelope) -> str:
    """``results/<id>.json`` or ``errors/<id>.json``. Raises RemoteFault ``bad_envelope`` if the id is none."""
    envelope_id = envelope.get("id")
    if not isinstance(envelope_id, str) or not is_envelope_id(envelope_id):
        raise RemoteFault("bad_envelope", "Envelope id is absent or not 1–128 characters of [A-Za-z0-9._:-]")
    return f"{kind}/{envelope_id}.json"


def without_reference(envelope: Envelope) -> Envelope:
    """The envelope without a reference that it came with: a record does not hold its own hash."""
    return {key: value for key, value in envelope.items() if key != STORED}


def encode(envelope: Envelope) -> tuple[Envelope, bytes]:
    """The envelope as it can be stored, and its bytes.

    Numbers that JSON cannot say (``1e400`` is read as infinite) become the strings ``Infinity``, ``-Infinity``, ``NaN``: a record with a
    string in their place is worth more than none.
    """
    try:
        return envelope, _dump(envelope)
    except ValueError:
        sayable = _sayable(envelope)
        return sayable, _dump(sayable)


def reference(key: str, body: bytes) -> dict[str, Any]:
    """The member ``asya_stored``: key, size in bytes, SHA-256 in lower-case hex."""
    return {"key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def _dump(envelope: Envelope) -> bytes:
    return json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _sayable(value: Any) -> Any:
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: _sayable(each) for key, each in value.items()}
        case list():
            return [_sayable(each) for each in value]
        case _:
            return value
