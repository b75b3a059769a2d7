"""A namespace in which a story plays: Pod Security "restricted", the broker's Secret, a claim for results. Used by the stories."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.broker import Broker
from tests.e2e.helm import Helm
from tests.e2e.kube import GROUP, VERSION, Kube
from tests.e2e.waiting import END, WAIT, eventually

__all__ = ["CLAIM", "QUICK", "RECORDING", "STAGE_VOLUME", "Stage"]

QUICK: dict[str, Any] = {
    "scaling": {"pollingInterval": 1, "cooldownPeriod": 5},
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
}
"""Values that keep a story short and let several share two cores; what is under test is never among them."""

CLAIM = "results"

RECORDING = """
import os, time, uuid

def process(payload):
    os.makedirs("/stage/runs", exist_ok=True)
    name = uuid.uuid4().hex
    with open(f"/stage/{name}.draft", "x") as file:
        file.write(os.uname().nodename)
    os.rename(f"/stage/{name}.draft", f"/stage/runs/{payload['n']}.{name}")
    time.sleep(payload.get("seconds", 0))
    while "until" in payload and not os.path.exists("/stage/" + payload["until"]):
        time.sleep(0.05)
    return payload
"""
"""A handler that leaves a whole file with its pod's name whenever it begins, works for ``seconds``, and ``until`` something is let go."""

