#!/usr/bin/env python3
"""Watch Argo CD run what is in Git, KEDA at its side. Needs `up --with argocd` and the shell of `cluster.py env`."""

import json
import shutil
import string
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from prove_scaling import PUBLISH, measure, rabbitmq

SOURCE = Path(__file__).resolve().parent / "manifests" / "gitops-proof"
NAMESPACE = "gitops-proof"
ACTORS = {"first", "second"}
HEALTH_CHECK = "resource.customizations.health.keda.sh_TriggerAuthentication"


def main() -> None:
    remove()
    began = time.monotonic()
    for actor in ACTORS:
        rabbitmq("PUT", queue(actor), {"durable": True})
        rabbitmq("DELETE", f"{queue(actor)}/contents")
    set_health_check((SOURCE / "health.lua").read_text())
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        create(repository)
        prove(repository)
        remove()
    set_health_check(None)
    for actor in ACTORS:
        rabbitmq("DELETE", queue(actor))
    print(f"{'all of it':<28} {time.monotonic() - began:5.1f} s", flush=True)


def prove(repository: Path) -> None:
    manifest = string.Template((SOURCE / "application-set.yaml").read_text()).substitute(repository=repository.as_uri())
    kubectl("apply", "--filename=-", text=manifest, namespace="argocd")
    measure("an Application for each file", lambda: set(applications()) == ACTORS)
    measure("Synced and Healthy", lambda: all(is_settled(actor) for actor in ACTORS))
    measure("KEDA: no replica left", lambda: wanted() == 0)

    head = commit(repository, "first", "maxReplicas: 3")
    measure("commit: in the cluster", lambda: most_replicas() == 3)
    measure("        Synced and Healthy", lambda: synced_revision("first") == head and is_settled("first"))

    kubectl("patch", "scaledobject", "first", "--type=merge", '--patch={"spec": {"maxReplicaCount": 9}}')
    measure("drift: undone", lambda: most_replicas() == 3)
    measure("       Synced and Healthy", lambda: is_settled("first"))

    prove_scaling()

    commit(repository, "second", "approved: false")
    measure("health in Lua: Progressing", lambda: states("second") == ("Synced", "Progressing"))
    commit(repository, "second", "approved: true")
    measure("               Healthy", lambda: is_settled("second"))

    (repository / "actors/dev/second.yaml").unlink()
    git(repository, "commit", "--all", "--message=without second")
    measure("file removed: no Application", lambda: "second" not in applications())
    left = kubectl("get", "deployment,scaledobject,triggerauthentication,hpa", "--output=name")
    assert "first" in left, f"gone: {left}"
    assert "second" not in left, f"left behind: {left}"
    assert is_settled("first")


def prove_scaling() -> None:
    """Argo CD must see no difference to Git while KEDA scales, and must not sync."""
    syncs = applications()["first"]["status"]["history"]
    message = {"routing_key": "gitops-proof-first", "payload": "work", "payload_encoding": "string", "properties": {}}
    for _ in range(40):
        rabbitmq("POST", PUBLISH, message)
    measure("KEDA: 0 -> 3 wanted", lambda: stays_synced() and wanted() == 3)
    measure("      3 running", lambda: stays_synced() and running() == 3)
    measure("      3 -> 0 wanted", lambda: stays_synced() and wanted() == 0)
    assert applications()["first"]["status"]["history"] == syncs, "scaling must not cause a sync"


def stays_synced() -> bool:
    sync, health = states("first")
    assert sync == "Synced", f"scaling must not make the Application {sync}"
    return health in ("Healthy", "Progressing")


def is_settled(name: str) -> bool:
    return states(name) == ("Synced", "Healthy")


def states(name: str) -> tuple[str, str]:
    """Of one Application: whether the cluster is what Git says, and whether it works."""
    status = applications()[name].get("status", {})
    return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")


def synced_revision(name: str) -> str:
    return str(applications()[name]["status"]["sync"]["revision"])


def applications() -> dict[str, Any]:
    query = ["get", "applications", "--selector=proof=gitops-proof", "--output=json"]
    return {item["metadata"]["name"]: item for item in json.loads(kubectl(*query, namespace="argocd"))["items"]}


def wanted() -> int:
    return int(kubectl("get", "deployment", "first", "--output=jsonpath={.spec.replicas}"))


def running() -> int:
    return int(kubectl("get", "deployment", "first", "--output=jsonpath={.status.readyReplicas}") or 0)


def most_replicas() -> int:
    return int(kubectl("get", "scaledobject", "first", "--output=jsonpath={.spec.maxReplicaCount}"))


def queue(actor: str) -> str:
    return f"/api/queues/%2F/gitops-proof-{actor}"


def create(repository: Path) -> None:
    shutil.copytree(SOURCE / "repository", repository)
    git(repository, "init", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--message=two actors")


def commit(repository: Path, actor: str, values: str) -> str:
    """Returns the commit's hash."""
    (repository / "actors/dev" / f"{actor}.yaml").write_text(f"{values}\n")
    git(repository, "commit", "--all", f"--message={actor}: {values}")
    return git(repository, "rev-parse", "HEAD").strip()


def git(repository: Path, *arguments: str) -> str:
    author = ["-c", "user.name=proof", "-c", "user.email=proof@asya.test"]
    command = ["git", *author, *arguments]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout


def set_health_check(lua: str | None) -> None:
    patch = json.dumps({"data": {HEALTH_CHECK: lua}})
    kubectl("patch", "configmap", "argocd-cm", "--type=merge", f"--patch={patch}", namespace="argocd")


def remove() -> None:
    kubectl("delete", "applicationset", NAMESPACE, "--ignore-not-found", namespace="argocd")
    measure("no Application left", lambda: not applications())
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def kubectl(*arguments: str, namespace: str = NAMESPACE, text: str | None = None) -> str:
    command = ["kubectl", f"--namespace={namespace}", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


if __name__ == "__main__":
    main()
