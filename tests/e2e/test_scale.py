"""KEDA scales an actor with its queue, and nothing is lost or run twice on the way, up or down."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.stage import RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import WAIT, eventually

pytestmark = pytest.mark.timeout(900)

ENDING = RECORDING.replace("return payload", "open('/stage/ended', 'x').close()\n    return payload")
"""Leaves a file at its end, too."""

PROMPT = {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]}}
"""The autoscaler shrinks at once, so that a story need not wait for its usual five minutes."""


@pytest.mark.behaviour("operator:scale-out")
def test_two_hundred_messages_of_a_second_use_four_pods_and_all_results_are_stored(crewed: Stage) -> None:
    crewed.install_source("work", "work.process", RECORDING, scaling={"maxReplicas": 4, "queueLength": 5}, **STAGE_VOLUME)
    ids = crewed.publish("work", *({"n": n, "seconds": 1, "until": "four"} for n in range(200)))
    crewed.await_pods("work", 4)
    eventually("all four work", lambda: len({pod for pods in crewed.runs().values() for pod in pods}) == 4)
    crewed.let_go("four")
    eventually("all results are stored", lambda: crewed.stored("results") >= set(ids), within=2 * WAIT)
    assert crewed.stored("results") == set(ids)
    assert crewed.stored("errors") == set()
    assert crewed.run_counts() == {str(n): 1 for n in range(200)}
    crewed.await_pods("work", 0)


@pytest.mark.behaviour("operator:scale-in")
def test_last_message_that_outlasts_cooldown_and_grace_is_run_once_by_the_pod_that_began_it(crewed: Stage) -> None:
    # Kubernetes' usual 30 s of grace; a pod's own is its actor's timeout and 30 s, which no call outlasts.
    cooldown, grace = 3, 30
    crewed.install_source("slow", "slow.process", ENDING, scaling={"cooldownPeriod": cooldown}, **STAGE_VOLUME)
    (id_,) = crewed.publish("slow", {"n": 1, "seconds": cooldown + grace + 3})
    (began,) = eventually("the call has begun", lambda: crewed.runs().get("1"))
    ended = crewed.folder() / "ended"

    def has_ended() -> bool:
        staying = {pod.metadata.name for pod in crewed.kube.pods(crewed.namespace, "slow") if not pod.metadata.deletion_timestamp}
        # Looked for after the pods: a pod whose call has ended may go.
        is_over = ended.exists()
        assert is_over or began in staying, "the pod was taken from its work"
        return is_over

    eventually("the call has ended", has_ended)
    assert crewed.result(id_)["payload"]["n"] == 1
    assert crewed.run_counts() == {"1": 1}
    crewed.await_pods("slow", 0)


@pytest.mark.behaviour("operator:scale-in")
def test_pod_that_the_autoscaler_removes_finishes_its_call_first(crewed: Stage) -> None:
    scaling = {"maxReplicas": 4, "queueLength": 1, "behavior": PROMPT}
    crewed.install_source("mixed", "mixed.process", RECORDING, scaling=scaling, **STAGE_VOLUME)
    (long,) = crewed.publish("mixed", {"n": 3, "until": "taken"})
    short = crewed.publish("mixed", *({"n": n, "until": "busy"} for n in range(3)))
    eventually("all four run", lambda: len(crewed.runs()) == 4)
    (busy,) = crewed.runs()["3"]
    # Of four pods the autoscaler takes three; this one is the first to go, unless others are not ready yet.
    crewed.await_pods("mixed", 4)
    first_to_go = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000"}}}
    crewed.kube.core.patch_namespaced_pod(busy, crewed.namespace, first_to_go)
    crewed.let_go("busy")

    def is_ending() -> bool:
        return any(pod.metadata.name == busy and pod.metadata.deletion_timestamp for pod in crewed.kube.pods(crewed.namespace, "mixed"))

    eventually("the pod that works is taken", is_ending)
    assert long not in crewed.stored("results")
    crewed.let_go("taken")
    assert crewed.result(long)["payload"]["n"] == 3
    eventually("the short ones are stored", lambda: crewed.stored("results") >= set(short))
    assert crewed.stored("results") == {*short, long}
    assert crewed.run_counts() == {str(n): 1 for n in range(4)}


LOAD = 120
IN_IMAGE = "import text_processor\n" + RECORDING.replace("return payload", "return text_processor.process(payload)")
"""Records as `RECORDING` does, then lets the image's own handler work, so that a result tells which image made it."""


