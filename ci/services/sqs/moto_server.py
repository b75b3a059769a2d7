"""Runs moto's server on 127.0.0.1: python moto_server.py PORT.

Without a line in its log per request, and with two of moto's own detours cut short, which make its time grow with the square of a queue's
length (5.2.5): it reads the clock by way of two dates, twice for each message that it looks at, and counts the whole queue for each message
that it hands out, to see whether that is too old. What it answers stays the same.
"""

import sys
import time

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs import models
from werkzeug.serving import make_server


class Quiet(MotoRequestHandler):
    def log_request(self, *_arguments: object) -> None:
        pass


def is_young_enough(backend: models.SQSBackend, queue_name: str, message: models.Message) -> bool:
    period = float(backend.get_queue(queue_name).message_retention_period)
    return period + message.sent_timestamp / 1000 > time.time()


def main() -> None:
    models.unix_time = time.time
    models.unix_time_millis = lambda: time.time() * 1000
    models.SQSBackend.is_message_valid_based_on_retention_period = is_young_enough
    application = DomainDispatcherApplication(create_backend_app)
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
