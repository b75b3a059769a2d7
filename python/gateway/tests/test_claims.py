"""Large payloads of new envelopes: what travels, what is stored, what comes back, what callers are told."""

import asyncio
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from asya_core.objects.directory import DirectoryStore
from asya_core.ops.logs import Level, LineWriter, Log
from asya_core.wire.envelope import parse
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable
from asya_gateway.claims import Claims

PAYLOAD = {"text": "ü" * 600}
BODY = json.dumps(PAYLOAD, ensure_ascii=False, separators=(",", ":")).encode()


def envelope(payload: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "e1", "route": {"actors": ["a", "b"], "current": 0}, "payload": PAYLOAD if payload is None else payload, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "claims"
    made.mkdir()
    return made


def claims(folder: Path | None, *, threshold: int = len(BODY), most: int = 10_000) -> Claims:
    objects = None if folder is None else DirectoryStore(folder)
    return Claims(objects, threshold_bytes=threshold, max_message_bytes=most, log=Log(LineWriter(), Level.ERROR))


def test_large_payload_is_stored_and_a_claim_travels_that_sidecars_take(folder):
    message = asyncio.run(claims(folder).message(envelope(headers={"x": 1}), 0))
    read = parse(message.encode())
    assert read.payload is None
    assert read.claim is not None
    assert (read.claim.bytes, read.claim.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert (folder / read.claim.key).read_bytes() == BODY
    assert json.loads(message)["headers"] == {"x": 1}
    assert json.loads(asyncio.run(claims(folder).whole(message))) == envelope(headers={"x": 1})


def test_smaller_payload_travels(folder):
    message = asyncio.run(claims(folder, threshold=len(BODY) + 1).message(envelope(), 0))
    assert json.loads(message) == envelope()
    assert not list(folder.iterdir())
    assert asyncio.run(claims(folder).whole(message)) == message


def test_same_payload_twice_is_one_object(folder):
    one = [asyncio.run(claims(folder).message(envelope(), 0)) for _ in range(2)]
    assert one[0] == one[1]


def test_claim_of_a_replay_is_passed_on_as_it_is(folder):
    message = asyncio.run(claims(folder).message(envelope(), 0))
    again = {**json.loads(message), "id": "e2"}
    assert json.loads(asyncio.run(claims(folder).message(again, 1))) == again


@pytest.mark.parametrize(("with_storage", "hint"), [(False, "give gateway and actors a claim storage"), (True, "send a reference instead")])
def test_what_is_too_large_even_so_is_refused_with_the_remedy(folder, with_storage, hint):
    store = claims(folder if with_storage else None, threshold=1_000_000, most=500)
    with pytest.raises(RemoteFault) as caught:
        asyncio.run(store.message(envelope(), 0))
    assert caught.value.code == "payload_too_large"
    assert hint in str(caught.value)


def test_storage_that_fails_is_not_the_callers_fault(tmp_path):
    with pytest.raises(Unavailable) as caught:
        asyncio.run(claims(tmp_path / "absent").message(envelope(), 0))
    assert caught.value.code == "claim_storage"


def test_storage_that_hangs_holds_only_so_many_callers(folder):
    let_go = threading.Event()

    class Hanging(DirectoryStore):
        def put_if_absent(self, key: str, body: bytes) -> bool:
            let_go.wait(30)
            return super().put_if_absent(key, body)

    async def body() -> tuple[list[Any], int]:
        store = Claims(Hanging(folder), threshold_bytes=1, max_message_bytes=10_000, log=Log(LineWriter(), Level.ERROR))
        calls = [asyncio.create_task(store.message(envelope() | {"id": f"e{n}"}, 0)) for n in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await store.message(envelope(), 0)
        assert caught.value.code == "claim_storage"
        let_go.set()
        return await asyncio.gather(*calls), len(json.loads(await store.message(envelope(), 0)))

    done, members = asyncio.run(body())
    assert (len(done), members) == (64, 3)


def _forged(message: str, **changed: Any) -> str:
    told = json.loads(message)
    told["asya_claim"] |= changed
    return json.dumps(told)


@pytest.mark.parametrize("what", ["gone", "other bytes", "other size", "other place", "no storage"])
def test_payload_that_is_no_longer_there_as_it_was_is_told(folder, what):
    message = asyncio.run(claims(folder).message(envelope(), 0))
    file = folder / json.loads(message)["asya_claim"]["key"]
    store: Claims = claims(folder)
    match what:
        case "gone":
            file.unlink()
        case "other bytes":
            file.write_bytes(b"x" * len(BODY))
        case "other size":
            file.write_bytes(BODY + b"x")
        case "other place":
            message = _forged(message, key="../../etc/passwd")
        case _:
            store = claims(None)
    with pytest.raises(AsyaError) as caught:
        asyncio.run(store.whole(message))
    assert isinstance(caught.value, Refused)
    assert caught.value.code == "no_such_record"


def test_word_in_a_payload_is_no_claim(folder):
    message = json.dumps(envelope({"asya_claim": 1}))
    assert asyncio.run(claims(folder).whole(message)) == message
