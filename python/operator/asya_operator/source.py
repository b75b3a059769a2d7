"""Keeps an actor's source files for its drain. Called by `reconcile` and `draining`.

The chart `asya-actor` puts `source.files` into a ConfigMap of the release, `NAME-source`, which goes with the release at once, while the
deleted actor works on: a pod that is woken then could not mount it. So a copy is kept, and the ConfigMap made again from it where a pod
waits for it. The copy has no owner, since a deletion in the foreground takes what has one; it is deleted with the drain's finalizer.
"""

from typing import Any

from asya_core.ops.logs import Log
from asya_operator.crd import GROUP, KIND, VERSION
from asya_operator.desired.labels import ACTOR_LABEL, MANAGED_BY, MANAGER
from asya_operator.kube import ApiError, Conflict, Kube, NotFound
from asya_operator.memory import Memory
from asya_operator.observed import Actor, Pod, unpacked
from asya_operator.resources import CONFIG_MAPS

__all__ = ["Sources", "source_of"]

Json = dict[str, Any]


def source_of(actor: Actor) -> str | None:
    """The ConfigMap with the source files that its pods mount, by the chart's name for it; None if they mount none."""
    pod = ((unpacked(actor.body).get("workload") or {}).get("template") or {}).get("spec") or {}
    name = f"{actor.name}-source"
    return name if any((volume.get("configMap") or {}).get("name") == name for volume in pod.get("volumes") or ()) else None


def copy_of(actor: Actor) -> str:
    """Name of the copy. No actor's name holds a dot, so that it is nobody's source."""
    return f"{actor.name}.source"


class Sources:
    """Copies.

    Args:
        kube: the API server.
        log: where a refused copy is told.
    """

    def __init__(self, kube: Kube, log: Log) -> None:
        self._kube = kube
        self._log = log

    async def keep(self, actor: Actor, memory: Memory) -> None:
        """See that the copy of a living actor's source is there and the same; once for each generation and resync."""
        name = source_of(actor)
        if name is None or memory.kept == actor.generation:
            return
        found = await self._content(actor.namespace, name)
        if found is None:
            return  # it comes with the release; its pods wait for it too
        if found != await self._content(actor.namespace, copy_of(actor)):
            try:
                await self._kube.apply(CONFIG_MAPS, _manifest(actor, copy_of(actor), found), manager=MANAGER)
            except Conflict:
                raise
            except ApiError as error:
                if error.namespace_ends:
                    raise
                self._log.warning("source not kept", namespace=actor.namespace, actor=actor.name, error=error.message)
        memory.kept = actor.generation

    async def restore(self, actor: Actor, pods: tuple[Pod, ...]) -> None:
        """Make the source of a deleted actor again, if a pod cannot start and it is gone. It goes with the actor."""
        name = source_of(actor)
        if name is None or all(pod.can_start or pod.is_deleted for pod in pods):
            return
        if await self._content(actor.namespace, name) is not None:
            return
        kept = await self._content(actor.namespace, copy_of(actor))
        if kept is None:
            return
        made = _manifest(actor, name, kept)
        made["metadata"]["ownerReferences"] = [
            {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": actor.name, "uid": actor.uid, "blockOwnerDeletion": True}
        ]
        await self._kube.apply(CONFIG_MAPS, made, manager=MANAGER)

    async def drop(self, actor: Actor) -> None:
        """Delete the copy."""
        if source_of(actor) is not None:
            await self._kube.delete(CONFIG_MAPS, actor.namespace, copy_of(actor))

    async def _content(self, namespace: str, name: str) -> Json | None:
        try:
            found = await self._kube.get(CONFIG_MAPS, namespace, name)
        except NotFound:
            return None
        return {key: found[key] for key in ("data", "binaryData") if found.get(key)}


def _manifest(actor: Actor, name: str, content: Json) -> Json:
    labels = {MANAGED_BY: MANAGER, ACTOR_LABEL: actor.name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": actor.namespace, "labels": labels}, **content}
