"""A FastStream application with one subscriber that publishes its result to the next queue. Run in the environment of constraints.txt.

Prefetch 32, acknowledgement after the handler, confirmed and persistent publishes (its default, and ``persist``), no log line per message,
uvloop: its set-up for throughput. Handlers overlap up to the prefetch.
"""

import os
from typing import Any

import handlers
import uvloop
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from faststream.rabbit.schemas.queue import QueueType

_concurrency = int(os.environ["BENCH_CONCURRENCY"])
_kind = QueueType(os.environ["BENCH_QUEUE_TYPE"])
_handler = getattr(handlers, os.environ["BENCH_HANDLER"])
broker = RabbitBroker(
    os.environ["BENCH_URL"], logger=None, default_channel=Channel(prefetch_count=_concurrency or 32, publisher_confirms=True)
)
app = FastStream(broker, logger=None)


def _queue(name: str) -> RabbitQueue:
    return RabbitQueue(name, queue_type=_kind, durable=True)


if os.environ["BENCH_HANDLER"] == "async_sleep":

    @broker.subscriber(_queue(os.environ["BENCH_SOURCE"]), ack_policy=AckPolicy.NACK_ON_ERROR)
    @broker.publisher(_queue(os.environ["BENCH_SINK"]), persist=True)
    async def work_async(payload: dict[str, Any]) -> dict[str, Any]:
        """One hop."""
        return await _handler(payload)

elif os.environ["BENCH_HANDLER"] == "sleep":

    @broker.subscriber(_queue(os.environ["BENCH_SOURCE"]), ack_policy=AckPolicy.NACK_ON_ERROR)
    @broker.publisher(_queue(os.environ["BENCH_SINK"]), persist=True)
    def work_blocking(payload: dict[str, Any]) -> dict[str, Any]:
        """One hop; FastStream runs plain functions in a thread pool."""
        return _handler(payload)

else:

    @broker.subscriber(_queue(os.environ["BENCH_SOURCE"]), ack_policy=AckPolicy.NACK_ON_ERROR)
    @broker.publisher(_queue(os.environ["BENCH_SINK"]), persist=True)
    async def work(payload: dict[str, Any]) -> dict[str, Any]:
        """One hop, on the loop: a plain function would cost a thread's hand-over."""
        return _handler(payload)


if __name__ == "__main__":
    uvloop.run(app.run())
