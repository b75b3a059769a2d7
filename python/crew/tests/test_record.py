"""Keys and bytes of records."""

import hashlib
import json
import math
from typing import Any

import pytest

from asya_core.objects.base import check_key
from asya_core.wire.errors import RemoteFault
from asya_crew.record import Kind, encode, key_of, reference, without_reference


@pytest.mark.parametrize("envelope_id", ["7", "01J8Z3.0.11", ".", "..", "a:b", "-", "A" * 128])
@pytest.mark.parametrize(("kind", "folder"), [(Kind.RESULT, "results"), (Kind.ERROR, "errors")])
def test_a_key_holds_the_id_and_nothing_else(kind: Kind, folder: str, envelope_id: str) -> None:
    key = key_of(kind, {"id": envelope_id, "payload": 1, "headers": {"x": 1}})

    assert key == check_key(key) == f"{folder}/{envelope_id}.json"


@pytest.mark.parametrize(
    "envelope", [{}, {"id": ""}, {"id": 7}, {"id": "a/b"}, {"id": "../x"}, {"id": "a" * 129}, {"id": "ä"}, {"id": None}]
)
def test_an_id_that_is_none_is_refused(envelope: dict[str, Any]) -> None:
    with pytest.raises(RemoteFault, match="Envelope id"):
        key_of(Kind.RESULT, envelope)


def test_a_record_is_the_envelope_as_compact_json() -> None:
    envelope = {"id": "7", "payload": {"ü": [1, 1.5, None, 2**70]}, "error": {"traceback": "a\nb"}}

    kept, body = encode(envelope)

    assert kept is envelope
    assert body == '{"id":"7","payload":{"ü":[1,1.5,null,1180591620717411303424]},"error":{"traceback":"a\\nb"}}'.encode()


def test_numbers_that_json_cannot_say_become_words() -> None:
    kept, body = encode({"id": "7", "payload": [math.inf, {"x": -math.inf}, math.nan, 1.0, True, None, "Infinity"]})

    assert json.loads(body) == kept == {"id": "7", "payload": ["Infinity", {"x": "-Infinity"}, "NaN", 1.0, True, None, "Infinity"]}


def test_a_reference_tells_key_size_and_hash() -> None:
    assert reference("results/7.json", b"{}") == {"key": "results/7.json", "bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}


def test_a_reference_that_an_envelope_came_with_is_not_stored() -> None:
    assert without_reference({"id": "7", "asya_stored": {"key": "k"}, "payload": 1}) == {"id": "7", "payload": 1}
