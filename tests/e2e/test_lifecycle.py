"""Releases come, change, go back and go, by pyhelm3 with each Helm; custom resources stay when the operator's release goes."""

import asyncio
from pathlib import Path
from typing import Any

import pyhelm3
import pytest
from pytest_helm_charts.clusters import ExistingCluster
from pytest_helm_charts.k8s.deployment import wait_for_deployments_to_run

from tests.e2e.conftest import SYSTEM, Stages, install_operator
from tests.e2e.helm import CHARTS, Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import END, WAIT, eventually

pytestmark = pytest.mark.timeout(900)

GREETING = "import os\n\ndef process(payload):\n    return {**payload, 'greeting': os.environ['GREETING']}\n"
VALUES: dict[str, Any] = {**QUICK, "handler": "greet.process", "source": {"files": {"greet.py": GREETING}}}


@pytest.mark.point(86)
@pytest.mark.parametrize("helm", ["helm3", "helm4"], indirect=True)
def test_actor_is_upgraded_rolled_back_upgraded_and_uninstalled_by_pyhelm3(crewed: Stage, cluster: ExistingCluster) -> None:
    asyncio.run(_lives(crewed))
    eventually("the actor is gone", lambda: crewed.kube.actor(crewed.namespace, "greet") is None)
    eventually("its pods are gone", lambda: not crewed.kube.pods(crewed.namespace, "greet"), within=END)
    assert crewed.queue("greet") in crewed.broker.queues(crewed.queue("greet")), "the queue is retained"


async def _lives(stage: Stage) -> None:
    client = pyhelm3.Client(executable=str(stage.helm.program), kubeconfig=Path(stage.kube.kubeconfig))
    chart = await client.get_chart(str(CHARTS / "asya-actor"))

    async def is_greeted(word: str) -> None:
        (id_,) = await asyncio.to_thread(stage.publish, "greet", {"who": "you"})
        stored = await asyncio.to_thread(stage.result, id_)
        assert stored["payload"] == {"who": "you", "greeting": word}

    async def change(word: str) -> pyhelm3.ReleaseRevision:
        values = {**VALUES, "env": {"GREETING": word}}
        revision = await client.install_or_upgrade_release("greet", chart, values, namespace=stage.namespace, wait=True)
        await asyncio.to_thread(stage.await_condition, "greet", "Ready", "True")
        await asyncio.to_thread(_await_template, stage, word)
        return revision

    first = await change("hello")
    await is_greeted("hello")
    await change("good day")
    await is_greeted("good day")
    await client._command.rollback("greet", first.revision, namespace=stage.namespace)  # the public call lacks it
    await asyncio.to_thread(_await_template, stage, "hello")
    await is_greeted("hello")
    assert (await change("bye")).revision == first.revision + 3
    await client.uninstall_release("greet", namespace=stage.namespace, wait=True)


def _await_template(stage: Stage, word: str) -> None:
    """Wait until the Deployment runs pods with this greeting only."""

    def is_rolled_out() -> bool:
        template = stage.kube.apps.read_namespaced_deployment("greet", stage.namespace).spec.template
        running = {_greeting(pod.spec) for pod in stage.kube.pods(stage.namespace, "greet")}
        return _greeting(template.spec) == word and running <= {word}

    eventually(f"the pods greet with {word!r}", is_rolled_out)


def _greeting(pod_spec: Any) -> str:
    return next(str(each.value) for container in pod_spec.containers for each in container.env or [] if each.name == "GREETING")


def test_kubectl_prints_the_columns_of_the_documentation(crewed: Stage, cluster: ExistingCluster) -> None:
    crewed.install_source("greet", "greet.process", GREETING)
    crewed.await_condition("greet", "Ready", "True", "Napping")

    def printed() -> list[list[str]]:
        text = cluster.kubectl(f"get asya --namespace {crewed.namespace}", output_format="")
        return [line.split() for line in text.splitlines()]

    assert printed()[0] == ["NAME", "READY", "STATUS", "REPLICAS", "QUEUED", "TRANSPORT", "AGE"]
    eventually("its row", lambda: ["greet", "True", "Napping", "0"] in [row[:4] for row in printed()])


@pytest.mark.point(59)
@pytest.mark.alone
@pytest.mark.behaviour("operator:uninstall")
@pytest.mark.behaviour("operator:new-sidecar")
def test_operator_that_is_uninstalled_leaves_all_and_the_next_brings_a_new_sidecar_under_load(
    stages: Stages, kube: Kube, helms: dict[str, Helm], cluster: ExistingCluster, changed_operator: None
) -> None:
    stage = stages()
    stage.install_crew()
    stage.install_source("busy", "busy.process", RECORDING, scaling={"minReplicas": 2, "maxReplicas": 2}, **STAGE_VOLUME)
    stage.await_pods("busy", 2)
    for name in ("busy", "happy-end", "error-end"):
        stage.await_condition(name, "Ready", "True")  # all is made that belongs to them
    objects = _objects(stage)
    helms["helm4"].run(SYSTEM, "uninstall", "asya-operator", "--wait")
    assert kube.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/asyncactors.asya.sh") is not None
    assert {each["metadata"]["name"] for each in kube.actors(stage.namespace)} == {"busy", "happy-end", "error-end"}
    assert _objects(stage) == objects

    # Without an operator what runs goes on.
    (id_,) = stage.publish("busy", {"n": 0})
    assert stage.result(id_)["payload"] == {"n": 0}

    # Both pods have a call, which does not end before they are replaced; the rest is for whoever is there.
    ids = stage.publish("busy", *({"n": n, "until": "replaced"} for n in (1, 2)))
    eventually("both pods work", lambda: {"1", "2"} <= stage.runs().keys())
    ids += stage.publish("busy", *({"n": n, "seconds": 0.5} for n in range(3, 40)))
    sidecar = {"resources": {"requests": {"cpu": "11m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}}
    install_operator(kube, helms["helm4"], sidecar=sidecar, rollout={"maxConcurrent": 1})
    wait_for_deployments_to_run(cluster.kube_client, ["asya-operator"], SYSTEM, timeout_sec=int(WAIT))
    eventually("all pods but the ending ones have the new sidecar", lambda: _sidecar_requests(stage) == {"11m"})
    assert not stage.stored("results") & set(ids[:2])
    stage.let_go("replaced")
    eventually("all results are stored", lambda: stage.stored("results") >= set(ids))
    assert stage.stored("errors") == set()
    assert stage.run_counts() == {str(n): 1 for n in range(40)}


def _objects(stage: Stage) -> set[tuple[str, str]]:
    """Kind and uid of what was made of the namespace's actors."""
    kinds = ("apps/v1/{}/deployments", "keda.sh/v1alpha1/{}/scaledobjects", "keda.sh/v1alpha1/{}/triggerauthentications")
    paths = [f"/apis/{kind.format(f'namespaces/{stage.namespace}')}" for kind in kinds]
    return {(path, each["metadata"]["uid"]) for path in paths for each in stage.kube.get(path)["items"]}


def _sidecar_requests(stage: Stage) -> set[str]:
    pods = [pod for name in ("busy", "happy-end", "error-end") for pod in stage.kube.pods(stage.namespace, name)]
    staying = [pod for pod in pods if not pod.metadata.deletion_timestamp]
    return {container.resources.requests["cpu"] for pod in staying for container in pod.spec.init_containers}
