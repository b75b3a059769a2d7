"""The flow as Git has it, on the test cluster: what a person changes of the example, what must be there, its end. For `test_argocd`."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.e2e.conftest import OPERATOR_VALUES
from tests.e2e.gitops_repository import ENVIRONMENT, Repository, applications, states
from tests.e2e.helm import ROOT
from tests.e2e.kube import Kube
from tests.e2e.stage import CLAIM, QUICK, Stage
from tests.e2e.waiting import WAIT, eventually

__all__ = ["NAMESPACE", "SETTLED", "SLOW", "Deployed", "remove", "suit_the_cluster", "tell", "telling"]

NAMESPACE = f"asya-{ENVIRONMENT}"
ARGOCD = "/apis/argoproj.io/v1alpha1/namespaces/argocd"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/asyncactors.asya.sh"
SETTINGS = "/api/v1/namespaces/argocd/configmaps/argocd-cm"
SLOW = "clean-text"
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


@contextlib.contextmanager
def telling(deployed: Deployed) -> Iterator[None]:
    """Print what a person would look at if this fails."""
    try:
        yield
    except AssertionError:
        tell(deployed)
        raise


def tell(deployed: Deployed) -> None:
    """Applications with their messages, then the namespace."""
    for name, item in applications(deployed.kube).items():
        status = item.get("status", {})
        print(name, status.get("sync", {}).get("status"), status.get("health"), status.get("conditions"))
        print("   ", status.get("operationState", {}).get("phase"), status.get("operationState", {}).get("message"))
    print(*deployed.kube.story(NAMESPACE), sep="\n")
