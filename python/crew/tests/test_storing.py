"""What an end actor answers: what is stored, or an error."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from asya_core.objects.directory import DirectoryStore
from asya_core.wire.errors import Refused
from asya_crew.record import Kind
from asya_crew.storing import handler_of, store

ENVELOPE = {"id": "7", "route": {"actors": ["a"], "current": 1}, "payload": 1}


def stored(envelope: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(envelope, separators=(",", ":")).encode()
    return {"key": "results/7.json", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.fixture
def objects(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def test_the_answer_is_the_envelope_with_the_reference(objects: DirectoryStore) -> None:
    assert store(Kind.RESULT, ENVELOPE, objects) == {**ENVELOPE, "asya_stored": stored(ENVELOPE)}
    assert json.loads(objects.get("results/7.json")) == ENVELOPE


def test_a_redelivery_gets_the_same_answer(objects: DirectoryStore) -> None:
    first = store(Kind.RESULT, ENVELOPE, objects)

    assert store(Kind.RESULT, ENVELOPE, objects) == store(Kind.RESULT, first, objects) == first


def test_another_payload_under_the_same_id_is_answered_with_what_is_stored(objects: DirectoryStore) -> None:
    first = store(Kind.RESULT, ENVELOPE, objects)

    assert store(Kind.RESULT, {**ENVELOPE, "payload": 2}, objects) == first


def test_result_and_error_of_one_id_are_two_records(objects: DirectoryStore) -> None:
    store(Kind.RESULT, ENVELOPE, objects)
    store(Kind.ERROR, {**ENVELOPE, "error": {"code": "timeout"}}, objects)

    assert [each.key for each in objects.list()] == ["errors/7.json", "results/7.json"]


@pytest.mark.parametrize("foreign", [b"", b"text", b"[]", b'{"id": "8"}', b"\xff", b"[" * 100_000])
def test_what_is_not_our_record_is_refused_and_left_alone(objects: DirectoryStore, foreign: bytes) -> None:
    objects.put_if_absent("results/7.json", foreign)

    with pytest.raises(Refused, match="not a record of envelope 7; something else wrote there"):
        store(Kind.RESULT, ENVELOPE, objects)

    assert objects.get("results/7.json") == foreign


def test_the_handler_of_the_runtime_stores(objects: DirectoryStore) -> None:
    handler = handler_of(Kind.ERROR, objects)

    async def three() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(handler({**ENVELOPE, "id": envelope_id}) for envelope_id in "123")))

    assert [each["asya_stored"]["key"] for each in asyncio.run(three())] == ["errors/1.json", "errors/2.json", "errors/3.json"]
