"""A real Argo CD deploys the text-analysis flow from Git, by the three commands of docs/how-to/deploy-from-git.md and commits alone.

The repository is examples/gitops as it is, but for what the cluster has not: a registry (the charts come from the same repository) and the
environment prod. The operator of the other stories makes room for the one that Argo CD installs, and comes back afterwards.
ASYA_E2E_ARGOCD_MINUTES: how long the load lasts at least; one round, from no pod to several and back, is always made.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.e2e.broker import Broker
from tests.e2e.conftest import FAILED, OPERATOR_VALUES, SYSTEM, broker_secret, install_operator
from tests.e2e.gitops_repository import ENVIRONMENT, Repository, applications, argocd_syncs, states, three_commands, watched
from tests.e2e.helm import ROOT, Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, QUICK, Stage
from tests.e2e.waiting import WAIT, eventually

MINUTES = float(os.environ.get("ASYA_E2E_ARGOCD_MINUTES", "0"))
pytestmark = [pytest.mark.timeout(900 + 60 * MINUTES), pytest.mark.alone]

NAMESPACE = f"asya-{ENVIRONMENT}"
ARGOCD = "/apis/argoproj.io/v1alpha1/namespaces/argocd"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/asyncactors.asya.sh"
SETTINGS = "/api/v1/namespaces/argocd/configmaps/argocd-cm"
START, SLOW = "start-text-analysis-flow", "clean-text"
BURST = 60
FLOWS = ROOT / "examples" / "flows"
ENGLISH = json.loads((FLOWS / "inputs" / "text_analysis_flow.json").read_text())
SETTLED = ("Synced", "Healthy")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The flow as Git has it, in its namespace."""

    repository: Repository
    stage: Stage

    @property
    def kube(self) -> Kube:
        return self.stage.kube

    def wanted(self) -> set[str]:
        """Names of the Applications that must be there."""
        platform = {"asya", "asya-operator", f"{ENVIRONMENT}-asya-crew", f"{ENVIRONMENT}-asya-gateway"}
        return platform | {f"{ENVIRONMENT}-{actor}" for actor in self.repository.actors()}

    def unsettled(self) -> dict[str, tuple[str, str, str]]:
        """Applications that are not Synced and Healthy, are missing or too many."""
        found, wanted = states(self.kube), self.wanted()
        nothing = ("", "", "")
        return {
            name: found.get(name, nothing) for name in wanted | set(found) if name not in wanted or found.get(name, nothing)[:2] != SETTLED
        }

    def await_settled(self, revision: str = "", *, within: float = WAIT) -> None:
        """Wait until Git has what runs: all Applications Synced and Healthy, at this commit where it is given."""
        seen: dict[str, tuple[str, str, str]] = {}

        def look() -> bool:
            nonlocal seen
            seen = self.unsettled()
            seen = seen or {name: each for name, each in states(self.kube).items() if revision not in ("", each[2])}
            return not seen

        try:
            eventually("all Applications are Synced and Healthy", look, within=within)
        except AssertionError as late:
            raise AssertionError(f"{late}: {seen}") from None

    def pods(self) -> int:
        """Of all actors of the flow."""
        return sum(len(self.kube.pods(NAMESPACE, actor)) for actor in self.repository.actors())


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
        try:
            made.await_settled()
        except AssertionError:
            tell(made)
            raise
        yield made
    finally:
        remove(kube)
        install_operator(kube, helms["helm4"])
        broker.delete_queues(f"asya-{NAMESPACE}-")


def suit_the_cluster(repository: Repository) -> None:
    """What a person would change between the first command and the second: addresses, and values that suit two cores."""
    repository.take_charts_from_git()
    argocd = repository.folder / "argocd"
    repository.sh("rm -r actors/prod tools/prod")
    repository.rewrite(argocd / "10-operator.yaml", of_the_other_stories)
    repository.rewrite(argocd / "20-namespace.yaml", for_the_environment)
    repository.rewrite(argocd / "30-actors.yaml", looked_at_often)
    for actor in repository.actors():
        repository.change(actor, **QUICK)
    files = repository.values(SLOW)["source"]["files"]
    (module,) = files
    head = "def clean_text(p: dict) -> dict:\n"
    assert head in files[module]
    # Slow enough for several pods, as a model would be.
    code = files[module].replace(head, f"{head}    __import__('time').sleep(0.4)\n")
    repository.change(SLOW, source={"files": {module: code}})
    repository.change(SLOW, scaling={"maxReplicas": 3, "queueLength": 2})


