"""What is declared on a RabbitMQ, argument by argument: they can never be changed afterwards."""

import pytest

from asya_core.transports.base import QueueSpec
from asya_core.transports.rabbitmq import topology
from asya_core.transports.rabbitmq.settings import QueueType
from asya_core.wire.errors import RemoteFault


def test_actor_queue_is_quorum_with_limit_and_dead_letters_to_error_end() -> None:
    queue = topology.actor_queue(topology.actor_spec("shop", "clean-text"))
    assert queue.name == "asya-shop-clean-text"
    assert dict(queue.arguments) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 200,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "asya-shop-error-end",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_error_end_dead_letters_to_the_queue_that_nobody_consumes() -> None:
    queue = topology.actor_queue(topology.actor_spec("shop", "error-end"))
    assert queue.arguments["x-dead-letter-routing-key"] == "asya-shop_dlq"


def test_quorum_queue_without_dead_letter_never_drops_for_a_delivery_limit() -> None:
    queue = topology.actor_queue(QueueSpec("asya-shop_dlq"))
    assert dict(queue.arguments) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": topology.MAX_DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
    }


@pytest.mark.parametrize("dead_letter", ["asya-shop-error-end", None])
def test_classic_queue_has_no_delivery_limit(dead_letter: str | None) -> None:
    queue = topology.actor_queue(QueueSpec("asya-shop-a", dead_letter=dead_letter), QueueType.CLASSIC)
    expected = {"x-queue-type": "classic", "x-overflow": "reject-publish"}
    if dead_letter is not None:
        expected |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_letter}
    assert dict(queue.arguments) == expected


def test_twelve_delay_queues_expire_to_the_default_exchange_under_the_original_key() -> None:
    delays = topology.delays("shop")
    assert [(exchange.name, exchange.type) for exchange in delays.exchanges] == [("asya-shop_delay", "headers")]
    assert [queue.name for queue in delays.queues] == [f"asya-shop_delay-{250 * 2**n}" for n in range(12)]
    assert dict(delays.queues[0].arguments) == {
        "x-queue-type": "quorum",
        "x-message-ttl": 250,
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert {(binding.exchange, binding.queue, binding.arguments["asya-delay"]) for binding in delays.bindings} == {
        ("asya-shop_delay", f"asya-shop_delay-{step}", str(step)) for step in topology.DELAY_STEPS_MS
    }
    assert {binding.arguments["x-match"] for binding in delays.bindings} == {"all"}


@pytest.mark.parametrize(
    ("seconds", "step_ms"),
    [
        (-1, 250),
        (0, 250),
        (0.25, 250),
        (0.2500000001, 250),
        (0.251, 500),
        (1.0, 1000),
        (1.001, 2000),
        (300, 512_000),
        (512, 512_000),
        (513, 512_000),
        (float("inf"), 512_000),
    ],
)
def test_delay_is_rounded_up_to_a_step(seconds: float, step_ms: int) -> None:
    assert topology.delay_step_ms(seconds) == step_ms


def test_namespace_has_delays_dead_letters_error_end_and_each_actor_once() -> None:
    wanted = topology.namespace_topology("shop", ["a", "b", "a", "error-end"])
    names = [queue.name for queue in wanted.queues]
    assert names[12:] == ["asya-shop_dlq", "asya-shop-error-end", "asya-shop-a", "asya-shop-b"]
    assert all(topology.is_delay_queue(name) for name in names[:12])
    assert not any(topology.is_delay_queue(name) for name in names[12:])


def test_illegal_namespace_is_refused() -> None:
    with pytest.raises(RemoteFault, match="Namespace 'a_b' is not legal"):
        topology.delays("a_b")
