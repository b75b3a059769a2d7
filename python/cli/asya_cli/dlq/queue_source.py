"""Failed envelopes in a namespace's dead-letter queue: what error-end itself could not store. Nobody consumes it.

A replay moves: the message leaves the queue once the new envelope is durable. Its id is made from the message's bytes, so one that was
interrupted between the two is sent again under the same id.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from asya_cli.depths import ready_and_consumers
from asya_cli.dlq.failures import Failure, Wanted
from asya_cli.dlq.mailbox import Mailbox
from asya_cli.dlq.source import Outcome, Sent
from asya_cli.dlq.storage_source import sendable
from asya_core.transports.base import Delivered, QueueAdmin
from asya_core.wire.errors import Refused
from asya_core.wire.names import dead_letter_queue_name

__all__ = ["QueueSource"]

_MAX_MESSAGES: Final = 10_000
"""Looked at in one go: they are held in memory."""


class QueueSource:
    """See `asya_cli.dlq.source.Source`.

    Args:
        admin: looks at the queue; closed with this.
        mailbox: makes what takes and sends.
        namespace: whose queue.
        holds: take the messages out while they are looked at, to replay them; else they stay where they are.
    """

    def __init__(self, admin: QueueAdmin, mailbox: Callable[[], Mailbox], namespace: str, *, holds: bool) -> None:
        self._admin = admin
        self._make_mailbox = mailbox
        self._mailbox: Mailbox | None = None
        self._namespace = namespace
        self._queue = dead_letter_queue_name(namespace)
        self._holds = holds
        self._held: dict[str, tuple[Delivered, dict[str, Any]]] = {}

    def failures(self, wanted: Wanted, limit: int | None = None) -> list[Failure]:
        """See the port. Newest first as the queue has them; at most 10,000 messages are looked at."""
        records = self._taken() if self._holds else [_record(body) for body in self._admin.peek(self._queue, _MAX_MESSAGES)]
        found = [Failure.of_record(record, key=record["asya_message"]) for record in records]
        return [each for each in reversed(found) if wanted.takes(each)][:limit]

    def show(self, envelope_id: str) -> dict[str, Any]:
        """See the port."""
        for body in self._admin.peek(self._queue, _MAX_MESSAGES):
            record = _record(body)
            if record["id"] == envelope_id:
                return {key: value for key, value in record.items() if key != "asya_message"}
        raise Refused("no_such_record", f"No message of envelope {envelope_id} in queue {self._queue}", "see asya dlq list --source queue")

    def replay(self, failure: Failure, *, actor: str | None, again: bool) -> Sent:
        """See the port."""
        assert self._mailbox is not None
        delivered, record = self._held[failure.key]
        new_id = f"replay-{failure.key}"
        whole = {key: value for key, value in record.items() if key != "asya_message"}
        self._mailbox.send(*sendable(whole, new_id=new_id, actor=actor, namespace=self._namespace))
        self._mailbox.ack(delivered.receipt)
        return Sent(outcome=Outcome.SENT, new_id=new_id)

    def close(self) -> None:
        """See the port: messages that were not replayed go back to their queue."""
        if self._mailbox is not None:
            self._mailbox.close()
        self._admin.close()

    def _taken(self) -> list[dict[str, Any]]:
        waiting = min(_MAX_MESSAGES, ready_and_consumers(self._admin, self._queue)[0])
        if not waiting:
            return []
        self._mailbox = self._make_mailbox()
        for each in self._mailbox.take(self._queue, waiting):
            record = _record(each.body)
            self._held[record["asya_message"]] = (each, record)
        return [record for _, record in self._held.values()]


def _record(body: bytes) -> dict[str, Any]:
    """The message as an envelope, its own digest beside; what is none has an id as error-end would give it, and cannot be replayed."""
    digest = hashlib.sha256(body).hexdigest()[:32]
    try:
        record: Any = json.loads(body)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        text = body[:4096].decode("utf-8", "backslashreplace")
        record = {"id": f"unreadable-{digest}", "payload": {"text": text, "bytes": len(body)}, "error": {"code": "bad_envelope"}}
    return {**record, "asya_message": digest}
