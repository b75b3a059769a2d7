"""`SqsAdmin`: makes queues, corrects them in place, and looks at them. Blocking; for operators, the command line and tests.

What a queue should be comes from `attributes`. SQS tells counts late (up to a minute: GetQueueAttributes in its API reference), so one
look at an empty queue proves nothing: `delete_if_empty` looks for as long as that before it deletes.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asya_core.transports.base import Depth, Mismatch, QueueSpec
from asya_core.transports.sqs import attributes
from asya_core.transports.sqs.attributes import OWNER_TAG, SqsQueue
from asya_core.transports.sqs.client import Api, connect
from asya_core.transports.sqs.settings import MAX_NAME_LENGTH, SqsSettings, is_queue_name
from asya_core.wire.errors import Refused, Unavailable

__all__ = ["COUNTS_LAG_SECONDS", "Made", "SqsAdmin"]

COUNTS_LAG_SECONDS: Final = 60.0
"""How old the counts of a queue may be (SQS API reference, GetQueueAttributes)."""
_LOOK_SECONDS: Final = 5.0
_PEEK_VISIBILITY_SECONDS: Final = 0
_MAX_BATCH: Final = 10
_DEPTH: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A queue that is there.

    Attributes:
        url: its address.
        depth: what it holds, as told by the same call.
        changed: what was corrected, one sentence; empty: nothing, or the queue is new.
        is_new: it was made by this call.
        owner: whose it is if it is another's than was wanted; then nothing was changed.
    """

    url: str
    depth: Depth
    changed: str = ""
    is_new: bool = False
    owner: str | None = None


