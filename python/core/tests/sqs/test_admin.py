"""`SqsAdmin` on two independent servers, and what it makes of AWS's refusals, which a recorder gives in place of the server."""

from collections.abc import Iterator

import pytest

from asya_core.transports.base import Depth, Mismatch, QueueSpec
from asya_core.transports.sqs import SqsAdmin
from asya_core.transports.sqs.attributes import CONSTANTS, OWNER_TAG, REDRIVE, actor_queue, found_redrive, namespace_queues
from asya_core.transports.sqs.client import connect
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from tests.sqs_servers import SERVERS, Refusal, endpoint, new_namespace, recorder, settings

pytestmark = pytest.mark.unmeasured


class Bed:
    """One administration of a namespace of its own, and plain calls beside it."""

    def __init__(self, name: str) -> None:
        self.where = endpoint(name)
        self.namespace = new_namespace()
        self.queue = f"asya-{self.namespace}-ocr"
        self.admin = SqsAdmin(settings(self.where), tags={"team": "ml"}, counts_lag_seconds=0)
        self.api = connect(settings(self.where))

    def make(self) -> None:
        self.admin.ensure_namespace(self.namespace, ["ocr"])

    def attributes(self, queue: str) -> dict[str, str]:
        found: dict[str, str] = self.api.call("get_queue_attributes", QueueUrl=self.admin.url(queue), AttributeNames=["All"])["Attributes"]
        return found

    def tags(self, queue: str) -> dict[str, str]:
        return dict(self.api.call("list_queue_tags", QueueUrl=self.admin.url(queue)).get("Tags") or {})

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.api.call("send_message", QueueUrl=self.admin.url(self.queue), MessageBody=body)

    def close(self) -> None:
        for queue in namespace_queues(self.namespace, ["ocr"]):
            self.admin.delete(queue.name)
        self.admin.close()
        self.api.close()


@pytest.fixture(params=SERVERS)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    made = Bed(request.param)
    yield made
    made.close()


def test_queue_gets_attributes_redrive_and_tags_and_a_second_call_changes_nothing(bed):
    bed.make()
    found = bed.attributes(bed.queue)
    assert {name: found[name] for name in CONSTANTS if name in found} == {name: value for name, value in CONSTANTS.items() if name in found}
    assert {"VisibilityTimeout", "ReceiveMessageWaitTimeSeconds"} <= set(found)
    redrive = found_redrive(found)
    assert redrive is not None
    assert (redrive[0].rpartition(":")[2], redrive[1]) == (f"asya-{bed.namespace}-error-end", 200)
    assert bed.tags(bed.queue) == {OWNER_TAG: f"{bed.namespace}/ocr", "team": "ml"}
    again = bed.admin.ensure_queue(actor_queue(bed.namespace, "ocr"))
    assert (again.is_new, again.changed, again.owner, again.depth) == (False, "", None, Depth(0, 0))
    assert again.url.endswith(f"/{bed.queue}")


def test_differing_attributes_are_corrected_in_place_with_the_messages_there(bed):
    bed.make()
    bed.send("1", "2")
    bed.api.call("set_queue_attributes", QueueUrl=bed.admin.url(bed.queue), Attributes={"VisibilityTimeout": "30"})
    made = bed.admin.ensure_queue(actor_queue(bed.namespace, "ocr", max_attempts=500))
    assert "VisibilityTimeout is 30, wanted 120" in made.changed
    assert "after 200 receives, wanted" in made.changed
    assert made.depth == Depth(2, 0)
    found = bed.attributes(bed.queue)
    assert found["VisibilityTimeout"] == "120"
    redrive = found_redrive(found)
    assert redrive is not None
    assert redrive[1] == 520
    assert bed.admin.depth(bed.queue) == Depth(2, 0)


def test_foreign_owners_queue_is_left_as_it_is(bed):
    bed.make()
    url = bed.admin.url(bed.queue)
    bed.api.call("tag_queue", QueueUrl=url, Tags={OWNER_TAG: "other/ocr"})
    bed.api.call("set_queue_attributes", QueueUrl=url, Attributes={"VisibilityTimeout": "30"})
    made = bed.admin.ensure_queue(actor_queue(bed.namespace, "ocr"))
    assert made.owner == "other/ocr"
    assert bed.attributes(bed.queue)["VisibilityTimeout"] == "30"
    assert bed.tags(bed.queue)[OWNER_TAG] == "other/ocr"
    with pytest.raises(Refused) as caught:
        bed.admin.ensure_namespace(bed.namespace, ["ocr"])
    assert caught.value.code == "name_collision"
    assert bed.admin.remove_namespace(bed.namespace, ["ocr"]) == [bed.queue]


def test_queue_without_owner_becomes_ours(bed):
    bed.make()
    bed.api.call("untag_queue", QueueUrl=bed.admin.url(bed.queue), TagKeys=[OWNER_TAG, "team"])
    assert bed.admin.ensure_queue(actor_queue(bed.namespace, "ocr")).owner is None
    assert bed.tags(bed.queue) == {OWNER_TAG: f"{bed.namespace}/ocr", "team": "ml"}