def of_the_other_stories(application: dict[str, Any]) -> dict[str, Any]:
    application["spec"]["source"]["helm"]["valuesObject"] = OPERATOR_VALUES
    return application


def for_the_environment(application: dict[str, Any]) -> dict[str, Any] | None:
    spec = application["spec"]
    if spec["destination"]["namespace"] != NAMESPACE:
        return None
    source = spec.get("source") or spec["sources"][0]
    values = source["helm"]["valuesObject"]
    if "rabbitmq" in values:
        values |= {"rabbitmq": {"host": "rabbitmq.infra.svc"}, "auth": {"mode": "none", "allowAnonymous": True}}
        values["results"] = {"directory": {"claimName": CLAIM}}
    else:
        awake = {"resources": QUICK["resources"], "scaling": {"minReplicas": 1}}
        values |= {"storage": {"directory": {"claimName": CLAIM}}, "happyEnd": awake, "errorEnd": awake}
    return application


def looked_at_often(application_set: dict[str, Any]) -> dict[str, Any]:
    application_set["spec"]["generators"][0]["git"]["requeueAfterSeconds"] = 3
    return application_set


def remove(kube: Kube) -> None:
    """All that the commands made. The operator goes as Argo CD removes it; the rest without waiting for anybody's finalizer."""
    kube.delete(f"{ARGOCD}/applications/asya")
    kube.delete(f"{ARGOCD}/applicationsets/asya-actors")
    for name in applications(kube):
        own = ["resources-finalizer.argocd.argoproj.io"] if name == "asya-operator" else None
        with contextlib.suppress(AssertionError):  # gone in the meantime
            kube.merge(f"{ARGOCD}/applications/{name}", {"metadata": {"finalizers": own}})
        kube.delete(f"{ARGOCD}/applications/{name}")
    eventually("Argo CD has removed the operator", lambda: not applications(kube))
    for project in ("platform", "dev", "prod"):
        kube.delete(f"{ARGOCD}/appprojects/asya-{project}")
    patch = yaml.safe_load((ROOT / "examples" / "gitops" / "argocd" / "argocd-cm-patch.yaml").read_text())
    kube.merge(SETTINGS, {"data": dict.fromkeys(patch["data"])})
    disown(kube)
    kube.delete(f"/api/v1/namespaces/{NAMESPACE}")


def disown(kube: Kube) -> None:
    """The resource definition stays, but is Helm's again alone: what Argo CD has applied would be in the way of another version."""
    definition = kube.get(DEFINITION)
    others = [each for each in definition["metadata"]["managedFields"] if each["manager"] != "argocd-controller"]
    kube.merge(DEFINITION, {"metadata": {"managedFields": others, "annotations": {"argocd.argoproj.io/tracking-id": None}}})


def tell(deployed: Deployed) -> None:
    """What a person would look at."""
    for name, item in applications(deployed.kube).items():
        status = item.get("status", {})
        print(name, status.get("sync", {}).get("status"), status.get("health"), status.get("conditions"))
        print("   ", status.get("operationState", {}).get("phase"), status.get("operationState", {}).get("message"))
    print(*deployed.kube.story(NAMESPACE), sep="\n")


@pytest.fixture(autouse=True)
def told_when_failed(request: pytest.FixtureRequest, deployed: Deployed) -> Iterator[None]:
    yield
    if request.node.stash.get(FAILED, False):
        tell(deployed)


# ------------------------------------------------------------------------------------------------------------------------------- stories


