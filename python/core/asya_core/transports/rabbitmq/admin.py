"""`RabbitAdmin`: makes queues and looks at them. Blocking; for operators, the command line and tests.

What to declare comes from `topology`. Counts of unsettled messages are known to the management API only, AMQP has no way to ask for
them; so `depth` and `delete_if_empty` need `RabbitSettings.management_url`. An unknown number is an error, never zero.
"""

import base64
import json
import re
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import quote

from asya_core.transports.base import Depth, Mismatch, QueueSpec
from asya_core.transports.rabbitmq import connection, topology
from asya_core.transports.rabbitmq.settings import RabbitSettings
from asya_core.wire.errors import Refused, Unavailable

__all__ = ["RabbitAdmin"]

T = TypeVar("T")
HTTP_SECONDS: Final = 10.0
TOTALS: Final = "disable_stats=true&enable_queue_totals=true"
"""Asks the management API for counts as the queues tell them, not for its own samples of those, taken every 5 s."""
FIRST_STATISTICS_SECONDS: Final = 15.0
"""How long a new queue's first counts may take; seen: over 4 s for a quorum queue on a busy machine."""
MAX_NAME_BYTES: Final = 255
"""Of a queue, as AMQP 0-9-1 writes it (a short string)."""


class RabbitAdmin:
    """See `asya_core.transports.base.QueueAdmin`.

    Besides the queue, `ensure` makes the delay exchange and queues of the settings' namespace, once per object.

    Args:
        settings: where and as whom; the user needs the right to configure what is declared.
    """

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._channel: Any = None
        self._has_delays = False

    def ensure(self, spec: QueueSpec) -> None:
        if not self._has_delays:
            self.ensure_topology(topology.delays(self._settings.namespace))
            self._has_delays = True
        self.ensure_topology(topology.Topology(queues=(topology.actor_queue(spec, self._settings.queue_type),)))

    def ensure_topology(self, wanted: topology.Topology) -> None:
        """Declare all of it. Twice is the same as once. Raises `Mismatch` naming the first queue or exchange that differs."""
        for exchange in wanted.exchanges:
            self._declare(exchange.name, "exchange_declare", exchange.name, exchange.type, durable=True)
        for queue in wanted.queues:
            self._declare(queue.name, "queue_declare", queue.name, durable=True, arguments=dict(queue.arguments))
        for binding in wanted.bindings:
            self._declare(binding.queue, "queue_bind", binding.queue, binding.exchange, routing_key="", arguments=dict(binding.arguments))

    def ensure_namespace(self, actors: Iterable[str]) -> None:
        """Declare everything that the settings' namespace with these actors has. Raises `Mismatch`."""
        self.ensure_topology(topology.namespace_topology(self._settings.namespace, actors, self._settings.queue_type))
        self._has_delays = True

    def remove_namespace(self, actors: Iterable[str]) -> list[str]:
        """Delete what `ensure_namespace` with these actors makes, except queues that hold messages or have consumers; gives their names.

        For a namespace whose processes have all ended, such as that of `asya run`: deliveries that others hold at this moment are not seen.
        """
        wanted = topology.namespace_topology(self._settings.namespace, actors, self._settings.queue_type)
        kept = [queue.name for queue in wanted.queues if not self._delete_if_idle(queue.name)]
        if not any(topology.is_delay_queue(name) for name in kept):
            for exchange in wanted.exchanges:
                self._call(lambda channel, name=exchange.name: channel.exchange_delete(name))  # type: ignore[misc]
        return kept

    def _delete_if_idle(self, queue: str) -> bool:
        try:
            if self._ready_and_consumers(queue) != (0, 0):
                return False
        except Refused as error:
            if error.code == "no_such_queue":
                return True
            raise
        self._call(lambda channel: channel.queue_delete(queue))
        return True

    def depth(self, queue: str) -> Depth:
        ready = self._ready_and_consumers(queue)[0]
        return Depth(ready=ready, unsettled=self._unsettled(queue))

    def glance(self, queue: str) -> tuple[int, int]:
        """Ready messages and consumers of the queue at this moment; needs no management API. Raises Refused ``no_such_queue``."""
        return self._ready_and_consumers(queue)

    def server_version(self) -> str:
        """The broker's version as it says at connecting, such as ``3.10.8``; empty if it says none."""
        return self._call(lambda channel: connection.server_version(channel))

    def depths(self, namespace: str) -> dict[str, Depth | None]:
        """All queues of a namespace in one call of the management API, as old as its statistics; None where it has no counts yet.

        Queues of a namespace whose name begins with this one and a dash are among them: pick those you know.
        """
        base = f"/api/queues/{quote(self._settings.vhost, safe='')}"
        columns = f"columns=name,messages_ready,messages_unacknowledged&{TOTALS}"
        found: dict[str, Depth | None] = {}
        page, pages = 1, 1
        while page <= pages:
            query = f"page={page}&page_size=500&name={quote(f'^asya-{re.escape(namespace)}[-_]', safe='')}&use_regex=true&{columns}"
            answer = self._management(f"{base}?{query}", f"Namespace {namespace}")
            pages = int(answer.get("page_count", 1))
            for each in answer.get("items", ()):
                ready, unsettled = each.get("messages_ready"), each.get("messages_unacknowledged")
                known = isinstance(ready, int) and isinstance(unsettled, int)
                found[str(each["name"])] = Depth(ready=ready, unsettled=unsettled) if known else None
            page += 1
        return found

    def consumers(self, namespace: str) -> dict[str, tuple[int, int]]:
        """Messages and consumers of all queues of a namespace, as `depths` finds them; a queue without counts yet has none."""
        base = f"/api/queues/{quote(self._settings.vhost, safe='')}"
        pattern = quote(f"^asya-{re.escape(namespace)}[-_]", safe="")
        found: dict[str, tuple[int, int]] = {}
        page, pages = 1, 1
        while page <= pages:
            query = f"page={page}&page_size=500&name={pattern}&use_regex=true&columns=name,messages,consumers"
            answer = self._management(f"{base}?{query}", f"Namespace {namespace}")
            pages = int(answer.get("page_count", 1))
            for each in answer.get("items", ()):
                found[str(each["name"])] = (int(each.get("messages") or 0), int(each.get("consumers") or 0))
            page += 1
        return found

    def rights(self) -> dict[str, str]:
        """Patterns ``configure``, ``write``, ``read`` of this user in the virtual host.

        Raises Refused ``broker_refused`` unless the user has the tag administrator, ``no_such_queue`` if it has no rights at all.
        """
        user = self._settings.credentials().username
        answer = self._management(f"/api/permissions/{quote(self._settings.vhost, safe='')}/{quote(user, safe='')}", f"User {user}")
        return {name: str(answer.get(name, "")) for name in ("configure", "write", "read")}

    def delete(self, queue: str) -> None:
        """Delete the queue and what is in it. Not there is done."""
        self._call(lambda channel: channel.queue_delete(queue))

    def delete_if_empty(self, queue: str) -> bool:
        """Delete the queue unless it holds messages, unsettled ones included, or has consumers. True if it is gone afterwards.

        The count of unsettled messages is as old as the broker's statistics; so an empty queue without consumers is looked at again after
        `RabbitSettings.statistics_seconds`, which is how long this may take.
        """
        for last in (False, True):
            try:
                ready, consumers = self._ready_and_consumers(queue)
            except Refused as error:
                if error.code == "no_such_queue":
                    return True
                raise
            if ready or consumers or self._unsettled(queue):
                return False
            if not last:
                time.sleep(self._settings.statistics_seconds)
        if self._ready_and_consumers(queue) != (0, 0):
            return False
        self._call(lambda channel: channel.queue_delete(queue))
        return True

    def purge(self, queue: str) -> int:
        return int(self._call(lambda channel: channel.queue_purge(queue)).method.message_count)

    def peek(self, queue: str, limit: int) -> list[bytes]:
        def read(channel: Any) -> list[bytes]:
            bodies: list[bytes] = []
            last = None
            while len(bodies) < limit:
                method, _properties, body = channel.basic_get(queue)
                if method is None:
                    break
                last = method.delivery_tag
                bodies.append(body)
            if last is not None:
                channel.basic_nack(last, multiple=True, requeue=True)
            return bodies

        try:
            return self._call(read)
        finally:
            # What the broker has not put back yet is put back when the channel closes.
            self.close()

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one. Idempotent."""
        broker, self._connection, self._channel = self._connection, None, None
        if broker is not None:
            try:
                with connection.translated(self._settings):
                    broker.close()
            except (Unavailable, Refused, connection.PreconditionFailed):
                pass  # it is gone, which was wanted

    def _declare(self, name: str, method: str, *arguments: object, **more: object) -> None:
        try:
            self._call(lambda channel: getattr(channel, method)(*arguments, **more))
        except connection.PreconditionFailed as error:
            raise Mismatch(name, str(error)) from error

    def _ready_and_consumers(self, queue: str) -> tuple[int, int]:
        if not 0 < len(queue.encode()) <= MAX_NAME_BYTES:
            raise Refused("no_such_queue", f"Queue name {queue[:40]!r} is empty or over {MAX_NAME_BYTES} bytes", "correct the name")
        answer = self._call(lambda channel: channel.queue_declare(queue, passive=True)).method
        return int(answer.message_count), int(answer.consumer_count)

    def _call(self, operation: Callable[[Any], T]) -> T:
        """Runs an operation on a channel, once more on a new connection if the old one had died in the meantime."""
        for fresh in (self._channel is None, True):
            if fresh and self._channel is None:
                self._connection, self._channel = connection.blocking_connection(self._settings, "admin")
            try:
                with connection.translated(self._settings):
                    return operation(self._channel)
            except (Refused, connection.PreconditionFailed):
                self.close()  # the broker has closed the channel
                raise
            except Unavailable:
                self.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def _unsettled(self, queue: str) -> int:
        """Unsettled messages; waits for the first statistics of a queue that was made, or a broker that was started, a moment ago."""
        deadline = time.monotonic() + max(FIRST_STATISTICS_SECONDS, 2 * self._settings.statistics_seconds)
        while True:
            try:
                return self._statistics(queue)
            except Unavailable as error:
                if error.code != "statistics_missing" or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _statistics(self, queue: str) -> int:
        """Unsettled messages of the queue, as old as the broker's statistics.

        Totals are asked for, not the management API's own samples, which lag behind them by another 5 s. Where the API has no totals of
        one queue (3.10 and some after it) they are taken from the list of the virtual host, found by name.
        """
        base = f"/api/queues/{quote(self._settings.vhost, safe='')}"
        found = self._management(f"{base}/{quote(queue, safe='')}?{TOTALS}", f"Queue {queue}")
        if "messages_unacknowledged" not in found:
            pattern = quote(f"^{re.escape(queue)}$", safe="")
            listed = self._management(f"{base}?{TOTALS}&page=1&page_size=1&use_regex=true&name={pattern}", f"Queue {queue}").get("items")
            found = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
        count = found.get("messages_unacknowledged")
        if not isinstance(count, int):
            # A queue that was made a moment ago has no statistics yet.
            raise Unavailable("statistics_missing", f"Management API has no counts of queue {queue} yet", "try again in a few seconds")
        return count

    def _management(self, path: str, what: str) -> dict[str, Any]:
        """A document of the management API. `what` it is about, for sentences."""
        import http.client  # here, as every sidecar imports this module and none asks: 10 ms of its start
        import urllib.error
        import urllib.request

        url = self._settings.management_url
        if url is None:
            raise Refused(
                "management_needed",
                f"{what}: unsettled messages are not known without the management API",
                "set the URL of RabbitMQ's management plugin",
            )
        credentials = self._settings.credentials()
        basic = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        request = urllib.request.Request(url.rstrip("/") + path, headers={"Authorization": f"Basic {basic}"})
        context = ssl.create_default_context(cafile=self._settings.tls_ca) if url.startswith("https:") else None
        try:
            with urllib.request.urlopen(request, timeout=HTTP_SECONDS, context=context) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise Refused("no_such_queue", f"{what} is not known to the management API at {url}", "declare it first") from error
            if error.code in (401, 403):
                raise Refused(
                    "broker_refused", f"Management API at {url} refused the user: {error.code}", "give it the tag monitoring"
                ) from error
            raise Unavailable("management_unavailable", f"Management API at {url} answered {error.code}", "try again later") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable("management_unavailable", f"Management API at {url} cannot be read", "check the URL") from error
        if not isinstance(found, dict):
            raise Unavailable("management_unavailable", f"Management API at {url} does not answer as RabbitMQ's", "check the URL")
        return found
