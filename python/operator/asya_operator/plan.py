"""What to write so that the observed becomes the desired: nothing, when nothing changed. Pure; called by `reconcile`.

An object is applied if the hash in its annotation differs (something was changed or removed) or if it lacks something that is desired
(somebody edited it: drift). Replicas are sent at creation and as long as the field is ours, then with the live number; once KEDA has
scaled, the field is KEDA's and is left out (left out earlier, the API server would set it to 1).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from asya_operator.compare import differences
from asya_operator.desired import labels
from asya_operator.desired.children import Desired
from asya_operator.observed import Child, unpacked

__all__ = ["Apply", "Plan", "Why", "plan"]

Json = dict[str, Any]


class Why(StrEnum):
    """Why an object is applied."""

    MISSING = "missing"
    """It is not there."""
    CHANGED = "changed"
    """What is desired has changed."""
    DRIFTED = "drifted"
    """Somebody edited it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Apply this manifest. `paths` say what had drifted; `is_ours_alone` that only the operator's part of a workload changes."""

    manifest: Json
    why: Why
    paths: tuple[str, ...] = ()
    restarts_pods: bool = False

    @property
    def kind(self) -> str:
        """Of the manifest."""
        return str(self.manifest["kind"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in this order: `workload`, `scaled`, `remove`. `foreign`: kinds whose name is taken by something not ours."""

    workload: Apply | None = None
    scaled: tuple[Apply, ...] = field(default=())
    remove: tuple[Child, ...] = field(default=())
    foreign: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.workload is None and not self.scaled and not self.remove


def plan(desired: Desired, live: Mapping[str, Child], uid: str, accepted: Mapping[str, Collection[str]]) -> Plan:
    """What to write.

    Args:
        desired: of `desired_children`.
        live: what is there under the actor's name, by kind.
        uid: of the AsyncActor.
        accepted: by kind, paths that differed even right after our last application of the same object: somebody
            insists, a webhook or the API server.
    """
    foreign = tuple(sorted(child.kind for child in live.values() if child.owner != uid))
    wanted = [desired.workload, *desired.scaled]
    actions: list[Apply | None] = []
    for manifest in wanted:
        kind = str(manifest["kind"])
        if kind in foreign:
            actions.append(None)
            continue
        replicas = _replicas(desired, live.get(kind)) if manifest is desired.workload else None
        actions.append(_action(manifest, live.get(kind), replicas, accepted.get(kind, ())))
    kinds = {str(each["kind"]) for each in wanted}
    remove = tuple(child for kind, child in sorted(live.items()) if kind not in kinds and kind not in foreign and not child.is_deleted)
    workload, *scaled = actions
    return Plan(workload=workload, scaled=tuple(each for each in scaled if each is not None), remove=remove, foreign=foreign)


def _replicas(desired: Desired, live: Child | None) -> int | None:
    """The number to send; None to leave the field out."""
    if desired.replicas is not None:
        return desired.replicas
    if live is None:
        return desired.first_replicas
    return live.replicas if live.owns_replicas else None


def _action(manifest: Json, live: Child | None, replicas: int | None, accepted: Collection[str]) -> Apply | None:
    complete = manifest if replicas is None else {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}
    if live is None:
        return Apply(manifest=complete, why=Why.MISSING)
    same = live.desired == manifest["metadata"]["annotations"][labels.DESIRED]
    paths = tuple(path for path in differences(comparable(complete), unpacked(live.body)) if path not in accepted)
    if same and not paths:
        return None
    if replicas is not None and live.owns_replicas:
        # If KEDA scales in this very moment, the write is refused and the next look finds the field to be KEDA's.
        meta = {**complete["metadata"], "resourceVersion": live.resource_version}
        complete = {**complete, "metadata": meta}
    restarts = any(path.startswith("spec.template") for path in paths) or not same
    user = manifest["metadata"]["annotations"].get(labels.SPEC)
    return Apply(
        manifest=complete,
        why=Why.DRIFTED if same and paths != ("spec.replicas",) else Why.CHANGED,
        paths=paths,
        restarts_pods=restarts and user is not None and user == live.user_part,
    )


def comparable(manifest: Json) -> Json:
    """The part of a manifest that `observed.Child.body` holds."""
    meta = manifest["metadata"]
    return {"metadata": {key: meta[key] for key in ("labels", "annotations", "ownerReferences") if key in meta}, "spec": manifest["spec"]}
