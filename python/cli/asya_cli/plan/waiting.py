"""How many messages wait for actors: asked of the broker, or read from the resources' status in a cluster.

Called by `asya_cli.commands.plan`. Changes nothing: a message is neither taken nor looked at.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing

from asya_cli.broker_options import Place
from asya_cli.depths import ready_of
from asya_cli.kube import Cluster
from asya_core.wire.errors import Refused, Unavailable
from asya_core.wire.names import queue_name

__all__ = ["of_broker", "of_cluster"]


def of_broker(place: Place, actors: Iterable[str]) -> dict[str, int | None]:
    """Messages by actor; a queue that does not exist has none, None is not known. Raises Unavailable, Refused.

    On RabbitMQ those that are being worked on count only where the management API is named: AMQP does not tell them.
    """
    found: dict[str, int | None] = {}
    with closing(place.broker.admin(place.namespace)) as admin:
        has_totals = place.management_url is not None or not hasattr(admin, "glance")
        for actor in sorted(actors):
            queue = queue_name(place.namespace, actor)
            try:
                if not has_totals:
                    found[actor] = ready_of(admin, queue)
                else:
                    depth = admin.depth(queue)
                    found[actor] = depth.ready + depth.unsettled
            except Refused as refusal:
                if refusal.code != "no_such_queue":
                    raise
                found[actor] = 0
            except Unavailable as error:
                if error.code != "statistics_missing":
                    raise
                found[actor] = None
    return found


def of_cluster(cluster: Cluster, namespace: str, actors: Iterable[str]) -> dict[str, int | None]:
    """Messages by actor as each AsyncActor's status has them, at most half a minute old; an actor that is not there has none."""
    waiting: Mapping[str, int | None] = {
        str(each["metadata"]["name"]): each.get("status", {}).get("queue", {}).get("waiting") for each in cluster.actors(namespace)
    }
    return {actor: waiting.get(actor, 0) for actor in sorted(actors)}
