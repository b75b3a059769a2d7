"""What Argo CD does, without Argo CD: render, apply as its field manager, compare. Scaling must never look like a difference to Git."""

import json
import subprocess
from typing import Any

import pytest
import yaml
from pytest_helm_charts.clusters import ExistingCluster

from tests.e2e.helm import CHARTS
from tests.e2e.stage import QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

VALUES: dict[str, Any] = {**QUICK, **STAGE_VOLUME, "handler": "work.process", "source": {"files": {"work.py": RECORDING}}}


@pytest.mark.point(75)
def test_cluster_and_git_agree_at_no_pod_at_some_and_at_none_again(crewed: Stage, cluster: ExistingCluster) -> None:
    chart = str(CHARTS / "asya-actor")
    rendered = crewed.helm.run(crewed.namespace, "template", "work", chart, "--values=-", text=yaml.safe_dump(VALUES))
    applied(crewed, rendered)
    crewed.await_condition("work", "Ready", "True", "Napping")
    assert_same(crewed, rendered)

    ids = crewed.publish("work", *({"n": n, "until": "compared"} for n in range(20)))
    eventually("several pods work", lambda: len(crewed.kube.ready_pods(crewed.namespace, "work")) > 1)
    assert_same(crewed, rendered)
    crewed.let_go("compared")
    for id_ in ids:
        crewed.result(id_)
    crewed.await_pods("work", 0)
    crewed.await_condition("work", "Ready", "True", "Napping")
    assert_same(crewed, rendered)
    assert live(crewed)["metadata"]["generation"] == 1, "nobody wrote into what Git owns"


def assert_same(stage: Stage, manifest: str) -> None:
    """Were Git applied now, nothing would change. The status is left out, as Argo CD does: it moves between the two reads."""
    assert owned(applied(stage, manifest, "--dry-run=server")) == owned(live(stage))


def owned(actor: dict[str, Any]) -> dict[str, Any]:
    """What Git may own of it, and the generation, which any change of the specification raises."""
    metadata = {key: actor["metadata"].get(key) for key in ("name", "labels", "annotations", "finalizers", "ownerReferences", "generation")}
    return {"metadata": metadata, "spec": actor["spec"]}


def live(stage: Stage) -> dict[str, Any]:
    actor = stage.kube.actor(stage.namespace, "work")
    assert actor is not None
    return actor


def applied(stage: Stage, manifest: str, *options: str) -> dict[str, Any]:
    """The AsyncActor in the answer to an apply as Argo CD's field manager."""
    as_argocd = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename=-", "--output=json", *options)
    command = ["kubectl", f"--kubeconfig={stage.kube.kubeconfig}", f"--namespace={stage.namespace}", "apply", *as_argocd]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (actor,) = [each for each in json.loads(done.stdout)["items"] if each["kind"] == "AsyncActor"]
    return dict(actor)
