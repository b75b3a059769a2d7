"""A real Argo CD deploys the text-analysis flow from Git, by the three commands of docs/how-to/deploy-from-git.md and commits alone.

The repository is examples/gitops as it is, but for what the cluster has not: a registry (the charts come from the same repository) and the
environment prod. The operator of the other stories makes room for the one that Argo CD installs, and comes back afterwards.
ASYA_E2E_ARGOCD_MINUTES: how long the load lasts at least; one round, from no pod to several and back, is always made.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import yaml

from tests.e2e.broker import Broker
from tests.e2e.caller import run_asya
from tests.e2e.conftest import FAILED, SYSTEM, broker_secret, install_operator
from tests.e2e.gitops_repository import ENVIRONMENT, Repository, applications, argocd_syncs, three_commands, watched
from tests.e2e.gitops_stage import NAMESPACE, SETTLED, SLOW, Deployed, remove, suit_the_cluster, tell, telling
from tests.e2e.helm import ROOT, Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, QUICK, Stage
from tests.e2e.waiting import END, eventually

MINUTES = float(os.environ.get("ASYA_E2E_ARGOCD_MINUTES", "0"))
pytestmark = [pytest.mark.timeout(900 + 60 * MINUTES), pytest.mark.alone, pytest.mark.gitops]

START = "start-text-analysis-flow"
BURST = 40
FAILURES = 100
HASTY, CORRECT, MISTAKEN = "extract-entities", 'enumerate([*p["tokens"], ""])', 'enumerate([*p["words"], ""])'
FLOWS = ROOT / "examples" / "flows"
ENGLISH = json.loads((FLOWS / "inputs" / "text_analysis_flow.json").read_text())


@pytest.fixture(scope="module")
def argocd(kube: Kube) -> None:
    """Argo CD runs."""
    if kube.get("/apis/argoproj.io/v1alpha1") is None:
        missing = "Argo CD does not run: make cluster-up WITH=argocd"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def deployed(
    argocd: None,
    operator: str,
    kube: Kube,
    helms: dict[str, Helm],
    broker: Broker,
    cluster_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    """The page's three commands on an empty repository; all that they made is removed at the end."""
    eventually("the namespace of an earlier run is gone", lambda: kube.get(f"/api/v1/namespaces/{NAMESPACE}") is None)
    programs = tmp_path_factory.mktemp("programs")
    (programs / "kubectl").symlink_to(f"{cluster_environment['PATH'].split(':', 1)[0]}/kubectl")
    repository = Repository.empty(tmp_path_factory.mktemp("git"), programs, kube.kubeconfig)
    made = Deployed(repository=repository, stage=Stage(namespace=NAMESPACE, kube=kube, helm=helms["helm4"], broker=broker))
    kube.core.create_namespace({"metadata": {"name": NAMESPACE}})
    kube.core.create_namespaced_secret(NAMESPACE, broker_secret())
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    kube.core.create_namespaced_persistent_volume_claim(NAMESPACE, {"metadata": {"name": CLAIM}, "spec": claim})
    try:
        fill, commit, apply = three_commands()
        repository.sh(fill)
        suit_the_cluster(repository)
        repository.sh(commit)
        helms["helm4"].run(SYSTEM, "uninstall", "asya-operator", "--wait")
        repository.sh(apply)
        with telling(made):
            made.await_settled()
        yield made
    finally:
        remove(kube)
        install_operator(kube, helms["helm4"])
        broker.delete_queues(f"asya-{NAMESPACE}-")


