"""The calls of SQS that move messages: blocking, each gives an answer and raises nothing.

Run in threads by `publisher` and `consumer`. Knows the API's requests and answers, no loop and no state but the addresses of queues.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from asya_core.transports.sqs.client import Fault, SqsError, describe, fault_of, fault_of_code
from asya_core.wire.errors import Unavailable

__all__ = ["ATTEMPT", "NOT_BEFORE", "ORIGIN", "Answer", "Calls", "Message", "Outgoing"]

ORIGIN: Final = "asya-origin"
"""Message attribute: the queue that gave the message up."""
ATTEMPT: Final = "asya-attempt"
"""Message attribute: attempts that were spent before this copy was sent."""
NOT_BEFORE: Final = "asya-not-before"
"""Message attribute: milliseconds since 1970; whoever receives the message earlier hides it again."""
_ATTRIBUTES: Final = [ORIGIN, ATTEMPT, NOT_BEFORE]
_SYSTEM_ATTRIBUTES: Final = ["ApproximateReceiveCount", "DeadLetterQueueSourceArn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to send.

    Attributes:
        text: the body.
        attributes: message attributes, all of type String.
        delay_seconds: whole seconds, at most 900.
    """

    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    delay_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was received.

    Attributes:
        handle: to settle it with.
        text: the body.
        receives: how often it was received, this time included.
        attributes: message attributes that are ours.
        source: name of the queue whose redrive policy moved it here; None: none did.
    """

    handle: str
    text: str
    receives: int
    attributes: dict[str, str]
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a call.

    Attributes:
        fault: of the call as a whole; None: it was carried out, `entries` has the rest.
        reason: one sentence about the fault.
        entries: per entry of a batch, in order: None for done, else what is wrong and the code.
        messages: of a receive.
        is_link: the fault is that no answer came.
    """

    fault: Fault | None = None
    reason: str = ""
    entries: Sequence[tuple[Fault, str] | None] = ()
    messages: Sequence[Message] = ()
    is_link: bool = False


