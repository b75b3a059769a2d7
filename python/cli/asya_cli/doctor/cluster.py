"""Reads the cluster for `asya_cli.doctor.rules`, one thing after the other; what may not be read is told and the rest goes on.

Called by `asya_cli.commands.doctor`. Reads only; of Secrets names alone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain

from asya_cli.doctor import rules
from asya_cli.doctor.check import Check, skipped
from asya_cli.doctor.gateway import skew
from asya_cli.kube import Cluster
from asya_core.wire.errors import Refused, Unavailable

__all__ = ["of_cluster"]


def of_cluster(cluster: Cluster, namespace: str | None) -> Iterator[Check]:
    """The checks of a cluster and of one namespace of it. Raises Unavailable, Refused if it does not let one in.

    Args:
        cluster: where.
        namespace: with the actors; None: that of the kubeconfig's context.
    """
    with closing(cluster):
        inside = namespace or cluster.namespace
        yield rules.version(cluster.get("/version"), cluster.name)
        yield skew("the API server", cluster.skew_seconds)
        looks: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
            ("custom resource", lambda: [rules.definition(cluster.find(f"{_CRDS}/asyncactors.asya.sh"))]),
            ("operator", lambda: [rules.operator(_deployments(cluster, "asya-operator"))]),
            (
                "keda",
                lambda: rules.keda(
                    cluster.find(f"{_CRDS}/scaledobjects.keda.sh"), cluster.find(f"{_SERVICES}/v1beta1.external.metrics.k8s.io")
                ),
            ),
            ("actors", lambda: _actors(cluster, inside)),
            ("secrets", lambda: [rules.secrets(inside, _wanted_secrets(cluster, inside), _secret_names(cluster, inside))]),
            ("gateway pods", lambda: [rules.gateway(inside, _deployments(cluster, "asya-gateway", inside))]),
        )
        for name, look in looks:
            try:
                yield from look()
            except Refused as refusal:
                yield skipped(name, refusal.message, refusal.hint)
            except Unavailable as error:
                yield skipped(name, error.message, error.hint)


_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"


def _deployments(cluster: Cluster, name: str, namespace: str | None = None) -> list[rules.Json]:
    inside = f"/namespaces/{namespace}" if namespace else ""
    return list(cluster.items(f"/apis/apps/v1{inside}/deployments", labelSelector=f"app.kubernetes.io/name={name}"))


def _actors(cluster: Cluster, namespace: str) -> Iterator[Check]:
    try:
        actors = cluster.actors(namespace)
    except Refused as refusal:
        if refusal.code != "not_found":
            raise
        yield skipped("actors", "The custom resource is not there")
        return
    yield from rules.actors(namespace, actors)
    if actors:  # a namespace without any is told already
        yield rules.crew(namespace, actors)


def _wanted_secrets(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Names of Secrets that pods of this namespace mount or read, with one that does."""
    found: dict[str, str] = {}
    workloads = (cluster.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}") for kind in ("deployments", "statefulsets"))
    for each in chain.from_iterable(workloads):
        if rules.is_ours(each):
            for name in rules.secret_names(each):
                found.setdefault(name, str(each["metadata"]["name"]))
    return found


def _secret_names(cluster: Cluster, namespace: str) -> set[str]:
    return {str(each["metadata"]["name"]) for each in cluster.items(f"/api/v1/namespaces/{namespace}/secrets", metadata_only=True)}