@dataclass(slots=True)
class _Found:
    url: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class SqsAdmin:
    """See `asya_core.transports.base.QueueAdmin`.

    Args:
        settings: where and as whom.
        tags: of every queue that `ensure_queue` makes, beside the owner; missing ones are added to a queue that is there.
        counts_lag_seconds: how long `delete_if_empty` looks at a queue that seems empty.
    """

    def __init__(
        self, settings: SqsSettings, *, tags: Mapping[str, str] | None = None, counts_lag_seconds: float = COUNTS_LAG_SECONDS
    ) -> None:
        self._settings = settings
        self._tags = dict(tags or {})
        self._lag = counts_lag_seconds
        self._made: Api | None = None
        self._urls: dict[str, str] = {}
        self._arns: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------------------- the port

    def ensure(self, spec: QueueSpec) -> None:
        """See the port. A queue with another dead-letter queue or another number of receives is left: `Mismatch`."""
        wanted = attributes.queue_of(spec)
        found = self._look(wanted.name)
        if found is None:
            self._create(wanted)
            return
        different = self._differences(wanted, found)
        if different:
            raise Mismatch(wanted.name, attributes.described(different, found.attributes))

    def depth(self, queue: str) -> Depth:
        """See the port. Messages that wait for a retry count as unsettled: they are invisible, as running ones are."""
        return _depth(self._attributes(queue, _DEPTH))

    def delete_if_empty(self, queue: str) -> bool:
        """See the port. Takes `counts_lag_seconds` where the queue seems empty, and gives up as soon as it does not."""
        deadline = time.monotonic() + self._lag
        while True:
            try:
                if self.depth(queue) != Depth(0, 0):
                    return False
            except Refused as error:
                if error.code == "no_such_queue":
                    return True
                raise
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self.delete(queue)
                return True
            time.sleep(min(_LOOK_SECONDS, remaining))

    def purge(self, queue: str) -> int:
        """See the port. The count is what SQS told before; SQS takes a minute to be done, and a second purge within it is Unavailable."""
        count = self.depth(queue).ready
        self._of_queue(queue, "purge_queue")
        return count

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """See the port. A message that is looked at has one receive more; order is SQS's."""
        from asya_core.transports.sqs.codec import decode_body

        bodies: dict[str, bytes] = {}
        held: list[str] = []
        while len(bodies) < limit:
            answer = self._of_queue(
                queue, "receive_message", MaxNumberOfMessages=min(_MAX_BATCH, limit - len(bodies)), VisibilityTimeout=30, WaitTimeSeconds=0
            )
            messages = answer.get("Messages") or []
            if not messages:
                break
            for each in messages:
                bodies.setdefault(each["MessageId"], decode_body(each["Body"]))
                held.append(each["ReceiptHandle"])
        for start in range(0, len(held), _MAX_BATCH):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": _PEEK_VISIBILITY_SECONDS}
                for index, receipt in enumerate(held[start : start + _MAX_BATCH])
            ]
            self._of_queue(queue, "change_message_visibility_batch", Entries=entries)
        return list(bodies.values())

    def close(self) -> None:
        """See the port."""
        api, self._made = self._made, None
        if api is not None:
            api.close()

    # --------------------------------------------------------------------------------------------------------------- beyond the port

    def ensure_queue(self, wanted: SqsQueue) -> Made:
        """Make the queue, or correct its attributes in place and add tags that it lacks. Twice is the same as once.

        A queue whose owner tag names another is left as it is, see `Made.owner`. One without an owner tag becomes ours.

        Raises Unavailable ``queue_deleted_recently`` for a queue that was deleted within the last minute, Refused ``no_such_queue`` if its
        dead-letter queue is missing.
        """
        if not is_queue_name(wanted.name):
            message = f"Queue name {wanted.name[:100]} has {len(wanted.name)} characters; SQS allows {MAX_NAME_LENGTH}"
            raise Refused("queue_name_too_long", message, "choose a shorter name for the actor or the namespace")
        found = self._look(wanted.name)
        if found is None:
            return self._create(wanted)
        depth = _depth(found.attributes)
        if wanted.owner is not None:
            tags = self._call("list_queue_tags", QueueUrl=found.url).get("Tags") or {}
            owner = tags.get(OWNER_TAG)
            if owner is not None and owner != wanted.owner:
                return Made(url=found.url, depth=depth, owner=owner)
            missing = {name: value for name, value in self._wanted_tags(wanted).items() if tags.get(name) != value}
            if missing:
                self._call("tag_queue", QueueUrl=found.url, Tags=missing)
        different = self._differences(wanted, found)
        if different:
            self._call("set_queue_attributes", QueueUrl=found.url, Attributes=different)
        return Made(url=found.url, depth=depth, changed=attributes.described(different, found.attributes))

    def ensure_namespace(self, namespace: str, actors: Iterable[str]) -> None:
        """Make or correct every queue of a namespace with these actors.

        Raises Refused ``name_collision`` at the first that is another's.
        """
        for wanted in attributes.namespace_queues(namespace, actors):
            made = self.ensure_queue(wanted)
            if made.owner is not None:
                raise Refused("name_collision", f"Queue {wanted.name} belongs to {made.owner}", "use another namespace")

    def remove_namespace(self, namespace: str, actors: Iterable[str]) -> list[str]:
        """Delete what `ensure_namespace` makes, except queues that hold messages or are another's; gives their names.

        For a namespace of which is known that every envelope has ended, such as that of a complete `asya run`: each queue is looked at
        once, and counts are late.
        """
        kept = []
        for queue in reversed(attributes.namespace_queues(namespace, actors)):
            try:
                url = self.url(queue.name)
                owner = (self._call("list_queue_tags", QueueUrl=url).get("Tags") or {}).get(OWNER_TAG)
                if owner == queue.owner and self.depth(queue.name) == Depth(0, 0):
                    self.delete(queue.name)
                else:
                    kept.append(queue.name)
            except Refused as error:
                if error.code != "no_such_queue":
                    raise
        return kept

    def delete(self, queue: str) -> None:
        """Delete the queue and what is in it. Not there is done. The name cannot be used again for a minute."""
        try:
            self._of_queue(queue, "delete_queue")
        except Refused as error:
            if error.code != "no_such_queue":
                raise
        self._urls.pop(queue, None)
        self._arns.pop(queue, None)

    def url(self, queue: str) -> str:
        """The queue's address. Raises Refused ``no_such_queue``."""
        url = self._urls.get(queue)
        if url is None:
            if not is_queue_name(queue):
                raise Refused(
                    "no_such_queue", f"Queue name {queue[:40]!r} is none on SQS; expected 1 to {MAX_NAME_LENGTH} of A-Z a-z 0-9 _ -"
                )
            url = self._urls[queue] = str(self._call("get_queue_url", QueueName=queue)["QueueUrl"])
        return url

    def owner(self, queue: str) -> str | None:
        """The queue's owner tag. Raises Refused ``no_such_queue``."""
        tags = self._of_queue(queue, "list_queue_tags").get("Tags") or {}
        return tags.get(OWNER_TAG)

    # -------------------------------------------------------------------------------------------------------------------- inside

    def _look(self, queue: str) -> _Found | None:
        try:
            found = self._attributes(queue, ("All",))
        except Refused as error:
            if error.code == "no_such_queue":
                return None
            raise
        self._arns[queue] = found["QueueArn"]
        return _Found(self.url(queue), found)

    def _create(self, wanted: SqsQueue) -> Made:
        made = {name: value for name, value in self._wanted(wanted).items() if value}
        arguments: dict[str, Any] = {"QueueName": wanted.name, "Attributes": made}
        tags = self._wanted_tags(wanted)
        if tags:
            arguments["tags"] = tags
        self._urls[wanted.name] = url = str(self._call("create_queue", **arguments)["QueueUrl"])
        return Made(url=url, depth=Depth(0, 0), is_new=True)

    def _differences(self, wanted: SqsQueue, found: _Found) -> dict[str, str]:
        return attributes.changes(self._wanted(wanted), found.attributes)

    def _wanted(self, wanted: SqsQueue) -> dict[str, str]:
        return attributes.wanted_attributes(wanted, self._arn(wanted.dead_letter) if wanted.dead_letter is not None else None)

    def _wanted_tags(self, wanted: SqsQueue) -> dict[str, str]:
        return {**self._tags, **({OWNER_TAG: wanted.owner} if wanted.owner is not None else {})}

    def _arn(self, queue: str) -> str:
        arn = self._arns.get(queue)
        if arn is None:
            arn = self._arns[queue] = self._attributes(queue, ("QueueArn",))["QueueArn"]
        return arn

    def _attributes(self, queue: str, names: Iterable[str]) -> Mapping[str, str]:
        answer = self._of_queue(queue, "get_queue_attributes", AttributeNames=list(names))
        found: Mapping[str, str] = answer.get("Attributes") or {}
        return found

    def _of_queue(self, queue: str, action: str, **arguments: Any) -> Any:
        """A call that takes the queue's address; forgets the address if there is no such queue."""
        try:
            return self._call(action, QueueUrl=self.url(queue), **arguments)
        except Refused as error:
            if error.code == "no_such_queue":
                self._urls.pop(queue, None)
                self._arns.pop(queue, None)
                raise Refused("no_such_queue", f"Queue {queue} does not exist at {self._settings.where}", "make it first") from error
            raise

    def _call(self, action: str, **arguments: Any) -> Any:
        if self._made is None:
            self._made = connect(self._settings)
        try:
            return self._made.call(action, **arguments)
        except Refused as error:
            if error.code == "no_credentials":
                self.close()  # the next call looks for credentials anew
            raise


def _depth(found: Mapping[str, str]) -> Depth:
    try:
        visible, hidden, delayed = (int(found.get(name, 0)) for name in _DEPTH)
    except ValueError as error:
        raise Unavailable("counts_unreadable", "SQS told counts that are no numbers", "try again later") from error
    return Depth(ready=visible + delayed, unsettled=hidden)