class Calls:
    """One client and the addresses of queues. For several threads.

    Args:
        make: makes a client; called again when the one that is there has no credentials.
        counted: told the name of each call, in the thread that makes it.
    """

    def __init__(self, make: Callable[[], Any], *, counted: Callable[[str], None]) -> None:
        self._counted = counted
        self._make = make
        self._client: Any = None
        self._urls: dict[str, str] = {}
        self._dead_letters: dict[str, str] = {}

    def start(self) -> None:
        """Make the client, unless it has to wait for credentials. Raises RemoteFault ``bad_setting``."""
        with suppress(Unavailable):
            self._client = self._make()

    def probe(self, queue: str) -> Answer:
        """Whether the server answers and knows the caller; the queue need not be there."""

        def call() -> Answer:
            self._url(queue, fresh=True)
            return Answer()

        answer = self._guarded(call)
        return answer if answer.is_link or answer.fault in (Fault.DENIED, Fault.THROTTLED, Fault.UNCERTAIN) else Answer()

    def receive(self, queue: str, count: int, *, wait_seconds: int, visibility_seconds: int) -> Answer:
        """Take at most `count` messages, or wait for the first."""

        def call() -> Answer:
            found = self._call(
                "receive_message",
                QueueUrl=self._url(queue),
                MaxNumberOfMessages=count,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                MessageSystemAttributeNames=_SYSTEM_ATTRIBUTES,
                MessageAttributeNames=_ATTRIBUTES,
            )
            return Answer(messages=[_message(each) for each in found.get("Messages") or ()])

        return self._guarded(call, queue)

    def send(self, queue: str, batch: Sequence[Outgoing]) -> Answer:
        """Send at most ten messages."""
        entries = [{"Id": str(number), **_entry(each)} for number, each in enumerate(batch)]
        return self._batch("send_message_batch", queue, entries)

    def delete(self, queue: str, handles: Sequence[str]) -> Answer:
        """Delete at most ten messages."""
        return self._batch("delete_message_batch", queue, [{"Id": str(n), "ReceiptHandle": each} for n, each in enumerate(handles)])

    def hide(self, queue: str, handles: Sequence[tuple[str, int]]) -> Answer:
        """Hide at most ten messages for so many seconds from now; 0: give them back."""
        entries = [{"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds} for n, (handle, seconds) in enumerate(handles)]
        return self._batch("change_message_visibility_batch", queue, entries)

    def move(self, queue: str, handle: str, target: str, message: Outgoing) -> Answer:
        """Send a copy to `target`, then delete the original."""
        sent = self.send(target, [message])
        if sent.fault is not None or sent.entries[0] is not None:
            return sent
        return self.delete(queue, [handle])

    def dead_letter_queue(self, queue: str) -> str | None:
        """Name of the queue that the redrive policy of `queue` names; None: it has none, or it cannot be read now."""
        found = self._dead_letters.get(queue)
        if found is None:
            import json  # for the few that reject

            try:
                answer = self._call("get_queue_attributes", QueueUrl=self._url(queue), AttributeNames=["RedrivePolicy"])
                policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy") or "{}")
                found = str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]
            except SqsError:
                return None
            except Unavailable:
                return None
            self._dead_letters[queue] = found
        return found or None

    def close(self) -> None:
        """Let go of idle connections."""
        if self._client is not None:
            self._client.close()

    # -------------------------------------------------------------------------------------------------------------- inside

    def _batch(self, action: str, queue: str, entries: list[dict[str, Any]]) -> Answer:
        def call() -> Answer:
            found = self._call(action, QueueUrl=self._url(queue), Entries=entries)
            told: dict[str, tuple[Fault, str] | None] = {each["Id"]: None for each in found.get("Successful") or ()}
            for each in found.get("Failed") or ():
                fault = fault_of_code(str(each.get("Code", "")), status=400 if each.get("SenderFault") else 500)
                fault = Fault.NOT_SENT if fault is Fault.UNCERTAIN else fault  # of one entry it is certain: it failed
                told[each["Id"]] = (fault, f"{each.get('Code', '')}: {each.get('Message', '')}")
            unknown = (Fault.UNCERTAIN, "the answer does not tell")
            return Answer(entries=[told.get(each["Id"], unknown) for each in entries])

        return self._guarded(call, queue)

    def _guarded(self, call: Callable[[], Answer], queue: str | None = None) -> Answer:
        try:
            return call()
        except Unavailable as error:
            return Answer(fault=Fault.NOT_SENT, reason=str(error), is_link=True)
        except SqsError as error:
            fault = fault_of(error)
            if fault is Fault.DENIED and _no_answer(error):
                self._client = None  # it was made before there were credentials, and never looks again
            if fault is Fault.NO_QUEUE and queue is not None:
                self._urls.pop(queue, None)
                self._dead_letters.pop(queue, None)
            return Answer(
                fault=fault, reason=describe(error), is_link=fault is Fault.NOT_SENT or (fault is Fault.UNCERTAIN and _no_answer(error))
            )

    def _url(self, queue: str, *, fresh: bool = False) -> str:
        url = None if fresh else self._urls.get(queue)
        if url is None:
            url = self._urls[queue] = str(self._call("get_queue_url", QueueName=queue)["QueueUrl"])
        return url

    def _call(self, action: str, **arguments: Any) -> Any:
        client = self._client
        if client is None:
            client = self._client = self._make()
        self._counted(action)
        return getattr(client, action)(**arguments)


def _no_answer(error: Exception) -> bool:
    return not hasattr(error, "response")


def _entry(message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"MessageBody": message.text}
    if message.attributes:
        entry["MessageAttributes"] = {name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()}
    if message.delay_seconds:
        entry["DelaySeconds"] = message.delay_seconds
    return entry


def _message(found: dict[str, Any]) -> Message:
    system = found.get("Attributes") or {}
    attributes = {name: value["StringValue"] for name, value in (found.get("MessageAttributes") or {}).items() if "StringValue" in value}
    receives = system.get("ApproximateReceiveCount", "1")
    source = system.get("DeadLetterQueueSourceArn")
    return Message(
        handle=found["ReceiptHandle"],
        text=found["Body"],
        receives=int(receives) if receives.isdigit() else 1,
        attributes=attributes,
        source=source.rpartition(":")[2] if source else None,
    )
