"""What botocore's exceptions mean; and settings that SQS cannot keep."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from asya_core.transports.sqs.client import Fault, fault_of, make_client
from asya_core.transports.sqs.settings import SqsSettings, is_queue_name
from asya_core.wire.errors import RemoteFault


def said(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SendMessageBatch")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (said("AWS.SimpleQueueService.NonExistentQueue"), Fault.NO_QUEUE),
        (said("QueueDoesNotExist"), Fault.NO_QUEUE),
        (said("RequestThrottled"), Fault.THROTTLED),
        (said("ThrottlingException"), Fault.THROTTLED),
        (said("Whatever", 429), Fault.THROTTLED),
        (said("Whatever", 503), Fault.UNCERTAIN),
        (said("InternalError", 500), Fault.UNCERTAIN),
        (said("AccessDeniedException", 400), Fault.DENIED),
        (said("ExpiredToken", 403), Fault.DENIED),
        (said("AWS.SimpleQueueService.BatchRequestTooLong"), Fault.BAD_REQUEST),
        (NoCredentialsError(), Fault.DENIED),
        (EndpointConnectionError(endpoint_url="http://x", error="refused"), Fault.NOT_SENT),
        (SSLError(endpoint_url="https://x", error="bad certificate"), Fault.NOT_SENT),
        (ConnectionClosedError(endpoint_url="http://x"), Fault.UNCERTAIN),
        (ReadTimeoutError(endpoint_url="http://x"), Fault.UNCERTAIN),
    ],
)
def test_exception_says_what_became_of_the_call(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_no_region_is_refused_with_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(RemoteFault) as caught:
        make_client(SqsSettings())
    assert str(caught.value) == "SQS has no region; set AWS_REGION, such as eu-central-1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"visibility_seconds": 0},
        {"visibility_seconds": 43_201},
        {"wait_seconds": 21},
        {"max_message_bytes": 1_048_577},
        {"endpoint": "sqs:9324"},
        {"access_key_id": "a"},
    ],
)
def test_settings_that_sqs_cannot_keep_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RemoteFault) as caught:
        SqsSettings(**wrong)
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(
    ("name", "legal"), [("asya-d_dlq", True), ("a" * 80, True), ("a" * 81, False), ("", False), ("ü", False), ("a.b", False)]
)
def test_names_of_queues(name: str, legal: bool) -> None:
    assert is_queue_name(name) is legal


def test_messages_tell_the_endpoint_or_the_region() -> None:
    told = [each.where for each in (SqsSettings(endpoint="http://sqs:9324"), SqsSettings(region="eu-central-1"), SqsSettings())]
    assert told == ["http://sqs:9324", "SQS in eu-central-1", "SQS in the default region"]


def test_secret_is_not_shown() -> None:
    assert "topsecret" not in repr(SqsSettings(access_key_id="id", secret_access_key="topsecret"))
