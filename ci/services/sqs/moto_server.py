"""Runs moto's server on 127.0.0.1 without a line in its log per request: python moto_server.py PORT."""

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class Quiet(MotoRequestHandler):
    def log_request(self, *_arguments: object) -> None:
        pass


def main() -> None:
    application = DomainDispatcherApplication(create_backend_app)
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
