"""The cluster's RabbitMQ as a caller of Asya sees it: publish an envelope, ask how many wait. Used by the fixtures of this folder."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

import pika

__all__ = ["Broker"]


class Broker:
    """One RabbitMQ.

    Args:
        url: AMQP URL with user and password.
        management_url: of the management API, with user and password.
    """

    def __init__(self, url: str, management_url: str) -> None:
        self._parameters = pika.URLParameters(url)
        address = urlsplit(management_url)
        self._management = f"http://{address.hostname}:{address.port}/api"
        self._authorization = "Basic " + base64.b64encode(f"{address.username}:{address.password}".encode()).decode()

    def publish(self, queue: str, envelopes: list[dict[str, Any]]) -> None:
        """Publish to a queue that exists; every message is confirmed, or this raises."""
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            for envelope in envelopes:
                properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
                channel.basic_publish("", queue, json.dumps(envelope).encode(), properties, mandatory=True)
        finally:
            connection.close()

    def waiting(self, queue: str) -> int:
        """Messages that are ready or being worked on; -1 without such a queue. Up to a second old."""
        try:
            return int(self._call("GET", f"queues/%2F/{quote(queue, safe='')}").get("messages", 0))
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                return -1
            raise

    def queues(self, prefix: str) -> list[str]:
        """Names of the queues that begin so."""
        return [each["name"] for each in self._call("GET", "queues/%2F") if each["name"].startswith(prefix)]

    def declare(self, queue: str, **arguments: Any) -> None:
        """Make a durable queue, as somebody else would."""
        self._call("PUT", f"queues/%2F/{quote(queue, safe='')}", {"durable": True, "arguments": arguments})

    def delete_queues(self, prefix: str) -> None:
        """Remove them with their messages."""
        for name in self.queues(prefix):
            self._call("DELETE", f"queues/%2F/{quote(name, safe='')}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._management}/{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
