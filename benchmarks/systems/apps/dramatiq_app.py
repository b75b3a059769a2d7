"""A Dramatiq worker with one actor that sends its result to the next queue. Run in the environment of constraints.txt.

As its documentation advises for at-least-once: ``confirm_delivery``; it acknowledges after the actor has returned by itself. The Prometheus
middleware is off, as by default since 2.0.
"""

import os

import dramatiq
import handlers
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["BENCH_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)
_handler = getattr(handlers, os.environ["BENCH_HANDLER"].removeprefix("async_"))


@dramatiq.actor(queue_name=os.environ["BENCH_SOURCE"])
def work(payload):
    """One hop."""
    following.send(_handler(payload))


@dramatiq.actor(queue_name=os.environ["BENCH_SINK"])
def following(payload):
    """The next step; the worker is started for the source queue only."""
