"""Runs moto's server on 127.0.0.1 with connections that are kept, which its own command does not do.

python moto_server.py PORT
"""

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class KeptConnections(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300

    def log_request(self, *_arguments: object) -> None:
        """Nothing: a line per request is most of what an idle test run writes."""


def main() -> None:
    application = DomainDispatcherApplication(create_backend_app)
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=KeptConnections).serve_forever()


if __name__ == "__main__":
    main()
