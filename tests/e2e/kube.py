"""What the stories ask the API server. Used by the fixtures of this folder; knows neither Helm nor the broker."""

import json
from collections.abc import Iterator
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

__all__ = ["GROUP", "VERSION", "Kube"]

GROUP, VERSION, PLURAL = "asya.sh", "v1alpha1", "asyncactors"


class Kube:
    """One cluster.

    Args:
        kubeconfig: path of the file that names it.
    """

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        api = config.new_client_from_config(kubeconfig)
        self.api = api
        self.core = client.CoreV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.custom = client.CustomObjectsApi(api)

    def is_ready(self) -> bool:
        """Whether the API server answers."""
        try:
            client.VersionApi(self.api).get_code(_request_timeout=5)
        except Exception:  # whatever keeps it from answering
            return False
        return True

    def get(self, path: str) -> Any:
        """A GET of any path of the API server; gives the parsed answer, None for 404."""
        answer = self.api.call_api(*self.api.param_serialize("GET", path, auth_settings=["BearerToken"]))
        content = answer.read()
        if answer.status == 404:
            return None
        assert answer.status == 200, f"GET {path}: {answer.status} {content!r}"
        return json.loads(content)

    def actor(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The AsyncActor as it is, None if there is none."""
        try:
            return dict(self.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name))
        except ApiException as refused:
            if refused.status == 404:
                return None
            raise

    def actors(self, namespace: str) -> list[dict[str, Any]]:
        """All AsyncActors of a namespace."""
        return list(self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)["items"])

    def condition(self, namespace: str, name: str, kind: str = "Ready") -> dict[str, str]:
        """One condition of an actor's status, of the generation that is wanted now; empty while there is none."""
        actor = self.actor(namespace, name) or {}
        status = actor.get("status", {})
        if status.get("observedGeneration") != actor.get("metadata", {}).get("generation"):
            return {}
        return next((each for each in status.get("conditions", []) if each["type"] == kind), {})

    def wanted(self, namespace: str, name: str) -> int:
        """Replicas that an actor's Deployment shall have; -1 while there is no Deployment."""
        try:
            return int(self.apps.read_namespaced_deployment(name, namespace).spec.replicas)
        except ApiException as refused:
            if refused.status == 404:
                return -1
            raise

    def pods(self, namespace: str, name: str) -> list[Any]:
        """An actor's pods, the ending ones too."""
        return list(self.core.list_namespaced_pod(namespace, label_selector=f"asya.sh/actor={name}").items)

    def ready_pods(self, namespace: str, name: str) -> list[Any]:
        """An actor's pods that are ready and not ending."""
        return [pod for pod in self.pods(namespace, name) if _is_ready(pod)]

    def volume_folder(self, namespace: str, claim: str) -> str:
        """The folder of this machine behind a bound claim; empty while it is not bound."""
        volume = self.core.read_namespaced_persistent_volume_claim(claim, namespace).spec.volume_name
        return str(self.core.read_persistent_volume(volume).spec.host_path.path) if volume else ""

    def story(self, namespace: str) -> Iterator[str]:
        """What a person would look at when a test of this namespace failed, line by line."""
        for actor in self.actors(namespace):
            yield f"asyncactor {actor['metadata']['name']}:"
            for each in actor.get("status", {}).get("conditions", []):
                yield f"  {each['type']}={each['status']} {each.get('reason')}: {each.get('message')}"
        for pod in self.core.list_namespaced_pod(namespace).items:
            yield f"pod {pod.metadata.name}: {pod.status.phase}{' (ending)' if pod.metadata.deletion_timestamp else ''}"
            for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
                yield f"  log of {container.name}:"
                yield from (f"  | {line}" for line in self.log(namespace, pod.metadata.name, container.name, lines=15).splitlines())
        for event in self.core.list_namespaced_event(namespace).items[-40:]:
            yield f"event {event.type} {event.involved_object.kind}/{event.involved_object.name} {event.reason}: {event.message}"

    def log(self, namespace: str, pod: str, container: str, *, lines: int = 1000) -> str:
        """The end of a container's log; the refusal's text where there is none."""
        try:
            return str(self.core.read_namespaced_pod_log(pod, namespace, container=container, tail_lines=lines))
        except ApiException as refused:
            return f"no log: {refused.reason}"


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or []
    return not pod.metadata.deletion_timestamp and any(each.type == "Ready" and each.status == "True" for each in conditions)
