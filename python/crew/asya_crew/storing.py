"""Stores an envelope and answers with where it is: what both end actors do.

Called by `happy_end` and `error_end`. Any doubt is raised: the sidecar has the envelope delivered again, up to a hundred times over hours,
so nothing is answered as stored that is not. Publishes nothing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from asya_core.objects.base import ObjectStore
from asya_core.wire.errors import Refused
from asya_crew.record import STORED, Envelope, Kind, encode, key_of, reference, without_reference

__all__ = ["Handler", "handler_of", "store"]

Handler = Callable[[Envelope], Awaitable[Envelope]]
_THREADS: Final = 64
"""As many as a runtime has slots; idle ones cost nothing, as they are made when needed."""


def store(kind: Kind, envelope: Envelope, objects: ObjectStore) -> Envelope:
    """Keep the envelope's record; gives the envelope with ``asya_stored``.

    If a record is there already, it stands, and the answer is the envelope that it holds: what is reported is what is stored, although a
    handler that ran twice may have given something else the second time.

    Raises Unavailable and Refused of the storage, and Refused ``not_a_record`` if what is there is not a record of this envelope.
    """
    key = key_of(kind, envelope)
    kept, body = encode(without_reference(envelope))
    if not objects.put_if_absent(key, body):
        found = objects.get(key)
        if found != body:
            kept, body = _read(found, key, objects.location, kept["id"]), found
    return {**kept, STORED: reference(key, body)}


def handler_of(kind: Kind, objects: ObjectStore) -> Handler:
    """The handler of an end actor. Calls run side by side, each in a thread, as many as the runtime's concurrency lets in."""
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")

    async def handle(envelope: Envelope) -> Envelope:
        return await asyncio.get_running_loop().run_in_executor(threads, store, kind, envelope, objects)

    return handle


def _read(found: bytes, key: str, location: str, envelope_id: str) -> Envelope:
    try:
        record: Any = json.loads(found)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("id") != envelope_id:
        raise Refused(
            "not_a_record",
            f"Object {key} in {location} is not a record of envelope {envelope_id}",
            "something else wrote there: move the object away, or give the crew a prefix of its own",
        )
    return record
