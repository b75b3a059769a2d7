"""What Argo CD does, without Argo CD: render, apply as its field manager, compare. Scaling must never look like a difference to Git."""

import subprocess

import pytest
from pytest_helm_charts.clusters import ExistingCluster

from tests.e2e.helm import CHARTS
from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(900)

VALUES = (
    ("image.repository", "my-processor"),
    ("image.tag", "v1"),
    ("handler", "text_processor.process"),
    ("scaling.pollingInterval", "1"),
    ("scaling.cooldownPeriod", "5"),
    ("resources.requests.cpu", "10m"),
)


@pytest.mark.point(75)
def test_cluster_and_git_agree_at_no_pod_at_some_and_at_none_again(crewed: Stage, cluster: ExistingCluster) -> None:
    settings = [word for key, value in VALUES for word in ("--set", f"{key}={value}")]
    rendered = crewed.helm.run(crewed.namespace, "template", "work", str(CHARTS / "asya-actor"), *settings)
    assert kubectl(crewed, "apply", rendered) == 0
    crewed.await_condition("work", "Ready", "True", "Napping")
    assert kubectl(crewed, "diff", rendered) == 0

    ids = crewed.publish("work", *({"text": "a"} for _ in range(20)))
    crewed.await_pods("work", 1)
    assert kubectl(crewed, "diff", rendered) == 0
    for id_ in ids:
        crewed.result(id_)
    crewed.await_pods("work", 0)
    crewed.await_condition("work", "Ready", "True", "Napping")
    assert kubectl(crewed, "diff", rendered) == 0
    actor = crewed.kube.actor(crewed.namespace, "work")
    assert actor is not None
    assert actor["metadata"]["generation"] == 1, "nobody wrote into what Git owns"


def kubectl(stage: Stage, verb: str, manifests: str) -> int:
    """Exit code: of diff, 1 is a difference."""
    as_argocd = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename=-")
    command = ["kubectl", f"--kubeconfig={stage.kube.kubeconfig}", f"--namespace={stage.namespace}", verb, *as_argocd]
    done = subprocess.run(command, input=manifests, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    print(done.stdout, done.stderr)
    return done.returncode