STAGE_VOLUME: dict[str, Any] = {
    "volumes": {"stage": {"persistentVolumeClaim": {"claimName": CLAIM}}},
    "volumeMounts": {"stage": {"mountPath": "/stage"}},
    "timeout": "6m",
}
"""Values that give a handler the claim, which the tests see as a folder, and time to be held there while a slow machine does the rest."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One namespace.

    Attributes:
        namespace: its name.
        helm: what installs here.
    """

    namespace: str
    kube: Kube
    helm: Helm
    broker: Broker
    _published: list[str] = field(default_factory=list)

    def install_crew(self, **values: Any) -> None:
        """The two end actors, writing to the claim and reporting to no gateway; waits until both have their queues."""
        quick = {"resources": QUICK["resources"], "scaling": {"minReplicas": 1}}
        storage = {"storage": {"directory": {"claimName": CLAIM}}, "happyEnd": quick, "errorEnd": quick, "gateway": {"enabled": False}}
        self.helm.install(self.namespace, "asya-crew", "asya-crew", values={**storage, **values})
        for end in ("happy-end", "error-end"):
            self.await_condition(end, "QueueReady", "True")

    def install_actor(self, name: str, *arguments: str, values: dict[str, Any] | Path | None = None) -> str:
        """One release of asya-actor; waits until its queue is there, so that it can be published to."""
        said = self.helm.install(self.namespace, name, "asya-actor", *arguments, values=values)
        self.await_condition(name, "QueueReady", "True")
        return said

    def install_source(self, name: str, handler: str, source: str, **values: Any) -> None:
        """One actor whose handler is in the values; `values` win over the quick ones."""
        module = handler.split(".", 1)[0]
        base = {**QUICK, "handler": handler, "source": {"files": {f"{module}.py": source}}}
        self.install_actor(name, values=_merged(base, values))

    def apply(
        self, name: str, *, container: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, labels: Any = None, **spec: Any
    ) -> None:
        """An AsyncActor as a manifest, without a chart; waits for nothing. By default the first actor of the documentation, prompt.

        Args:
            container: more keys of the handler's container.
            pod: more keys of the pod.
            labels: of the AsyncActor.
            spec: more keys of the spec.
        """
        env = [{"name": "ASYA_HANDLER", "value": "text_processor.process"}]
        runtime = {"name": "asya-runtime", "image": "my-processor:v1", "env": env, "resources": QUICK["resources"], **(container or {})}
        base = {"scaling": QUICK["scaling"], "workload": {"template": {"spec": {"containers": [runtime], **(pod or {})}}}}
        meta = {"name": name, "labels": labels or {}}
        manifest = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "AsyncActor", "metadata": meta, "spec": _merged(base, spec)}
        self.kube.apply_actor(self.namespace, manifest)

    def await_condition(self, actor: str, kind: str, status: str, reason: str | None = None, *, within: float = WAIT) -> dict[str, str]:
        """Wait for a condition of the wanted generation; gives it."""
        seen: dict[str, str] = {}

        def look() -> dict[str, str] | None:
            nonlocal seen
            seen = self.kube.condition(self.namespace, actor, kind)
            return seen if seen.get("status") == status and reason in (None, seen.get("reason")) else None

        try:
            return eventually(f"{actor}: {kind} {status} {reason or ''}", look, within=within)
        except AssertionError as late:
            raise AssertionError(f"{late}; the condition is {seen}") from None

    def queue(self, actor: str) -> str:
        """Name of an actor's queue."""
        return f"asya-{self.namespace}-{actor}"

    def publish(self, actor: str, *payloads: Any, route: Iterable[str] = ()) -> list[str]:
        """Publish an envelope for each payload to an actor's queue; gives their ids.

        Args:
            route: the actors behind `actor`.
        """
        ids = [f"e2e-{uuid.uuid4().hex}" for _ in payloads]
        envelopes = [
            {"id": id_, "route": {"actors": [actor, *route], "current": 0}, "payload": payload}
            for id_, payload in zip(ids, payloads, strict=True)
        ]
        self.broker.publish(self.queue(actor), envelopes)
        return ids

    def folder(self) -> Path:
        """This machine's folder behind the claim, once a pod has used it."""
        return Path(eventually("the claim for results is bound", lambda: self.kube.volume_folder(self.namespace, CLAIM)))

    def stored(self, kind: str = "results") -> set[str]:
        """Ids of the envelopes that an end actor stored: "results" of happy-end, "errors" of error-end."""
        return {file.stem for file in (self.folder() / kind).glob("*.json")}

    def result(self, id_: str, *, within: float = WAIT) -> dict[str, Any]:
        """Wait until happy-end stored this envelope; gives it."""
        return self._record(id_, "results", within)

    def failure(self, id_: str, *, within: float = WAIT) -> dict[str, Any]:
        """Wait until error-end stored this envelope; gives it."""
        return self._record(id_, "errors", within)

    def _record(self, id_: str, kind: str, within: float) -> dict[str, Any]:
        file = self.folder() / kind / f"{id_}.json"
        eventually(f"{kind}/{id_}.json", file.exists, within=within)
        return dict(json.loads(file.read_text()))

    def let_go(self, name: str) -> None:
        """End the calls of `RECORDING` that wait ``until`` this."""
        (self.folder() / name).touch()

    def runs(self) -> dict[str, list[str]]:
        """The pods in which a handler of `RECORDING` began, by the payload's key ``n``."""
        pods: dict[str, list[str]] = {}
        for file in (self.folder() / "runs").glob("*"):
            pods.setdefault(file.name.split(".", 1)[0], []).append(file.read_text())
        return pods

    def run_counts(self) -> dict[str, int]:
        """How often a handler of `RECORDING` began, by the payload's key ``n``."""
        return {n: len(pods) for n, pods in self.runs().items()}

    def events(self, name: str) -> set[str]:
        """Reasons of the events that the operator told of an actor, so far: it sends them beside its work."""
        events = self.kube.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        about = {"kind": "AsyncActor", "name": name}
        return {each["reason"] for each in events if about.items() <= each["involvedObject"].items()}

    def await_pods(self, actor: str, count: int) -> None:
        """Wait until so many pods of an actor are ready, or none exists for 0."""
        pods = self.kube.ready_pods if count else self.kube.pods
        eventually(f"{actor}: {count} pods", lambda: len(pods(self.namespace, actor)) == count, within=WAIT if count else END)

    def await_one_pod(self, actor: str) -> Any:
        """Wait until an actor has one pod, ready, and none that is ending; gives it."""

        def look() -> Any:
            ready, every = self.kube.ready_pods(self.namespace, actor), self.kube.pods(self.namespace, actor)
            return ready[0] if len(ready) == len(every) == 1 else None

        return eventually(f"{actor}: one pod", look, within=END)

    def await_rollout(self, actor: str) -> None:
        """Wait until the Deployment is what the AsyncActor wants now, and no pod of an older template is left, not even an ending one."""
        eventually(f"{actor}: the newest template alone", lambda: self.kube.runs_alone(self.namespace, actor), within=END)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Maps merge, anything else is replaced, as Helm does it."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
