"""The sidecar's settings on SQS: limits that are SQS's own, and the transport that comes of them."""

import pytest

from asya_core.transports.sqs import SqsTransport
from asya_core.wire.errors import RemoteFault
from asya_sidecar.app import make_transport
from asya_sidecar.settings import SidecarSettings, claim_threshold, read_sidecar_settings

SQS = {"ASYA_ACTOR": "ocr", "ASYA_NAMESPACE": "demo", "ASYA_TRANSPORT": "sqs", "AWS_REGION": "eu-central-1"}


def read(**more: str) -> SidecarSettings:
    return read_sidecar_settings({**SQS, **more})


def test_message_is_at_most_what_sqs_takes():
    assert read().max_message_bytes == 1_048_576
    assert read(ASYA_MAX_MESSAGE_BYTES="4Ki").max_message_bytes == 4096


def test_payload_is_large_from_200_kb_on_unless_said_otherwise():
    assert claim_threshold(read()) is None
    assert claim_threshold(read(ASYA_CLAIM_URL="s3://claims")) == 200_000
    assert claim_threshold(read(ASYA_CLAIM_URL="s3://claims", ASYA_CLAIM_THRESHOLD="64Ki")) == 65_536


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ASYA_TIMEOUT", "12h", "ASYA_TIMEOUT is 43200 s; expected at most 11h on SQS"),
        ("ASYA_SQS_VISIBILITY", "13h", "from 1s to 12h"),
        ("ASYA_SQS_ENDPOINT", "sqs.mq.svc:9324", "ASYA_SQS_ENDPOINT"),
    ],
)
def test_what_sqs_cannot_do_is_refused(name, value, sentence):
    with pytest.raises(RemoteFault) as caught:
        read(**{name: value})
    assert sentence in str(caught.value)


def test_transport_gets_what_the_settings_say():
    transport = make_transport(read(ASYA_TIMEOUT="11h", ASYA_SQS_VISIBILITY="90s", ASYA_SQS_ENDPOINT="http://127.0.0.1:1"))
    assert isinstance(transport, SqsTransport)
    assert transport.max_message_bytes == 1_048_576