def test_flow_deployed_by_three_commands_gives_its_result(deployed: Deployed) -> None:
    (id_,) = deployed.stage.publish(START, ENGLISH)
    expected = json.loads((FLOWS / "expected" / "text_analysis_flow.json").read_text())
    assert deployed.stage.result(id_)["payload"] == expected
    namespace = deployed.kube.get(f"/api/v1/namespaces/{NAMESPACE}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.point(75)
@pytest.mark.behaviour("gitops:quiet")
def test_applications_stay_synced_and_healthy_at_no_pod_one_several_and_none_and_argocd_does_nothing(deployed: Deployed) -> None:
    stage, kube = deployed.stage, deployed.kube
    eventually("all actors sleep", lambda: deployed.pods() == 0)
    deployed.await_settled()
    before, began, rounds, sent, most = argocd_syncs(kube), time.monotonic(), 0, 0, 0
    with watched(deployed.repository) as record:
        eventually("the watch has begun", lambda: record.names() == deployed.wanted())
        while not rounds or time.monotonic() < began + 60 * MINUTES:
            assert deployed.unsettled() == {}, "at no pod"
            (one,) = stage.publish(START, ENGLISH)
            stage.await_pods(SLOW, 1)
            assert deployed.unsettled() == {}, "at one pod"
            stage.result(one)
            many = stage.publish(START, *([ENGLISH] * BURST))
            eventually("several pods work", lambda: len(kube.ready_pods(NAMESPACE, SLOW)) > 1)
            most = max(most, len(kube.ready_pods(NAMESPACE, SLOW)))
            assert deployed.unsettled() == {}, "at several pods"
            eventually("all have ended", lambda ids=set(many): ids <= stage.stored("results"))  # type: ignore[misc]
            eventually("all actors sleep again", lambda: deployed.pods() == 0)
            assert deployed.unsettled() == {}, "at no pod again"
            rounds, sent = rounds + 1, sent + BURST + 1
        lasted = time.monotonic() - began
    print(f"argocd: {rounds} rounds in {lasted:.0f} s, {sent} messages, up to {most} pods of one actor, {len(before)} Applications")
    assert record.seen() == {SETTLED}
    assert argocd_syncs(kube) == before
    assert stage.stored("errors") == set()


def test_change_by_hand_is_seen_out_of_sync_and_undone(deployed: Deployed) -> None:
    """The measurement above would notice."""
    kube, name = deployed.kube, f"{ENVIRONMENT}-tokenize"
    actor = kube.actor(NAMESPACE, "tokenize")
    assert actor is not None
    wanted, before = actor["spec"]["timeout"], argocd_syncs(kube)
    with watched(deployed.repository) as record:
        kube.change_actor(NAMESPACE, "tokenize", {"spec": {"timeout": "7m"}})
        eventually("it is undone", lambda: (kube.actor(NAMESPACE, "tokenize") or {})["spec"]["timeout"] == wanted)
        eventually("it was seen", lambda: any(sync == "OutOfSync" for sync, _ in record.seen(name)))
    eventually("it was counted", lambda: argocd_syncs(kube)[name][0] == before[name][0] + 1)
    deployed.await_settled()


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
    eventually(f"{name} tells", lambda: look(applications(deployed.kube)[name]["status"]))
    return dict(applications(deployed.kube)[name]["status"])


def message(status: dict[str, Any]) -> str:
    """What Argo CD's page says of the AsyncActor."""
    (found,) = [each for each in status["resources"] if each["kind"] == "AsyncActor"]
    return str(found["health"]["message"])


def test_values_that_the_chart_refuses_change_nothing_and_are_told_in_its_words(mistakes: Deployed) -> None:
    before = mistakes.kube.actor(NAMESPACE, REFUSED)
    status = application(mistakes, REFUSED, lambda status: "ComparisonError" in {each["type"] for each in status.get("conditions", [])})
    (told,) = [each["message"] for each in status["conditions"] if each["type"] == "ComparisonError"]
    assert "timeout" in told
    assert status["sync"]["status"] == "Unknown"
    after = mistakes.kube.actor(NAMESPACE, REFUSED)
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.behaviour("gitops:told")
def test_actor_that_needs_a_person_is_degraded_with_the_operator_s_sentence(mistakes: Deployed) -> None:
    status = application(mistakes, STALLED, lambda status: status["health"]["status"] == "Degraded")
    sentence = mistakes.stage.await_condition(STALLED, "Ready", "False", "PodTemplateRefused")["message"]
    assert "runAsUser 0 is root" in sentence
    assert message(status) == f"PodTemplateRefused: {sentence}"
    assert status["sync"]["status"] == "Synced"


@pytest.mark.behaviour("gitops:told")
def test_paused_actor_is_suspended(mistakes: Deployed) -> None:
    status = application(mistakes, PAUSED, lambda status: status["health"]["status"] == "Suspended")
    assert message(status).startswith("Paused: ")
    assert status["sync"]["status"] == "Synced"


def test_new_file_is_a_new_actor_and_a_removed_one_takes_it_away_but_not_its_queue(deployed: Deployed) -> None:
    repository, stage, kube = deployed.repository, deployed.stage, deployed.kube
    new = {"image": {"repository": "my-processor", "tag": "v1"}, "handler": "text_processor.process", **QUICK}
    repository.actor("text-processor").write_text(yaml.safe_dump(new))
    repository.commit("One actor more")
    deployed.await_settled()
    (id_,) = stage.publish("text-processor", {"text": "hello"})
    assert stage.result(id_)["payload"]["processed"] == "HELLO"
    deployed.await_settled(repository.revert())
    assert kube.actor(NAMESPACE, "text-processor") is None
    assert stage.broker.queues(stage.queue("text-processor")) == [stage.queue("text-processor")]