@pytest.fixture(autouse=True)
def told_when_failed(request: pytest.FixtureRequest, deployed: Deployed) -> Iterator[None]:
    yield
    if request.node.stash.get(FAILED, False):
        tell(deployed)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What was seen while messages came: rounds from no pod to several and back.

    Attributes:
        first: results of each round's first message.
        seen: every pair of sync and health that any Application had.
        before, after: what Argo CD had done of each Application.
    """

    first: list[dict[str, Any]]
    seen: set[tuple[str, str]]
    before: dict[str, tuple[int, int, int]]
    after: dict[str, tuple[int, int, int]]


@pytest.fixture(scope="module")
def load(deployed: Deployed) -> Load:
    """At least one round: all actors sleep, one pod, several, all sleep; at each, Git and cluster are looked at."""
    stage, kube = deployed.stage, deployed.kube
    eventually("all actors sleep", lambda: deployed.pods() == 0, within=END)
    deployed.await_settled()
    before, began, most, sent = argocd_syncs(kube), time.monotonic(), 0, 0
    first: list[dict[str, Any]] = []
    with telling(deployed), watched(deployed.repository) as record:
        eventually("the watch has begun", lambda: record.names() == deployed.wanted())
        while not first or time.monotonic() < began + 60 * MINUTES:
            assert deployed.unsettled() == {}, "at no pod"
            ids = stage.publish(START, ENGLISH)
            stage.await_pods(SLOW, 1)
            assert deployed.unsettled() == {}, "at one pod"
            ids += stage.publish(START, *([ENGLISH] * BURST))
            eventually("several pods work", partial(several_work, stage, ids))
            assert deployed.unsettled() == {}, "at several pods"
            most = max(most, len(kube.ready_pods(NAMESPACE, SLOW)))
            first.append(stage.result(ids[0])["payload"])
            for id_ in ids:
                stage.result(id_)
            eventually("all actors sleep again", lambda: deployed.pods() == 0, within=END)
            assert deployed.unsettled() == {}, "at no pod again"
            sent += len(ids)
        lasted = time.monotonic() - began
    print(f"argocd: {len(first)} rounds in {lasted:.0f} s, {sent} messages, up to {most} pods of one actor, {len(before)} Applications")
    return Load(first=first, seen=record.seen(), before=before, after=argocd_syncs(kube))


def several_work(stage: Stage, ids: list[str]) -> bool:
    """Whether there are several pods of the slow actor. There is work for them until they are there, however long they take to start."""
    if len(stage.kube.ready_pods(NAMESPACE, SLOW)) > 1:
        return True
    if stage.broker.waiting(stage.queue(SLOW)) + stage.broker.waiting(stage.queue(START)) < BURST // 4:
        ids += stage.publish(START, *([ENGLISH] * (BURST // 4)))
    return False


# ------------------------------------------------------------------------------------------------------------------------------- stories


def test_flow_deployed_by_three_commands_gives_its_result(load: Load, deployed: Deployed) -> None:
    expected = json.loads((FLOWS / "expected" / "text_analysis_flow.json").read_text())
    assert all(payload == expected for payload in load.first)
    assert deployed.stage.stored("errors") == set()
    namespace = deployed.kube.get(f"/api/v1/namespaces/{NAMESPACE}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.point(75)
@pytest.mark.behaviour("gitops:quiet")
def test_every_application_was_synced_and_healthy_at_every_number_of_pods(load: Load) -> None:
    assert load.seen == {SETTLED}


@pytest.mark.behaviour("gitops:quiet")
def test_argocd_synced_and_healed_nothing_while_actors_scaled(load: Load) -> None:
    assert load.after == load.before


def test_change_by_hand_is_seen_out_of_sync_and_undone(deployed: Deployed) -> None:
    """The measurement above would notice."""
    kube, name = deployed.kube, f"{ENVIRONMENT}-tokenize"
    actor = kube.actor(NAMESPACE, "tokenize")
    assert actor is not None
    wanted, before = actor["spec"]["timeout"], argocd_syncs(kube)
    with watched(deployed.repository) as record:
        eventually("the watch has begun", lambda: name in record.names())
        kube.change_actor(NAMESPACE, "tokenize", {"spec": {"timeout": "7m"}})
        eventually("it is undone", lambda: (kube.actor(NAMESPACE, "tokenize") or actor)["spec"]["timeout"] == wanted)
        eventually("it was seen", lambda: any(sync == "OutOfSync" for sync, _ in record.seen(name)))
    eventually("it was counted", lambda: argocd_syncs(kube)[name][0] > before[name][0])
    deployed.await_settled()


def test_new_file_is_a_new_actor_and_a_removed_one_takes_it_away_but_not_its_queue(deployed: Deployed) -> None:
    repository, stage, kube = deployed.repository, deployed.stage, deployed.kube
    new = {"image": {"repository": "my-processor", "tag": "v1"}, "handler": "text_processor.process", **QUICK}
    # What is on its way to a removed actor is awaited in test_drain.
    repository.actor("text-processor").write_text(yaml.safe_dump({**new, "annotations": {"asya.sh/skip-drain": "true"}}))
    repository.commit("One actor more")
    deployed.await_settled()
    stage.await_condition("text-processor", "QueueReady", "True")
    deployed.await_settled(repository.revert())
    eventually("the actor is gone", lambda: kube.actor(NAMESPACE, "text-processor") is None)
    assert stage.broker.queues(stage.queue("text-processor")) == [stage.queue("text-processor")]


@pytest.mark.behaviour("gitops:replayed")
def test_hundred_envelopes_failed_by_a_commit_succeed_after_the_next_one_from_the_failed_actor_on(
    deployed: Deployed, cluster_environment: dict[str, str]
) -> None:
    repository, stage = deployed.repository, deployed.stage
    ((module, code),) = repository.values(HASTY)["source"]["files"].items()
    assert CORRECT in code
    repository.change(HASTY, source={"files": {module: code.replace(CORRECT, MISTAKEN)}})
    deployed.await_settled(repository.commit("Call tokens words"))
    stage.await_rollout(HASTY)
    ids = stage.publish(START, *([ENGLISH] * FAILURES))
    eventually("all have failed", lambda: set(ids) <= stage.stored("errors"))

    deployed.await_settled(repository.revert())
    stage.await_rollout(HASTY)
    storage = ["--storage", f"file://{stage.folder()}"]
    broker = ["--broker-url", cluster_environment["ASYA_CLUSTER_RABBITMQ_URL"], "--namespace", NAMESPACE]
    words = ["dlq", "replay", *storage, *broker, "--error", "KeyError", "--rate", "20/s", "--yes", "--output", "json"]
    stage.await_pods(START, 0)
    asleep = times_scaled(deployed, START)
    done = run_asya(*words, kubeconfig=deployed.kube.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    new = {each["id"]: each["new_id"] for each in json.loads(done.stdout)["replayed"]}
    assert set(new) == set(ids)
    expected = json.loads((FLOWS / "expected" / "text_analysis_flow.json").read_text())
    for id_ in new.values():
        assert stage.result(id_)["payload"] == expected
    assert stage.stored("errors").isdisjoint(new.values())
    assert times_scaled(deployed, START) == asleep, "the first actor never woke up"


def times_scaled(deployed: Deployed, actor: str) -> int:
    """A number that grows whenever an actor's Deployment is changed, also by a scaler."""
    return int(deployed.kube.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{actor}")["metadata"]["generation"])


REFUSED, STALLED, PAUSED = "tokenize", "extract-entities", "spanish-sentiment"


@pytest.fixture(scope="module")
def mistakes(deployed: Deployed) -> Iterator[Deployed]:
    """One commit that breaks two files and pauses an actor; reverted at the end."""
    repository = deployed.repository
    repository.change(REFUSED, timeout="soon")
    repository.change(STALLED, podSecurityContext={"runAsUser": 0})
    repository.change(PAUSED, scaling={"paused": True})
    repository.commit("Two mistakes and a pause")
    yield deployed
    deployed.await_settled(repository.revert())


def application(deployed: Deployed, actor: str, look: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait until an actor's Application looks so; gives its status."""
    name = f"{ENVIRONMENT}-{actor}"
    seen: dict[str, Any] = {}

    def status() -> dict[str, Any] | None:
        nonlocal seen
        seen = applications(deployed.kube).get(name, {}).get("status", {})
        return seen if seen and look(seen) else None

    try:
        return eventually(f"{name} tells", status)
    except AssertionError as late:
        raise AssertionError(f"{late}; its status is {seen}") from None


def told(status: dict[str, Any]) -> tuple[str, str, str]:
    """Sync and health of an Application, and what Argo CD's page says of its AsyncActor."""
    messages = [each.get("health", {}).get("message", "") for each in status.get("resources", []) if each["kind"] == "AsyncActor"]
    return status["sync"]["status"], status["health"]["status"], " ".join(messages)


def comparison(status: dict[str, Any]) -> str:
    """Why Argo CD could not compare."""
    return " ".join(each["message"] for each in status.get("conditions", []) if each["type"] == "ComparisonError")


def test_values_that_the_chart_refuses_change_nothing_and_are_told_in_its_words(mistakes: Deployed) -> None:
    before = mistakes.kube.actor(NAMESPACE, REFUSED)
    status = application(mistakes, REFUSED, lambda status: comparison(status) and status["sync"]["status"] == "Unknown")
    assert "timeout" in comparison(status)
    after = mistakes.kube.actor(NAMESPACE, REFUSED)
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.behaviour("gitops:told")
def test_actor_that_needs_a_person_is_degraded_with_the_operator_s_sentence(mistakes: Deployed) -> None:
    sentence = mistakes.stage.await_condition(STALLED, "Ready", "False", "PodTemplateRefused")["message"]
    assert "runAsUser 0 is root" in sentence
    application(mistakes, STALLED, lambda status: told(status) == ("Synced", "Degraded", f"PodTemplateRefused: {sentence}"))


@pytest.mark.behaviour("gitops:told")
def test_paused_actor_is_suspended(mistakes: Deployed) -> None:
    status = application(mistakes, PAUSED, lambda status: told(status)[:2] == ("Synced", "Suspended"))
    assert told(status)[2].startswith("Paused: ")
