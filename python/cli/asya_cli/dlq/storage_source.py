"""Failed envelopes as error-end stored them, sent again by a broker: without a gateway.

Replays are remembered in the storage (`journal`), so it must be writable to replay; to list and show, reading is enough.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from asya_cli.dlq.failures import Failure, Wanted
from asya_cli.dlq.journal import Claim, Journal
from asya_cli.dlq.mailbox import Mailbox
from asya_cli.dlq.source import Outcome, Sent
from asya_cli.run.post import new_id
from asya_core.objects import ObjectInfo, ObjectStore
from asya_core.wire.errors import Refused
from asya_core.wire.names import queue_name, split_entry
from asya_core.wire.replay import replayed

__all__ = ["StorageSource", "sendable"]

_FOLDER: Final = "errors/"
_PAGE: Final = 1000
_READERS: Final = min(16, 4 * (os.cpu_count() or 1))
_MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
_STALE_SECONDS: Final = 30.0
"""A claim without a receipt that is older was left by a process that is gone: longer than one send is tried."""


class StorageSource:
    """See `asya_cli.dlq.source.Source`.

    Args:
        objects: the crew's storage; closed with this.
        mailbox: makes what sends, when the first envelope is sent.
        namespace: whose queues.
        sleep: waits some seconds, for tests.
    """

    def __init__(
        self, objects: ObjectStore, mailbox: Callable[[], Mailbox], namespace: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._objects = objects
        self._journal = Journal(objects)
        self._make_mailbox = mailbox
        self._mailbox: Mailbox | None = None
        self._namespace = namespace
        self._sleep = sleep
        self._sent: dict[str, int] = {}

    def failures(self, wanted: Wanted, limit: int | None = None) -> list[Failure]:
        """See the port. Reads every record that is young enough, as a record's error is in it."""
        sent = self._sent = self._journal.sent()
        infos = [each for each in self._listed() if wanted.since is None or each.modified >= wanted.since]
        if not wanted.replayed:
            infos = [each for each in infos if _id_of(each.key) not in sent]
        with ThreadPoolExecutor(_READERS) as readers:
            read = list(readers.map(lambda info: self._failure(info, sent), infos))
        found = [each for each in read if each is not None and wanted.takes(each)]
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(found, key=lambda each: (each.at or oldest, each.id), reverse=True)[:limit]

    def show(self, envelope_id: str) -> dict[str, Any]:
        """See the port. A record of happy-end is shown too."""
        for folder in (_FOLDER, "results/"):
            # `asya run` writes files whose names have no colon.
            for name in dict.fromkeys((envelope_id, envelope_id.replace(":", "_"))):
                try:
                    return self._record(f"{folder}{name}.json")
                except Refused as refusal:
                    if refusal.code != "no_such_object":
                        raise
        raise Refused("no_such_record", f"No record of envelope {envelope_id} in {self._objects.location}", "see asya dlq list")

    def replay(self, failure: Failure, *, actor: str | None, again: bool) -> Sent:
        """See the port. The record is read anew: what is sent is what is stored."""
        record = self._record(failure.key)
        fresh = new_id()
        sendable(record, new_id=fresh, actor=actor, namespace=self._namespace)  # refused before anything is claimed
        done = self._sent.get(failure.id, 0) if again else 0
        claim = self._journal.claim(failure.id, fresh, number=done + 1)
        if not claim.is_mine:
            claim = self._awaited(failure.id, claim)
        if claim.is_sent:
            return Sent(outcome=Outcome.BEFORE, new_id=claim.new_id)
        if self._mailbox is None:
            self._mailbox = self._make_mailbox()
        queue, body = sendable(record, new_id=claim.new_id, actor=actor, namespace=self._namespace)
        self._mailbox.send(queue, body)
        self._journal.settle(failure.id, claim)
        return Sent(outcome=Outcome.SENT, new_id=claim.new_id)

    def close(self) -> None:
        """See the port."""
        if self._mailbox is not None:
            self._mailbox.close()
        self._objects.close()

    def _awaited(self, old_id: str, claim: Claim) -> Claim:
        """Somebody else's claim, once it is sent or so old that its owner is gone."""
        while not claim.is_sent:
            left = _STALE_SECONDS - (datetime.now(UTC) - claim.at).total_seconds()
            if not 0 < left <= _STALE_SECONDS:
                return claim
            self._sleep(min(left, 1.0))
            claim = self._journal.last(old_id, claim.number)
        return claim

    def _listed(self) -> list[ObjectInfo]:
        found: list[ObjectInfo] = []
        while True:
            page = self._objects.list(_FOLDER, after=found[-1].key if found else "", limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return [each for each in found if each.key.endswith(".json")]

    def _failure(self, info: ObjectInfo, sent: dict[str, int]) -> Failure | None:
        try:
            record = self._record(info.key)
        except Refused as refusal:
            if refusal.code in ("no_such_object", "not_a_record"):
                return None  # deleted in the meantime, or something else that lies there
            raise
        number = sent.get(str(record["id"]), 0)
        replayed_as = self._journal.last(str(record["id"]), number).new_id if number else ""
        return Failure.of_record(record, at=info.modified, replayed_as=replayed_as, key=info.key)

    def _record(self, key: str) -> dict[str, Any]:
        try:
            record: Any = json.loads(self._objects.get(key, limit_bytes=_MAX_RECORD_BYTES))
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise Refused("not_a_record", f"Object {key} in {self._objects.location} is no record of an envelope", "look at what it is")
        return record


def sendable(record: dict[str, Any], *, new_id: str, actor: str | None, namespace: str) -> tuple[str, bytes]:
    """Queue and body of the envelope that goes on where `record` failed. Raises Refused ``not_replayable``, RemoteFault ``bad_request``."""
    envelope, current = replayed(record, new_id=new_id, deadline=None, start="failed", actor=actor)
    target = split_entry(envelope["route"]["actors"][current])[0]
    return queue_name(namespace, target), json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def _id_of(key: str) -> str:
    return key.removeprefix(_FOLDER).removesuffix(".json")
