"""The kinds of the API that the operator touches, with their addresses. Pure. The chart's roles list the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

__all__ = [
    "ACTORS",
    "BY_KIND",
    "CONFIG_MAPS",
    "DEPLOYMENTS",
    "EVENTS",
    "LEASES",
    "PODS",
    "SCALED_OBJECTS",
    "STATEFUL_SETS",
    "TRIGGER_AUTHENTICATIONS",
    "Resource",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind.

    Attributes:
        group: of the API; empty for the core.
        version: of the group.
        kind: as in manifests.
        plural: as in paths.
        selection: query parameters of its lists and watches.
    """

    group: str
    version: str
    kind: str
    plural: str
    selection: Mapping[str, str] = field(default_factory=dict)

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The address of all, of a namespace's, or of one."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"{base}{where}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


_OURS: Final = {"labelSelector": "asya.sh/actor"}
ACTORS: Final = Resource(group="asya.sh", version="v1alpha1", kind="AsyncActor", plural="asyncactors")
DEPLOYMENTS: Final = Resource(group="apps", version="v1", kind="Deployment", plural="deployments", selection=_OURS)
STATEFUL_SETS: Final = Resource(group="apps", version="v1", kind="StatefulSet", plural="statefulsets", selection=_OURS)
SCALED_OBJECTS: Final = Resource(group="keda.sh", version="v1alpha1", kind="ScaledObject", plural="scaledobjects", selection=_OURS)
TRIGGER_AUTHENTICATIONS: Final = Resource(
    group="keda.sh", version="v1alpha1", kind="TriggerAuthentication", plural="triggerauthentications", selection=_OURS
)
PODS: Final = Resource(group="", version="v1", kind="Pod", plural="pods", selection=_OURS)
CONFIG_MAPS: Final = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps")
EVENTS: Final = Resource(group="", version="v1", kind="Event", plural="events")
LEASES: Final = Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
BY_KIND: Final = {each.kind: each for each in (DEPLOYMENTS, STATEFUL_SETS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, CONFIG_MAPS)}
