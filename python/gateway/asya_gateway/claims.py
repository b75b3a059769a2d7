"""Large payloads of new envelopes: kept in claim storage while a reference travels, as sidecars do it. Called by `service`.

A payload is stored before its row is written: what a crash in between leaves is an object that nobody refers to, which the bucket's
lifecycle rule deletes. Knows neither HTTP nor SQL.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from asya_core.objects import ObjectStore
from asya_core.ops.logs import Log
from asya_core.wire.claims import is_claim_key, make_claim
from asya_core.wire.envelope import Claim
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

__all__ = ["Claims"]

_MEMBER: Final = "asya_claim"
_THREADS: Final = 8
"""Of their own: a storage that hangs must hold up nothing else."""
_MAX_WAITING: Final = 64
"""Calls for the storage at a time; each holds a payload."""


class Claims:
    """Claim storage.

    Args:
        objects: the storage; None: all payloads travel.
        threshold_bytes: from which on a payload is kept there.
        max_message_bytes: the most that the broker takes.
        log: one line when the storage fails.
    """

    def __init__(self, objects: ObjectStore | None, *, threshold_bytes: int, max_message_bytes: int, log: Log) -> None:
        self._objects = objects
        self._threshold = threshold_bytes
        self._most = max_message_bytes
        self._log = log
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="claims")
        self._waiting = 0

    async def message(self, envelope: Mapping[str, Any], hop: int) -> str:
        """The JSON that travels for an envelope with its payload: with it, or, if that is large, with a claim whose object is stored.

        Args:
            envelope: parsed JSON.
            hop: its ``route.current``.

        Raises RemoteFault ``payload_too_large``, Unavailable ``claim_storage``.
        """
        if self._objects is not None and "payload" in envelope:
            payload = _json(envelope["payload"]).encode()
            if len(payload) >= self._threshold:
                claim = make_claim(envelope["id"], hop, payload)
                await self._call(f"{claim.key} is not stored", self._objects.put_if_absent, claim.key, payload)
                reference = {"key": claim.key, "bytes": claim.bytes, "sha256": claim.sha256}
                envelope = {**{name: value for name, value in envelope.items() if name != "payload"}, _MEMBER: reference}
        message = _json(envelope)
        if len(message.encode()) > self._most:
            hint = "send a reference instead" + ("" if self._objects is not None else ", or give gateway and actors a claim storage")
            raise RemoteFault("payload_too_large", f"Arguments are over {self._most} bytes, the most that the broker takes", hint)
        return message

    async def whole(self, message: str) -> str:
        """The message with its payload in place of a claim.

        Raises Refused ``no_such_record`` if the object is gone, Unavailable ``claim_storage``.
        """
        if _MEMBER not in message:
            return message
        envelope: dict[str, Any] = json.loads(message)
        reference = envelope.pop(_MEMBER, None)
        if not isinstance(reference, dict) or "payload" in envelope:
            return message
        claim = Claim(key=str(reference.get("key")), bytes=int(reference.get("bytes") or 0), sha256=str(reference.get("sha256")))
        if self._objects is None or not is_claim_key(claim):
            raise _gone()
        payload = await self._call(f"{claim.key} is not read", self._objects.get, claim.key, limit_bytes=claim.bytes)
        if len(payload) != claim.bytes or hashlib.sha256(payload).hexdigest() != claim.sha256:
            raise _gone()
        return _json({**envelope, "payload": json.loads(payload)})

    async def _call(self, problem: str, work: Any, *arguments: Any, **more: Any) -> Any:
        if self._waiting >= _MAX_WAITING:
            raise Unavailable(
                "claim_storage", "Storage of large payloads: too many calls wait for it", "try again", retry_after_seconds=10.0
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments, **more))
        except AsyaError as error:
            if error.code in ("no_such_object", "object_too_large"):
                raise _gone() from error
            # Refused too: what a person has to set right is nothing that the caller could.
            self._log.warning("claim storage", reason=str(error))
            message = f"Storage of large payloads: {problem}"
            raise Unavailable("claim_storage", message, "try again later", retry_after_seconds=10.0) from error
        finally:
            self._waiting -= 1


def _gone() -> Refused:
    return Refused("no_such_record", "The payload was large and its object is no longer kept", "see how long the bucket keeps claims")


_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""Made once: `json.dumps` makes an encoder per text, which costs more than a small text does."""
