"""What objects of a cluster say about an installation: parsed JSON → checks. Pure.

Called by `asya_cli.doctor.cluster`. Knows no API server.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from asya_cli.doctor.check import Check, bad, good, odd
from asya_core.wire.names import ERROR_END, HAPPY_END

__all__ = [
    "Json",
    "actors",
    "crew",
    "definition",
    "gateway",
    "is_ours",
    "keda",
    "operator",
    "secret_names",
    "secrets",
    "version",
]

Json: TypeAlias = Mapping[str, Any]
LEAST_KUBERNETES: Final = (1, 29)
"""Containers that start before the others and live as long are on by default from here on."""
VERSION: Final = "v1alpha1"
"""Of the custom resource."""
_MANAGERS: Final = ("app.kubernetes.io/managed-by", "app.kubernetes.io/part-of")
_NAMED: Final = 20


def version(told: Json, name: str) -> Check:
    """``/version`` of the API server."""
    numbers = tuple(int(re.sub(r"\D.*", "", str(told.get(part, ""))) or 0) for part in ("major", "minor"))
    text = told.get("gitVersion") or ".".join(map(str, numbers))
    if numbers < LEAST_KUBERNETES:
        return bad("cluster", f"{name} has Kubernetes {text}", "upgrade it to 1.29 or newer: the sidecar needs native sidecar containers")
    return good("cluster", f"{name} answers, Kubernetes {text}")


def definition(found: Json | None) -> Check:
    """The custom resource definition of AsyncActor."""
    if found is None:
        return bad("custom resource", "asyncactors.asya.sh is not there", "install the chart asya-operator with crds.enabled: true")
    served = [str(each.get("name")) for each in found.get("spec", {}).get("versions", ()) if each.get("served")]
    if VERSION not in served:
        told = ", ".join(served) or "no version"
        return bad(
            "custom resource", f"asyncactors.asya.sh serves {told}, not {VERSION}", "upgrade the chart asya-operator, its definition too"
        )
    established = _condition(found, "Established")
    if established.get("status") != "True":
        told = established.get("message") or "it is not established"
        return bad("custom resource", f"asyncactors.asya.sh: {told}", "see kubectl describe crd asyncactors.asya.sh")
    return good("custom resource", f"asyncactors.asya.sh serves {VERSION}")


def operator(deployments: Sequence[Json]) -> Check:
    """Deployments labelled as the operator."""
    return _deployed("operator", deployments, "install the chart asya-operator: docs/how-to/install.md")


def gateway(namespace: str, deployments: Sequence[Json]) -> Check:
    """Deployments labelled as a gateway, in one namespace. It works without one."""
    if not deployments:
        return odd(
            "gateway pods",
            f"None in namespace {namespace}",
            "install the chart asya-gateway there, or set gateway.enabled: false in asya-crew",
        )
    return _deployed("gateway pods", deployments, "")


def _deployed(name: str, deployments: Sequence[Json], remedy: str) -> Check:
    if not deployments:
        return bad(name, "Not installed", remedy)
    for each in deployments:
        status, meta = each.get("status", {}), each["metadata"]
        wanted, ready = each.get("spec", {}).get("replicas", 1), status.get("readyReplicas") or 0
        if ready < wanted or not wanted:
            where = f"{meta['namespace']}/{meta['name']}"
            return bad(
                name, f"{where}: {ready} of {wanted} pods are ready", f"see kubectl -n {meta['namespace']} describe deploy {meta['name']}"
            )
    told = [f"{each['metadata']['namespace']}/{each['metadata']['name']}{_image(each)}" for each in deployments]
    return good(name, f"{', '.join(told)} ready")


def _image(deployment: Json) -> str:
    version = (deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/version")
    return f" {version}" if version else ""


def keda(scaled_objects: Json | None, metrics: Json | None) -> Iterator[Check]:
    """KEDA's definition, and the API service by which the autoscaler asks it."""
    if scaled_objects is None:
        yield bad("keda", "scaledobjects.keda.sh is not there", "install KEDA, or set scaling.keda: disabled in the operator's values")
        return
    yield good("keda", "scaledobjects.keda.sh is there")
    if metrics is None:
        yield bad(
            "keda metrics",
            "v1beta1.external.metrics.k8s.io is not there",
            "install KEDA's metrics server: actors stay at one replica without it",
        )
        return
    available = _condition(metrics, "Available")
    service = (metrics.get("spec", {}).get("service") or {}).get("name") or ""
    if available.get("status") != "True":
        told = available.get("message") or "not available"
        yield bad("keda metrics", f"v1beta1.external.metrics.k8s.io: {told}", "see the pods of keda-operator-metrics-apiserver")
    elif "keda" not in service:
        yield odd(
            "keda metrics", f"v1beta1.external.metrics.k8s.io belongs to {service}", "a cluster has one such server: let it be KEDA's"
        )
    else:
        yield good("keda metrics", f"{service} serves external metrics")


