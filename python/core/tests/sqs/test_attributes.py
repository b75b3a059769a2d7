"""What Asya wants of SQS, as data: names, redrive, differences and their sentences."""

import json

import pytest

from asya_core.transports.base import QueueSpec
from asya_core.transports.sqs.attributes import (
    CONSTANTS,
    OWNER_TAG,
    REDRIVE,
    SqsQueue,
    actor_queue,
    changes,
    dead_letter_queue,
    described,
    found_redrive,
    namespace_queues,
    queue_of,
    redrive_policy,
    wanted_attributes,
)
from asya_core.wire.errors import RemoteFault

ARN = "arn:aws:sqs:eu-central-1:1:asya-demo-error-end"


def test_actors_queue_gives_up_to_error_end_and_error_ends_to_the_dead_letters():
    assert actor_queue("demo", "ocr") == SqsQueue(
        name="asya-demo-ocr", dead_letter="asya-demo-error-end", max_receives=200, owner="demo/ocr"
    )
    assert actor_queue("demo", "error-end").dead_letter == "asya-demo_dlq"
    assert dead_letter_queue("demo") == SqsQueue(name="asya-demo_dlq", owner="demo")
    assert OWNER_TAG == "asya.sh/owner"


@pytest.mark.parametrize(("attempts", "receives"), [(1, 200), (180, 200), (181, 201), (500, 520), (1000, 1000)])
def test_sqs_gives_up_after_the_retry_policy_and_never_before_200_receives(attempts, receives):
    assert actor_queue("demo", "ocr", max_attempts=attempts).max_receives == receives


@pytest.mark.parametrize("end", ["happy-end", "error-end"])
def test_end_actors_try_as_often_as_sqs_allows(end):
    assert actor_queue("demo", end).max_receives == 1000


def test_queues_that_take_dead_letters_come_before_those_that_give_them():
    names = [queue.name for queue in namespace_queues("demo", ["ocr", "error-end"])]
    assert names == ["asya-demo_dlq", "asya-demo-error-end", "asya-demo-happy-end", "asya-demo-ocr"]


def test_illegal_namespace_is_refused():
    with pytest.raises(RemoteFault):
        dead_letter_queue("a_b")


def test_spec_of_the_port_becomes_a_queue_without_owner_within_the_limits_of_sqs():
    assert queue_of(QueueSpec("q", "d", 3)) == SqsQueue(name="q", dead_letter="d", max_receives=3)
    assert queue_of(QueueSpec("q", None, 5000)).max_receives == 1000


def test_all_attributes_are_wanted_and_an_absent_policy_is_the_empty_text():
    assert wanted_attributes(actor_queue("demo", "ocr"), ARN) == {**CONSTANTS, REDRIVE: redrive_policy(ARN, 200)}
    assert wanted_attributes(dead_letter_queue("demo"), None)[REDRIVE] == ""


def test_nothing_differs_where_the_policy_is_only_written_otherwise():
    wanted = wanted_attributes(actor_queue("demo", "ocr"), ARN)
    spaced = json.dumps({"maxReceiveCount": "200", "deadLetterTargetArn": ARN}, indent=1)
    assert changes(wanted, {**CONSTANTS, REDRIVE: spaced, "QueueArn": "x"}) == {}


def test_only_what_differs_is_changed_and_told():
    wanted = wanted_attributes(actor_queue("demo", "ocr"), ARN)
    found = {**CONSTANTS, "VisibilityTimeout": "30", REDRIVE: redrive_policy(ARN, 3)}
    different = changes(wanted, found)
    assert different == {"VisibilityTimeout": "120", REDRIVE: redrive_policy(ARN, 200)}
    assert described(different, found) == (
        "RedrivePolicy is asya-demo-error-end after 3 receives, wanted asya-demo-error-end after 200 receives; "
        "VisibilityTimeout is 30, wanted 120"
    )


def test_attribute_that_the_server_does_not_tell_is_no_difference():
    wanted = wanted_attributes(dead_letter_queue("demo"), None)
    assert changes(wanted, {"VisibilityTimeout": "120"}) == {}


@pytest.mark.parametrize(
    "raw_policy", ["{", "[]", '{"deadLetterTargetArn": "x"}', '{"deadLetterTargetArn": "x", "maxReceiveCount": "many"}']
)
def test_policy_that_cannot_be_read_is_replaced(raw_policy):
    wanted = wanted_attributes(actor_queue("demo", "ocr"), ARN)
    found = {**CONSTANTS, REDRIVE: raw_policy}
    different = changes(wanted, found)
    assert different == {REDRIVE: redrive_policy(ARN, 200)}
    assert "unreadable after 0 receives" in described(different, found)


def test_policy_is_removed_from_a_queue_that_wants_none():
    wanted = wanted_attributes(dead_letter_queue("demo"), None)
    found = {**CONSTANTS, REDRIVE: redrive_policy(ARN, 3)}
    assert changes(wanted, found) == {REDRIVE: ""}
    assert described({REDRIVE: ""}, found).endswith("wanted absent")
    assert found_redrive({}) is None
