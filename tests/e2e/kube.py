"""What the stories ask the API server. Used by the fixtures of this folder; knows neither Helm nor the broker."""

import json
from collections.abc import Iterator
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.e2e.waiting import NotNow, eventually

__all__ = ["ACTORS", "GROUP", "VERSION", "Kube"]

GROUP, VERSION, PLURAL = "asya.sh", "v1alpha1", "asyncactors"
ACTORS = f"/apis/{GROUP}/{VERSION}"
HASH = "pod-template-hash"
Json = dict[str, Any]


class Kube:
    """One cluster.

    Args:
        kubeconfig: path of the file that names it.
    """

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        self.api: Any = _client(kubeconfig)
        # The stories write manifests as dictionaries, as users do; the typed classes declare models only.
        self.core: Any = client.CoreV1Api(self.api)
        self.apps: Any = client.AppsV1Api(self.api)
        self.custom: Any = client.CustomObjectsApi(self.api)

    def is_ready(self) -> bool:
        """Whether the API server answers."""
        try:
            client.VersionApi(self.api).get_code(_request_timeout=60)
        except Exception:  # whatever keeps it from answering
            return False
        return True

    # --------------------------------------------------------------------------------------------------------------------- any object

    def get(self, path: str) -> Any:
        """A GET of any path of the API server; gives the answer parsed, None for 404. Raises `NotNow` if it or a pod behind is busy."""
        status, answer = self._call("GET", path)
        if status == 404:
            return None
        if status == 429 or status >= 500:
            raise NotNow(f"GET {path}: {status} {answer!r}")
        assert status == 200, f"GET {path}: {status} {answer!r}"
        return answer

    def create(self, path: str, body: Json) -> Json:
        """POST an object to its collection. Raises AssertionError with the API server's words."""
        status, answer = self._call("POST", path, body)
        assert status in (200, 201), f"POST {path}: {status} {answer!r}"
        return dict(answer)

    def refusal(self, path: str, body: Json) -> str:
        """What the API server and its webhooks would say to the creation of an object; empty if they would take it."""
        status, answer = self._call("POST", f"{path}?dryRun=All", body)
        return "" if status in (200, 201) else str(answer)

    def merge(self, path: str, body: Json) -> Json:
        """Merge patch of an object, again if another's write came in between. Raises as `create`."""

        def merged() -> Json:
            status, answer = self._call("PATCH", path, body, "application/merge-patch+json")
            if status == 409:
                raise NotNow(f"PATCH {path}: {status} {answer!r}")
            assert status == 200, f"PATCH {path}: {status} {answer!r}"
            return dict(answer)

        return eventually(f"a patch of {path}", merged)

    def delete(self, path: str, *, propagation: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete an object; not there is done. `propagation`: its children's end, such as Foreground; `grace_seconds`: a pod's."""
        options = {"propagationPolicy": propagation, "gracePeriodSeconds": grace_seconds}
        status, answer = self._call("DELETE", path, {key: value for key, value in options.items() if value is not None} or None)
        assert status in (200, 202, 404), f"DELETE {path}: {status} {answer!r}"

    def _call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> tuple[int, Any]:
        headers = {"Accept": "application/json", "Content-Type": kind}
        answer = self.api.call_api(
            *self.api.param_serialize(method, path, header_params=headers, body=body, auth_settings=["BearerToken"]), _request_timeout=60
        )
        content = answer.read()
        try:
            return int(answer.status), json.loads(content)
        except ValueError:
            return int(answer.status), content

    # ------------------------------------------------------------------------------------------------------------------------- actors

    def actor(self, namespace: str, name: str) -> Json | None:
        """The AsyncActor as it is, None if there is none."""
        found: Json | None = self.get(f"{ACTORS}/namespaces/{namespace}/{PLURAL}/{name}")
        return found

    def actors(self, namespace: str) -> list[Json]:
        """All AsyncActors of a namespace."""
        return list((self.get(f"{ACTORS}/namespaces/{namespace}/{PLURAL}") or {}).get("items", []))

    def apply_actor(self, namespace: str, manifest: Json) -> Json:
        """Create an AsyncActor as its manifest says, without Helm."""
        return self.create(f"{ACTORS}/namespaces/{namespace}/{PLURAL}", manifest)

    def change_actor(self, namespace: str, name: str, patch: Json) -> Json:
        """Merge patch of an AsyncActor."""
        return self.merge(f"{ACTORS}/namespaces/{namespace}/{PLURAL}/{name}", patch)

    def delete_actor(self, namespace: str, name: str, *, propagation: str | None = None) -> None:
        """Ask for an AsyncActor's end; does not wait for it. `propagation`: see `delete`."""
        self.delete(f"{ACTORS}/namespaces/{namespace}/{PLURAL}/{name}", propagation=propagation)

    def condition(self, namespace: str, name: str, kind: str = "Ready") -> dict[str, str]:
        """One condition of an actor's status, of the generation that is wanted now; empty while there is none."""
        actor = self.actor(namespace, name) or {}
        status = actor.get("status", {})
        if status.get("observedGeneration") != actor.get("metadata", {}).get("generation"):
            return {}
        return next((each for each in status.get("conditions", []) if each["type"] == kind), {})

    # ---------------------------------------------------------------------------------------------------------------- what is made of them

    def wanted(self, namespace: str, name: str) -> int:
        """Replicas that an actor's Deployment shall have; -1 while there is no Deployment."""
        try:
            return int(self.apps.read_namespaced_deployment(name, namespace).spec.replicas)
        except ApiException as refused:
            if refused.status == 404:
                return -1
            raise

    def scaled_object(self, namespace: str, name: str) -> Json | None:
        """KEDA's object for an actor, None if there is none."""
        found: Json | None = self.get(f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}")
        return found

    def runs_alone(self, namespace: str, name: str) -> bool:
        """Whether an actor's Deployment follows what is wanted now, and no pod of an older template is left, not even an ending one."""
        if not self.condition(namespace, name):
            return False
        deployment = self.apps.read_namespaced_deployment(name, namespace)
        if (deployment.status.observed_generation or 0) < deployment.metadata.generation:
            return False
        sets = self.apps.list_namespaced_replica_set(namespace, label_selector=f"asya.sh/actor={name}").items
        newest = {each.metadata.labels[HASH] for each in sets if _revision(each) == _revision(deployment)}
        return len(newest) == 1 and {pod.metadata.labels[HASH] for pod in self.pods(namespace, name)} <= newest

    def pods(self, namespace: str, name: str) -> list[Any]:
        """An actor's pods, the ending ones too."""
        return list(self.core.list_namespaced_pod(namespace, label_selector=f"asya.sh/actor={name}").items)

    def delete_pod(self, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """End a pod; one that is gone by then has ended. `grace_seconds`: instead of its own."""
        self.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", grace_seconds=grace_seconds)

    def ready_pods(self, namespace: str, name: str) -> list[Any]:
        """An actor's pods that are ready and not ending."""
        return [pod for pod in self.pods(namespace, name) if _is_ready(pod)]

    def evict(self, namespace: str, pod: str) -> None:
        """What draining a node does to each pod: end it within its grace period, if its disruption budget allows it."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        self.create(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)

    def volume_folder(self, namespace: str, claim: str) -> str:
        """The folder of this machine behind a bound claim; empty while it is not bound."""
        volume = self.core.read_namespaced_persistent_volume_claim(claim, namespace).spec.volume_name
        return str(self.core.read_persistent_volume(volume).spec.host_path.path) if volume else ""

    # ---------------------------------------------------------------------------------------------------------------- when a test failed

    def story(self, namespace: str) -> Iterator[str]:
        """What a person would look at when a test of this namespace failed, line by line; never raises."""
        for part in (self._told_actors, self._told_scaling, self._told_pods, self._told_events):
            try:
                yield from part(namespace)
            except Exception as error:  # the test's own failure is what matters
                yield f"{part.__name__.removeprefix('_told_')}: not to be read: {type(error).__name__} {error}"

    def operator_log(self, namespace: str, *, lines: int = 60) -> Iterator[str]:
        """The end of what an operator of this namespace logged; never raises."""
        try:
            for pod in self.core.list_namespaced_pod(namespace).items:
                yield f"log of {namespace}/{pod.metadata.name}:"
                for container in pod.spec.containers:
                    yield from (f"  | {line}" for line in self.log(namespace, pod.metadata.name, container.name, lines=lines).splitlines())
        except Exception as error:  # the test's own failure is what matters
            yield f"not to be read: {type(error).__name__} {error}"

    def _told_actors(self, namespace: str) -> Iterator[str]:
        for actor in self.actors(namespace):
            yield f"asyncactor {actor['metadata']['name']}: {actor.get('status', {}).get('queue')}"
            yield from _told_conditions(actor)

    def _told_scaling(self, namespace: str) -> Iterator[str]:
        for scaled in (self.get(f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects") or {}).get("items", []):
            yield f"scaledobject {scaled['metadata']['name']}:"
            yield from _told_conditions(scaled)

    def _told_pods(self, namespace: str) -> Iterator[str]:
        for pod in self.core.list_namespaced_pod(namespace).items:
            yield f"pod {pod.metadata.name}: {pod.status.phase}{' (ending)' if pod.metadata.deletion_timestamp else ''}"
            for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
                now, before = _told_state(status.state), _told_state(status.last_state)
                yield f"  {status.name}: {now}; before: {before}; {status.restart_count} restarts, ready: {status.ready}"
            for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
                yield f"  log of {container.name}:"
                yield from (f"  | {line}" for line in self.log(namespace, pod.metadata.name, container.name, lines=15).splitlines())

    def _told_events(self, namespace: str) -> Iterator[str]:
        events = self.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        for each in sorted(events, key=lambda event: str(event["metadata"]["creationTimestamp"]))[-40:]:
            about = each["involvedObject"]
            yield f"event {each.get('type')} {about.get('kind')}/{about.get('name')} {each.get('reason')}: {each.get('message')}"

    def log(self, namespace: str, pod: str, container: str, *, lines: int = 1000) -> str:
        """The end of a container's log; the refusal's text where there is none."""
        try:
            return str(self.core.read_namespaced_pod_log(pod, namespace, container=container, tail_lines=lines))
        except ApiException as refused:
            return f"no log: {refused.reason}"


def _client(kubeconfig: str) -> Any:
    make: Any = config.new_client_from_config
    return make(kubeconfig)


def _told_conditions(thing: Json) -> Iterator[str]:
    for each in thing.get("status", {}).get("conditions", []):
        yield f"  {each['type']}={each['status']} {each.get('reason')}: {each.get('message')}"


def _told_state(state: Any) -> str:
    """Of a container: one word or two."""
    if state is None:
        return "nothing"
    if state.running:
        return f"running since {state.running.started_at:%H:%M:%S}"
    if state.waiting:
        return f"waiting, {state.waiting.reason}: {state.waiting.message}"
    if state.terminated:
        return f"ended with {state.terminated.exit_code}, {state.terminated.reason}: {state.terminated.message}"
    return "nothing"


def _revision(workload: Any) -> str:
    return str((workload.metadata.annotations or {}).get("deployment.kubernetes.io/revision"))


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or []
    return not pod.metadata.deletion_timestamp and any(each.type == "Ready" and each.status == "True" for each in conditions)
