"""Attempt and origin from a message's headers, as RabbitMQ 3.10 and 4.0 write them and as anybody may."""

from typing import Any

import pytest

from asya_core.transports.rabbitmq.consumer import attempt_and_origin
from asya_core.transports.rabbitmq.settings import QueueType

QUORUM, CLASSIC = QueueType.QUORUM, QueueType.CLASSIC
DELAYED = [{"queue": "asya-shop_delay-250", "reason": "expired", "count": 1}]
REJECTED = [{"queue": "asya-shop-a", "reason": "rejected", "count": 1}]
NEW_REJECTED = {"x-death": REJECTED, "x-last-death-queue": "asya-shop-a", "x-last-death-reason": "rejected"}
NEW_LIMIT = {"x-death": REJECTED, "x-last-death-queue": "asya-shop-a", "x-last-death-reason": "delivery_limit"}


@pytest.mark.parametrize(
    ("headers", "redelivered", "queue_type", "expected"),
    [
        ({}, False, QUORUM, (1, None)),
        ({"x-delivery-count": 0}, False, QUORUM, (1, None)),
        ({"x-delivery-count": 3}, True, QUORUM, (4, None)),
        ({}, True, CLASSIC, (2, None)),
        ({"x-delivery-count": 3}, False, CLASSIC, (1, None)),
        # a retry: a new publish that lay in a delay queue
        ({"asya-attempt": 2, "x-death": DELAYED}, False, QUORUM, (3, None)),
        ({"asya-attempt": 2, "x-death": DELAYED, "x-delivery-count": 1}, True, QUORUM, (4, None)),
        ({"asya-attempt": 2, "x-last-death-queue": "asya-shop_delay-250", "x-death": REJECTED}, False, QUORUM, (3, None)),
        ({"asya-attempt": 1, "asya-origin": "asya-shop-a", "x-death": DELAYED}, False, QUORUM, (2, "asya-shop-a")),
        # given up by another queue: its attempts begin anew
        ({"asya-attempt": 9, "x-death": REJECTED, "x-delivery-count": 0}, False, QUORUM, (1, "asya-shop-a")),
        ({"x-death": REJECTED, "x-delivery-count": 2}, True, QUORUM, (3, "asya-shop-a")),
        ({"x-death": REJECTED}, True, CLASSIC, (2, "asya-shop-a")),
        # 4.0: a count of 1 is the old queue's, and then the new one's own
        ({**NEW_REJECTED, "x-delivery-count": 1}, True, QUORUM, (1, "asya-shop-a")),
        ({**NEW_REJECTED, "x-delivery-count": 2}, True, QUORUM, (2, "asya-shop-a")),
        ({**NEW_LIMIT}, False, QUORUM, (1, "asya-shop-a")),
        ({**NEW_LIMIT, "x-delivery-count": 1}, True, QUORUM, (2, "asya-shop-a")),
        # anybody may publish anything
        ({"asya-attempt": "many", "x-delivery-count": True, "asya-origin": 7}, False, QUORUM, (1, None)),
        ({"asya-attempt": -1, "x-delivery-count": 2**40, "asya-origin": ""}, False, QUORUM, (1, None)),
        ({"x-death": "x", "x-last-death-queue": ["y"]}, False, QUORUM, (1, None)),
        ({"x-death": []}, False, QUORUM, (1, None)),
        ({"x-death": [7]}, False, QUORUM, (1, None)),
        ({"x-death": [{"queue": 7}]}, False, QUORUM, (1, None)),
    ],
)
def test_attempt_and_origin(headers: dict[str, Any], redelivered: bool, queue_type: QueueType, expected: tuple[int, str | None]) -> None:
    assert attempt_and_origin(headers, redelivered, queue_type) == expected
