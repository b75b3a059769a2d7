"""What is known of the cluster, and the view of one actor in it. The only reader: reconciles look at nothing but what `gather` gives.

Caches are filled by `watch`, and by `reconcile` with what the API server answers to its writes, so that the next look is never older
than the last write.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from asya_core.wire.names import ERROR_END, HAPPY_END, queue_name
from asya_operator.observed import Actor, Child, Pod
from asya_operator.watch import Cache

__all__ = ["Observed", "World", "gather"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One actor and what belongs to it.

    Attributes:
        live: children under its name, by kind; foreign ones too.
        pods: with its label in its namespace.
        queue: the name that it would have.
        queue_owner: namespace/name of the AsyncActor that owns the queue's name if it is another one.
        other_transports: of other actors in the namespace, as far as they name one.
        lacks_crew: end actors that the namespace does not have.
    """

    actor: Actor
    live: Mapping[str, Child]
    pods: tuple[Pod, ...]
    queue: str
    queue_owner: str | None
    other_transports: frozenset[str]
    lacks_crew: tuple[str, ...]


@dataclass(slots=True)
class World:
    """All caches, and indexes over them."""

    actors: Cache[Actor] = field(default_factory=Cache)
    children: dict[str, Cache[Child]] = field(default_factory=lambda: defaultdict(Cache))
    pods: Cache[Pod] = field(default_factory=Cache)
    has_keda: bool = True
    _pods_of: dict[Key, set[Key]] = field(default_factory=lambda: defaultdict(set))
    _queues: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    _namespaces: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def index_actor(self, old: Actor | None, new: Actor | None) -> set[Key]:
        """Follow a change; gives other actors that it concerns: those that want the same queue."""
        key = (new or old).key  # type: ignore[union-attr]
        name = queue_name(*key)
        if new is None:
            self._queues[name].discard(key)
            self._namespaces[key[0]].discard(key[1])
            return set(self._queues[name])
        self._queues[name].add(key)
        self._namespaces[key[0]].add(key[1])
        return self._queues[name] - {key} if old is None else set()

    def index_pod(self, old: Pod | None, new: Pod | None) -> Key:
        """Follow a change; gives the actor that it concerns."""
        pod = new or old
        assert pod is not None
        owner = (pod.namespace, pod.actor)
        if new is None:
            self._pods_of[owner].discard(pod.key)
            if not self._pods_of[owner]:
                del self._pods_of[owner]
        else:
            self._pods_of[owner].add(pod.key)
        return owner

    def namespaces(self) -> dict[str, set[str]]:
        """Names of actors by namespace."""
        return {namespace: set(names) for namespace, names in self._namespaces.items() if names}

    def others(self, key: Key) -> list[Actor]:
        """The other actors of its namespace."""
        namespace = key[0]
        names = self._namespaces.get(namespace, ())
        return [other for name in sorted(names) if name != key[1] and (other := self.actors.get((namespace, name))) is not None]

    def workload_of(self, key: Key) -> Child | None:
        """The workload under an actor's name, whoever's it is."""
        found = (self.children[kind].get(key) for kind in ("Deployment", "StatefulSet"))
        return next((child for child in found if child is not None), None)

    def pods_of(self, key: Key) -> tuple[Pod, ...]:
        """Pods with an actor's label."""
        return tuple(pod for each in self._pods_of.get(key, ()) if (pod := self.pods.get(each)) is not None)

    def runtimes(self, namespace: str) -> set[str]:
        """ConfigMaps with a runtime's file that a workload or pod of the namespace refers to."""
        used = {child.runtime for kind in ("Deployment", "StatefulSet") for child in self.children[kind] if child.namespace == namespace}
        return {name for name in used | {pod.runtime for pod in self.pods if pod.namespace == namespace} if name}

    def owner_of(self, queue: str) -> Actor | None:
        """Who owns a queue's name: the first by age, then by namespace and name."""
        wanting = [actor for key in self._queues.get(queue, ()) if (actor := self.actors.get(key)) is not None]
        return min(wanting, key=lambda actor: (actor.created, actor.key), default=None)


def gather(world: World, actor: Actor) -> Observed:
    """The view of one actor."""
    key = actor.key
    queue = queue_name(*key)
    owner = world.owner_of(queue)
    siblings = world.others(key)
    names = {key[1], *(other.name for other in siblings)}
    return Observed(
        actor=actor,
        live={kind: child for kind, cache in world.children.items() if (child := cache.get(key)) is not None},
        pods=world.pods_of(key),
        queue=queue,
        queue_owner=None if owner is None or owner.key == key else f"{owner.namespace}/{owner.name}",
        other_transports=frozenset(other.transport for other in siblings if other.transport),
        lacks_crew=tuple(name for name in (HAPPY_END, ERROR_END) if name not in names),
    )
