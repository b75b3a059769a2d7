"""Labels, names and owner of everything that is made for an actor. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from asya_operator.spec import ACTOR_LABEL, ActorSpec

__all__ = [
    "ACTOR_LABEL",
    "DESIRED",
    "MANAGED_BY",
    "MANAGER",
    "SPEC",
    "digest",
    "metadata",
    "pod_labels",
    "runtime_name",
]

MANAGER: Final = "asya-operator"
"""Field manager, and value of the label `app.kubernetes.io/managed-by`."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
DESIRED: Final = "asya.sh/desired"
"""Annotation of each child: hash of the object that was applied."""
SPEC: Final = "asya.sh/spec"
"""Annotation of a workload: hash of the AsyncActor's part in it. Equal hash, other object: the operator changed, not the user."""


def digest(value: object) -> str:
    """Sixteen hexadecimal digits that stand for a JSON value; the same for equal values in any key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def runtime_name(source: bytes) -> str:
    """Name of the ConfigMap that holds this runtime file: ``asya-runtime-`` and ten digits of its hash."""
    return f"asya-runtime-{hashlib.sha256(source).hexdigest()[:10]}"


def metadata(spec: ActorSpec, uid: str) -> dict[str, Any]:
    """Metadata of a child: name of the actor, labels, owner."""
    return {
        "name": spec.name,
        "namespace": spec.namespace,
        "labels": _labels(spec),
        "annotations": {},
        "ownerReferences": [
            {
                "apiVersion": "asya.sh/v1alpha1",
                "kind": "AsyncActor",
                "name": spec.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def pod_labels(spec: ActorSpec, user: Mapping[str, str]) -> dict[str, str]:
    """Labels of a pod: the AsyncActor's, the template's, and the one that selects."""
    return {**spec.labels, **user, ACTOR_LABEL: spec.name}


def _labels(spec: ActorSpec) -> dict[str, str]:
    return {**spec.labels, ACTOR_LABEL: spec.name, MANAGED_BY: MANAGER}