def test_port_leaves_a_queue_with_another_dead_letter_queue(bed):
    bed.make()
    with pytest.raises(Mismatch) as caught:
        bed.admin.ensure(QueueSpec(bed.queue))
    assert "RedrivePolicy is" in caught.value.detail
    assert REDRIVE in bed.attributes(bed.queue)


def test_peek_leaves_the_messages_and_purge_drops_them(bed):
    bed.make()
    bed.send(*map(str, range(12)))
    assert {int(body) for body in bed.admin.peek(bed.queue, 50)} == set(range(12))
    assert len(bed.admin.peek(bed.queue, 3)) == 3
    assert bed.admin.depth(bed.queue) == Depth(12, 0)
    assert bed.admin.purge(bed.queue) == 12
    assert bed.admin.depth(bed.queue) == Depth(0, 0)


def test_queue_with_a_waiting_or_a_running_message_is_not_deleted(bed):
    bed.make()
    bed.send("1")
    assert not bed.admin.delete_if_empty(bed.queue)
    url = bed.admin.url(bed.queue)
    held = bed.api.call("receive_message", QueueUrl=url)["Messages"][0]
    assert bed.admin.depth(bed.queue) == Depth(0, 1)
    assert not bed.admin.delete_if_empty(bed.queue)
    assert bed.admin.remove_namespace(bed.namespace, ["ocr"]) == [bed.queue]
    bed.api.call("delete_message", QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
    assert bed.admin.delete_if_empty(bed.queue)
    assert bed.admin.delete_if_empty(bed.queue)


def test_missing_queue_is_told_by_name(bed):
    for call in (bed.admin.depth, bed.admin.url, bed.admin.purge, lambda name: bed.admin.peek(name, 1)):
        with pytest.raises(Refused) as caught:
            call("asya-nowhere-x")
        assert caught.value.code == "no_such_queue"
        assert "asya-nowhere-x" in str(caught.value)
    with pytest.raises(Refused) as caught:
        bed.admin.url("x" * 81)
    assert "expected 1 to 80" in caught.value.message
    with pytest.raises(Refused) as caught:
        bed.admin.ensure_queue(actor_queue(bed.namespace, "x" * 70))
    assert caught.value.code == "queue_name_too_long"


def test_forgotten_address_is_looked_up_again_after_the_queue_was_made_anew(bed):
    bed.make()
    bed.api.call("delete_queue", QueueUrl=bed.admin.url(bed.queue))
    with pytest.raises(Refused):
        bed.admin.depth(bed.queue)
    bed.make()
    assert bed.admin.depth(bed.queue) == Depth(0, 0)


# --------------------------------------------------------------------------------------------------------------- refusals of AWS


@pytest.mark.parametrize(
    ("at", "refusal", "kind", "code"),
    [
        ("sqs:GetQueueUrl", Refusal("AccessDeniedException", 403), Refused, "broker_refused"),
        ("sqs:CreateQueue", Refusal("AccessDenied", 403), Refused, "broker_refused"),
        ("sqs:GetQueueUrl", Refusal("InvalidClientTokenId", 403), Refused, "broker_refused"),
        (
            "sqs:GetQueueUrl",
            Refusal("SignatureDoesNotMatch", 403, "Credential should be scoped to a valid region"),
            Refused,
            "broker_refused",
        ),
        ("sqs:GetQueueUrl", Refusal("ExpiredToken", 403), Unavailable, "broker_refused"),
        ("sqs:GetQueueUrl", Refusal("InternalError", 500), Unavailable, "broker_unavailable"),
        ("sqs:CreateQueue", Refusal("QueueDeletedRecently", 400), Unavailable, "queue_deleted_recently"),
    ],
)
def test_refusal_is_translated_with_the_servers_words(at, refusal, kind, code):
    def refuse(action: str, resource: str) -> None:
        if action == at:
            raise refusal

    with recorder() as server:
        admin = SqsAdmin(settings(server.endpoint))
        server.refuse = refuse
        with pytest.raises(AsyaError) as caught:
            admin.ensure_queue(namespace_queues(new_namespace(), [])[0])
        admin.close()
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert refusal.code in caught.value.message
    assert refusal.message in caught.value.message


def test_steady_state_costs_two_calls():
    namespace = new_namespace()
    with recorder() as server:
        admin = SqsAdmin(settings(server.endpoint))
        admin.ensure_namespace(namespace, [])
        queue = actor_queue(namespace, "happy-end")
        admin.ensure_queue(queue)
        before = len(server.calls)
        admin.ensure_queue(queue)
        assert server.calls[before:] == ["sqs:GetQueueAttributes", "sqs:ListQueueTags"]
        admin.remove_namespace(namespace, [])
        admin.close()
