"""The mesh of `harness` on SQS, and a front that makes the server behind it fail in the ways that SQS can."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, Final

from asya_core.transports.base import QueueSpec
from asya_core.transports.rabbitmq import QueueType
from asya_core.transports.sqs import SqsAdmin, SqsSettings
from asya_core.transports.sqs.client import connect
from asya_core.wire.names import ERROR_END, HAPPY_END, dead_letter_queue_name, queue_name
from tests.faults.harness import ActorSpec, Mesh, envelopes
from tests.sqs_front import DROPPED, Forward, Front, Json, Reply, error

BATCH: Final = 10


class SqsMesh(Mesh):
    """A namespace of its own with actors on SQS.

    Args:
        endpoint: of the server itself, for the test's own calls.
        front: what the actors talk to.
        folder: for logs.
        actors: the actors.
        visibility_seconds: of the sidecars.
    """

    def __init__(self, endpoint: str, front: Front, folder: Path, actors: Iterable[ActorSpec], *, visibility_seconds: int) -> None:
        super().__init__("amqp://127.0.0.1", folder, actors, QueueType.QUORUM)
        self.front = front
        self.visibility_seconds = visibility_seconds
        self._settings = SqsSettings(endpoint=endpoint, access_key_id="test", secret_access_key="test")
        self._api = connect(self._settings)
        self._admin = SqsAdmin(self._settings, counts_lag_seconds=0)

    def sidecar_environment(self) -> dict[str, str]:
        return {
            "ASYA_TRANSPORT": "sqs",
            "ASYA_SQS_ENDPOINT": self.front.endpoint,
            "ASYA_SQS_VISIBILITY": f"{self.visibility_seconds}s",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def declare(self) -> None:
        dead = dead_letter_queue_name(self.namespace)
        errors = queue_name(self.namespace, ERROR_END)
        self._admin.ensure(QueueSpec(dead))
        self._admin.ensure(QueueSpec(errors, dead))
        for name in (*self.names, HAPPY_END):
            self._admin.ensure(QueueSpec(queue_name(self.namespace, name), errors))

    def stop(self) -> None:
        for pair in self.each():
            pair.stop()
        for name in (*self.names, HAPPY_END, ERROR_END):
            self._admin.delete(queue_name(self.namespace, name))
        self._admin.close()
        self._api.close()

    def publish(self, count: int, payload: Callable[[int], dict[str, Any]] = lambda n: {}, route: list[str] | None = None) -> None:
        """Past the front: what is accepted is certain."""
        actors = route or self.names
        url = self._admin.url(queue_name(self.namespace, actors[0]))
        made = list(envelopes(count, actors, payload))
        for start in range(0, count, BATCH):
            batch = made[start : start + BATCH]
            entries = [{"Id": identity, "MessageBody": body.decode()} for identity, body in batch]
            assert not self._api.call("send_message_batch", QueueUrl=url, Entries=entries).get("Failed")
            self.accepted |= {identity for identity, _ in batch}

    def take_ends(self) -> None:
        for end, taken in self._taken.items():
            url = self._admin.url(queue_name(self.namespace, end))
            while found := self._api.call("receive_message", QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=0).get("Messages"):
                taken += [json.loads(each["Body"]) for each in found]
                entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(found)]
                self._api.call("delete_message_batch", QueueUrl=url, Entries=entries)

    def is_empty(self) -> bool:
        depths = [self._admin.depth(queue_name(self.namespace, name)) for name in self.names]
        return not any(depth.ready + depth.unsettled for depth in depths)


class Trouble:
    """A rule of `Front`: a seeded choice of failures, all of which SQS is known for.

    Args:
        front: where it is.
        seed: of the choices.
    """

    def __init__(self, front: Front, seed: int) -> None:
        self._front = front
        self._random = Random(seed)
        self.injected: Counter[str] = Counter()
        """Failures by what they were; ``duplicates``: messages that are there twice because of one, which nobody could tell."""

    async def __call__(self, action: str, asked: Json, forward: Forward) -> Reply:
        chance = self._random.random()
        batch = action.endswith("Batch")
        if chance < 0.03:
            return self._told("throttled", error(400, "RequestThrottled"))
        if chance < 0.06:
            return self._told("500", error(500, "InternalError"))
        if chance < 0.08:
            return self._told("dropped", DROPPED)
        if chance < 0.12 and action != "ReceiveMessage":
            reply = await forward(asked)  # carried out, and nobody hears of it
            if action == "SendMessageBatch":
                self.injected["duplicates"] += len(asked["Entries"])
            return self._told("unheard", DROPPED if chance < 0.10 else error(500, "InternalError"))
        if chance < 0.14 and action == "SendMessageBatch":
            return self._told("no queue", error(400, "QueueDoesNotExist"))
        if chance < 0.30 and batch and len(asked["Entries"]) > 1:
            return await self._partly(asked, forward)
        reply = await forward(asked)
        if action == "ReceiveMessage" and reply.body.get("Messages") and chance > 0.9:
            await self._hand_out_again(asked, reply.body["Messages"])
        return reply

    def _told(self, what: str, reply: Reply) -> Reply:
        self.injected[what] += 1
        return reply

    async def _partly(self, asked: Json, forward: Forward) -> Reply:
        """Some entries fail inside the server, the others are carried out."""
        entries = asked["Entries"]
        failed = [each for each in entries if self._random.random() < 0.3]
        rest = [each for each in entries if each not in failed]
        self.injected["failed entries"] += len(failed)
        reply = await forward({**asked, "Entries": rest}) if rest else Reply(status=200, body={"Successful": []})
        told = [{"Id": each["Id"], "SenderFault": False, "Code": "InternalError", "Message": "by a test"} for each in failed]
        return Reply(status=reply.status, body={**reply.body, "Failed": [*reply.body.get("Failed", ()), *told]})

    async def _hand_out_again(self, asked: Json, messages: list[Json]) -> None:
        """One of the messages is visible to others although it was just handed out: SQS delivers at least once."""
        self.injected["duplicates"] += 1
        await self._front.hide(asked["QueueUrl"], self._random.choice(messages)["ReceiptHandle"], 0)
