"""A Celery worker with one task that sends its result to the next queue. Run in the environment of constraints.txt.

As its documentation advises for at-least-once and throughput on RabbitMQ: ``acks_late``, rejection when the worker is lost, confirmed
publishes, no result backend, no events, no gossip or mingle (the command line), a prefetch multiplier above 1 because the task is short.
"""

import os

import handlers
from celery import Celery
from kombu import Queue

_source, _sink = os.environ["BENCH_SOURCE"], os.environ["BENCH_SINK"]
_arguments = {"x-queue-type": os.environ["BENCH_QUEUE_TYPE"]}

app = Celery("bench", broker=os.environ["BENCH_URL"], set_as_current=True)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_create_missing_queues=True,
    task_default_queue=_source,
    task_queues=[
        Queue(_source, routing_key=_source, queue_arguments=_arguments),
        Queue(_sink, routing_key=_sink, queue_arguments=_arguments),
    ],
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=32,
    worker_send_task_events=False,
    worker_hijack_root_logger=True,
    worker_enable_remote_control=False,
    event_queue_exclusive=None,
)
_handler = getattr(handlers, os.environ["BENCH_HANDLER"].removeprefix("async_"))


@app.task(name="bench.work")
def work(payload: dict) -> None:
    """One hop."""
    following.apply_async((_handler(payload),), queue=_sink)


@app.task(name="bench.following")
def following(payload: dict) -> None:
    """The next step; nobody runs it."""