@pytest.mark.behaviour("operator:rolling-update")
def test_new_image_and_a_drained_node_under_load_lose_nothing_and_run_nothing_twice(crewed: Stage) -> None:
    image = {"repository": "my-processor", "tag": "v1"}
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    crewed.install_source("busy", "record.process", IN_IMAGE, image=image, scaling=scaling, **STAGE_VOLUME)
    crewed.await_pods("busy", 2)
    # Both pods have a call, which does not end before they are replaced; the rest is for whoever is there.
    ids = crewed.publish("busy", *({"n": n, "text": "a", "until": "replaced"} for n in range(2)))
    eventually("both pods work", lambda: crewed.runs().keys() == {"0", "1"})
    ids += crewed.publish("busy", *({"n": n, "text": "a", "seconds": 0.5} for n in range(2, LOAD)))

    (drained,) = crewed.runs()["0"]
    crewed.kube.evict(crewed.namespace, drained)
    crewed.helm.upgrade(crewed.namespace, "busy", "asya-actor", "--reuse-values", "--set", "image.tag=v2")
    eventually("all pods but the ending ones have the new image", lambda: _images(crewed) == {"my-processor:v2"})
    assert not crewed.stored("results") & set(ids[:2])
    crewed.let_go("replaced")
    eventually("all results are stored", lambda: crewed.stored("results") >= set(ids))
    assert crewed.stored("errors") == set()
    assert crewed.run_counts() == {str(n): 1 for n in range(LOAD)}

    crewed.await_rollout("busy")
    crewed.await_condition("busy", "WorkloadReady", "True", "Available")
    images = {pod.spec.containers[0].image for pod in crewed.kube.pods(crewed.namespace, "busy")}
    assert images == {"my-processor:v2"}
    (last,) = crewed.publish("busy", {"n": LOAD, "text": "a"})
    assert crewed.result(last)["payload"]["version"] == 2


def _images(stage: Stage) -> set[str]:
    pods = [pod for pod in stage.kube.pods(stage.namespace, "busy") if not pod.metadata.deletion_timestamp]
    return {pod.spec.containers[0].image for pod in pods}


def _kill(uid: str) -> None:
    """End all processes of a pod, which are this machine's: the kubelet itself would leave it time, as much as its own grace."""
    names = (uid, uid.replace("-", "_"))
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            groups = (folder / "cgroup").read_text()
            if any(name in groups for name in names):
                os.kill(int(folder.name), signal.SIGKILL)


@pytest.mark.behaviour("operator:rolling-update")
def test_pods_that_a_node_kills_without_grace_lose_nothing(crewed: Stage) -> None:
    scaling = {"minReplicas": 2, "maxReplicas": 2}
    crewed.install_source("frail", "frail.process", RECORDING, scaling=scaling, **STAGE_VOLUME)
    crewed.await_pods("frail", 2)
    ids = crewed.publish("frail", *({"n": n, "until": "killed"} for n in range(2)), *({"n": n} for n in range(2, 20)))
    eventually("both pods work", lambda: crewed.runs().keys() == {"0", "1"})
    for pod in crewed.kube.pods(crewed.namespace, "frail"):
        crewed.kube.delete_pod(crewed.namespace, pod.metadata.name, grace_seconds=0)
        _kill(pod.metadata.uid)
    # What a killed pod had in work is delivered again, and only that: one call each.
    eventually("both run again", lambda: all(len(crewed.runs()[n]) == 2 for n in ("0", "1")))
    crewed.let_go("killed")
    eventually("all results are stored", lambda: crewed.stored("results") >= set(ids))
    assert crewed.stored("errors") == set()
    assert crewed.run_counts() == {str(n): 2 if n < 2 else 1 for n in range(20)}