def actors(namespace: str, found: Sequence[Json]) -> Iterator[Check]:
    """The AsyncActors of a namespace: one line for each that is not Ready, with its own sentence, or that is deleted and there."""
    if not found:
        yield odd("actors", f"None in namespace {namespace}", "deploy some, or give --namespace")
        return
    troubled = [(each, condition) for each in found if (condition := _condition(each, "Ready")).get("status") != "True"]
    for each, condition in troubled[:_NAMED]:
        name, reason = each["metadata"]["name"], condition.get("reason") or "no condition yet"
        message = f": {condition['message']}" if condition.get("message") else ""
        hint = f"look up {reason} in docs/reference/conditions.md" if condition else "is the operator up, and does it watch this namespace?"
        yield bad(f"actor {name}", f"{reason}{message}", hint)
    if len(troubled) > _NAMED:
        yield bad("actors", f"{len(troubled) - _NAMED} more are not Ready", f"see kubectl -n {namespace} get asya")
    for each in [each for each in found if each["metadata"].get("deletionTimestamp") and each not in (one for one, _ in troubled)][:_NAMED]:
        message = _condition(each, "Ready").get("message", "")
        yield odd(
            f"actor {each['metadata']['name']}",
            f"Deleted at {each['metadata']['deletionTimestamp']}, and still there: {message}",
            "the operator lets it go; see docs/how-to/change-a-flow.md",
        )
    if not troubled:
        yield good("actors", f"{len(found)} of {len(found)} in namespace {namespace} are Ready")


def crew(namespace: str, found: Sequence[Json]) -> Check:
    """Whether both end actors are among the AsyncActors of a namespace."""
    names = {each["metadata"]["name"] for each in found}
    missing = [name for name in (HAPPY_END, ERROR_END) if name not in names]
    if missing:
        return bad(
            "crew",
            f"{' and '.join(missing)} missing in namespace {namespace}",
            "install the chart asya-crew there: nothing ends without it",
        )
    return good("crew", f"{HAPPY_END} and {ERROR_END} are there")


def secrets(namespace: str, wanted: Mapping[str, str], present: Iterable[str]) -> Check:
    """Whether Secrets that pods need are there.

    Args:
        namespace: of all.
        wanted: name → a workload that needs it.
        present: names.
    """
    there = set(present)
    missing = {name: user for name, user in sorted(wanted.items()) if name not in there}
    if missing:
        told = ", ".join(f"{name} (for {user})" for name, user in missing.items())
        return bad(
            "secrets", f"Missing in namespace {namespace}: {told}", "create them: docs/how-to/install.md; pods start by themselves then"
        )
    return good("secrets", f"All {len(wanted)} that are used are there" if wanted else "None are used")


def is_ours(workload: Json) -> bool:
    """Whether a workload is an actor's or a gateway's."""
    labels = workload["metadata"].get("labels") or {}
    return any(str(labels.get(key, "")).startswith("asya") for key in (*_MANAGERS, "app.kubernetes.io/name")) or "asya.sh/actor" in labels


def secret_names(workload: Json) -> set[str]:
    """Secrets that a workload's pods cannot do without: mounted, or read into variables; optional ones are left out."""
    pod = workload.get("spec", {}).get("template", {}).get("spec", {})
    found: set[str] = set()
    for volume in pod.get("volumes") or ():
        sources = [volume, *({"secret": each.get("secret")} for each in (volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            secret = source.get("secret") or {}
            if not secret.get("optional"):
                found |= {str(name) for name in (secret.get("secretName"), secret.get("name")) if name}
    for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
        references = [each.get("secretRef") for each in container.get("envFrom") or ()]
        references += [(each.get("valueFrom") or {}).get("secretKeyRef") for each in container.get("env") or ()]
        found |= {str(each["name"]) for each in references if each and not each.get("optional")}
    return found


def _condition(thing: Json, kind: str) -> Json:
    conditions = thing.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})
