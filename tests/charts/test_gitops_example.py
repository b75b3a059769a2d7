"""I. examples/gitops: what Argo CD and Flux make of it, offline. With a real Argo CD: tests/e2e/test_argocd.py."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lupa import lua51

from asya_core import __version__
from asya_operator.reasons import REASONS
from tests.charts import yamls
from tests.charts.gitops import (
    CHARTS,
    actor_files,
    applications,
    argocd,
    documents,
    flux,
    kustomize,
    kustomized,
    made_of,
    params_of,
    release_of,
    templated,
)
from tests.charts.helms import ROOT, Refused
from tests.charts.made import crd_schema
from tests.gitops_example import ENVIRONMENTS, GITOPS, WRITTEN, files_below, written_into_a_copy

Json = dict[str, Any]
SETTINGS = documents(GITOPS / "argocd" / "argocd-cm-patch.yaml")[0]["data"]
FILES = actor_files()
CLUSTER_KINDS = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def spoken(path: Path) -> str:
    return str(path.relative_to(GITOPS))


def projects() -> dict[str, Json]:
    return {each["metadata"]["name"]: each["spec"] for each in argocd() if each["kind"] == "AppProject"}


def waves() -> dict[str, int]:
    return {f"{each['kind']}/{each['metadata']['name']}": wave_of(each) for each in argocd()}


def wave_of(item: Json) -> int:
    return int(item["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


# -------------------------------------------------------------------------------------------------------------------- what is committed


@pytest.mark.point(73)
def test_actors_tools_and_releases_of_flux_are_what_compiler_and_script_write(tmp_path: Path) -> None:
    written = written_into_a_copy(tmp_path)
    for folder in WRITTEN:
        assert files_below(written / folder) == files_below(GITOPS / folder), "run make generate"


def test_actors_are_there_for_every_environment_of_the_example() -> None:
    assert {file.parent.name for file in FILES} == set(ENVIRONMENTS)
    assert len(FILES) == 22


def test_nothing_but_values_files_matches_the_greedy_pattern_of_the_git_generator() -> None:
    """Unless told otherwise, Argo CD reads the pattern's stars across folders."""
    (pattern,) = [
        file["path"] for each in argocd() if each["kind"] == "ApplicationSet" for file in each["spec"]["generators"][0]["git"]["files"]
    ]
    assert sorted(GITOPS.glob(pattern)) == sorted(GITOPS.glob(pattern.replace("/*", "/**/*", 1))) == FILES


# ------------------------------------------------------------------------------------------------------------------------------- Argo CD


@pytest.mark.point(73)
@pytest.mark.parametrize("file", FILES, ids=spoken)
def test_values_file_becomes_an_application_and_that_an_asyncactor(file: Path) -> None:
    environment, name = file.parent.name, file.stem
    application = made_of(file)
    assert application["metadata"]["name"] == f"{environment}-{name}"
    assert application["metadata"]["finalizers"] == ["resources-finalizer.argocd.argoproj.io/background"]
    assert application["spec"]["project"] == f"asya-{environment}"
    release = release_of(application)
    assert (release.name, release.namespace, release.chart, release.version) == (name, f"asya-{environment}", "asya-actor", __version__)
    actor = release.rendered().one("AsyncActor")
    assert (actor["metadata"]["name"], actor["metadata"]["namespace"]) == (name, f"asya-{environment}")
    assert actor["metadata"]["labels"]["asya.sh/role"] == application["metadata"]["labels"]["asya.sh/role"]


@pytest.mark.parametrize("application", applications(), ids=lambda each: each["metadata"]["name"])
def test_project_of_an_application_allows_all_that_it_brings_and_waits_for(application: Json) -> None:
    spec, project = application["spec"], projects()[application["spec"]["project"]]
    destinations = [{key: each[key] for key in ("server", "namespace")} for each in project["destinations"]]
    assert {key: spec["destination"][key] for key in ("server", "namespace")} in destinations
    assert {each["repoURL"] for each in spec.get("sources") or [spec["source"]]} <= set(project["sourceRepos"])
    brought = {("" if "/" not in each["apiVersion"] else each["apiVersion"].split("/")[0], each["kind"]) for each in rendered(application)}
    if "CreateNamespace=true" in spec["syncPolicy"]["syncOptions"]:
        brought.add(("", "Namespace"))
    cluster = {kind for kind in brought if kind[1] in CLUSTER_KINDS}
    assert cluster <= kinds(project["clusterResourceWhitelist"])
    if "namespaceResourceWhitelist" in project:
        assert brought - cluster <= kinds(project["namespaceResourceWhitelist"])


def rendered(application: Json) -> tuple[Json, ...]:
    return release_of(application).rendered().objects


def kinds(listed: list[Json]) -> set[tuple[str, str]]:
    return {(each["group"], each["kind"]) for each in listed}


def test_project_of_actors_allows_what_their_chart_can_bring_and_no_cluster_kind() -> None:
    templates = {path.stem for path in (ROOT / "charts" / "asya-actor" / "templates").glob("*.yaml")} - {"extra-objects"}
    assert templates == {"asyncactor", "configmap-source", "pdb", "podmonitor"}
    for name in ("asya-dev", "asya-prod"):
        assert projects()[name]["clusterResourceWhitelist"] == []
        allowed = kinds(projects()[name]["namespaceResourceWhitelist"])
        assert allowed == {
            ("asya.sh", "AsyncActor"),
            ("", "ConfigMap"),
            ("policy", "PodDisruptionBudget"),
            ("monitoring.coreos.com", "PodMonitor"),
        }


def test_applications_come_in_the_order_operator_environment_actors() -> None:
    found = waves()
    order = [
        max(wave for name, wave in found.items() if name.startswith("AppProject/")),
        found["Application/asya-operator"],
        *(found[f"Application/{environment}-{chart}"] for environment in ENVIRONMENTS for chart in ("asya-crew", "asya-gateway")),
        found["ApplicationSet/asya-actors"],
    ]
    assert order == [-20, -10, -5, -5, -5, -5, 0]
    assert "resource.customizations.health.argoproj.io_Application" in SETTINGS, "without it no wave waits for another"


@pytest.mark.parametrize("application", applications(), ids=lambda each: each["metadata"]["name"])
def test_application_prunes_heals_and_tries_again(application: Json) -> None:
    policy = application["spec"]["syncPolicy"]
    assert policy["automated"] == {"prune": True, "selfHeal": True}
    assert "ServerSideApply=true" in policy["syncOptions"]
    assert policy["retry"]["limit"] == -1
    assert policy["retry"]["refresh"] is True, "else it would try the commit that failed for ever, and never see the one that corrects it"
    assert "ignoreDifferences" not in application["spec"]


def test_all_versions_are_the_project_s() -> None:
    assert {release_of(each).version for each in applications()} == {__version__}


def test_values_file_may_choose_the_chart_s_version_and_say_no_more_than_a_handler() -> None:
    (application_set,) = [each for each in argocd() if each["kind"] == "ApplicationSet"]
    path = params_of(FILES[0])["path"]
    plain, pinned = templated(application_set, [{"handler": "a.b", "path": path}, {"deploy": {"chartVersion": "9.9.9"}, "path": path}])
    assert plain["spec"]["sources"][0]["targetRevision"] == __version__
    assert plain["metadata"]["labels"]["asya.sh/role"] == "handler"
    assert pinned["spec"]["sources"][0]["targetRevision"] == "9.9.9"


def test_template_that_asks_for_what_no_file_has_is_refused() -> None:
    with pytest.raises(Refused):
        templated({"spec": {"template": {"name": "{{ .missing.key }}"}}}, [{"path": {}}])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_gateway_of_an_environment_offers_the_flow_whose_actors_are_there(environment: str) -> None:
    (application,) = [each for each in applications() if each["metadata"]["name"] == f"{environment}-asya-gateway"]
    tools = documents(GITOPS / "tools" / environment / "text_analysis_flow.yaml")[0]
    assert GITOPS / "tools" / environment / "text_analysis_flow.yaml" in release_of(application).values
    actors = {node["actor"] for flow in tools["flows"].values() for node in flow["graph"]["nodes"]}
    assert actors == {file.stem for file in actor_files(environment)}


# ------------------------------------------------------------------------------------------------------------------------------ settings


@pytest.fixture(scope="module")
def health() -> Callable[[Json], tuple[str, str]]:
    """Argo CD's health of an AsyncActor: status and message, by the Lua of its settings."""
    return checker("resource.customizations.health.asya.sh_AsyncActor")


def checker(setting: str) -> Callable[[Json], tuple[str, str]]:
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    check = lua.eval(f"function(obj)\n{SETTINGS[setting]}\nend")

    def ask(item: Json) -> tuple[str, str]:
        said = check(lua.table_from(item, recursive=True))
        return said.status, said.message

    return ask


def actor(*conditions: tuple[str, str, str], seen: int = 3, **metadata: Any) -> Json:
    """An AsyncActor of generation 3 with conditions (type, status, reason)."""
    listed = [{"type": kind, "status": status, "reason": reason, "message": f"about {reason}"} for kind, status, reason in conditions]
    return {"metadata": {"generation": 3, **metadata}, "status": {"observedGeneration": seen, "conditions": listed}}


@pytest.mark.point(74)
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"metadata": {"generation": 1}}, ("Progressing", "waiting for the operator")),
        (actor(), ("Progressing", "waiting for the operator")),
        (actor(("Ready", "True", "Napping"), seen=2), ("Progressing", "waiting for the operator")),
        (actor(("Ready", "True", "Running")), ("Healthy", "Running: about Running")),
        (actor(("Ready", "True", "Napping")), ("Healthy", "Napping: about Napping")),
        (actor(("Ready", "True", "Waking")), ("Healthy", "Waking: about Waking")),
        (actor(("Ready", "True", "Paused")), ("Suspended", "Paused: about Paused")),
        (actor(("Ready", "False", "RollingOut")), ("Progressing", "RollingOut: about RollingOut")),
        (
            actor(("Ready", "False", "HandlerInvalid"), ("Stalled", "True", "HandlerInvalid")),
            ("Degraded", "HandlerInvalid: about HandlerInvalid"),
        ),
        (actor(("Ready", "True", "Napping"), deletionTimestamp="2026-01-01T00:00:00Z"), ("Progressing", "being deleted")),
        (actor(("Ready", "True", "Draining"), deletionTimestamp="2026-01-01T00:00:00Z"), ("Progressing", "Draining: about Draining")),
        ({"metadata": {"generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"}}, ("Progressing", "being deleted")),
    ],
    ids=[
        "new",
        "empty",
        "stale",
        "healthy",
        "sleeping",
        "waking",
        "paused",
        "rolling out",
        "degraded",
        "deleting",
        "draining",
        "deleted at once",
    ],
)
def test_health_of_an_actor_tells_what_the_operator_told(
    health: Callable[[Json], tuple[str, str]], item: Json, expected: tuple[str, str]
) -> None:
    assert health(item) == expected


@pytest.mark.point(74)
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_health_knows_every_reason_of_the_operator(health: Callable[[Json], tuple[str, str]], reason: Any) -> None:
    conditions = [("Ready", "True" if reason.is_true else "False", reason.name)]
    expected = "Suspended" if reason.name == "Paused" else "Healthy" if reason.is_true else "Degraded" if reason.stalls else "Progressing"
    stalled = [("Stalled", "True", reason.name)] if reason.stalls else []
    assert health(actor(*conditions, *stalled))[0] == expected
    if reason.stalls == "patient":
        assert health(actor(*conditions))[0] == "Progressing", "not yet"


@pytest.mark.point(74)
def test_health_of_an_application_is_what_argocd_found() -> None:
    ask = checker("resource.customizations.health.argoproj.io_Application")
    assert ask({"status": {"health": {"status": "Degraded", "message": "why"}}}) == ("Degraded", "why")
    assert ask({"status": {"health": {"status": "Healthy"}}}) == ("Healthy", "")
    assert ask({"metadata": {}}) == ("Progressing", "")


def test_what_moves_with_messages_and_refreshes_nothing_is_in_the_status() -> None:
    ignored = yamls.read(SETTINGS["resource.customizations.ignoreResourceUpdates.asya.sh_AsyncActor"])["jsonPointers"]
    in_status = {pointer.removeprefix("/status/") for pointer in ignored if pointer.startswith("/status/")}
    assert in_status == {"queue", "replicas"}
    assert in_status <= set(crd_schema()["properties"]["status"]["properties"])
    assert set(ignored) - {f"/status/{name}" for name in in_status} == {"/metadata/resourceVersion"}


# ---------------------------------------------------------------------------------------------------------------------------------- Flux


needs_kustomize = pytest.mark.skipif(kustomize() is None and not os.environ.get("CI"), reason="kustomize is missing: run ci/kustomize.sh")


@needs_kustomize
@pytest.mark.point(73)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_flux_installs_the_same_releases_as_argocd(environment: str) -> None:
    by_argocd = [release_of(each) for each in applications() if each["spec"]["destination"]["namespace"] == f"asya-{environment}"]
    by_flux = {release.name: release for release in flux(environment)}
    assert set(by_flux) == {release.name for release in by_argocd}
    for release in by_argocd:
        other = by_flux[release.name]
        assert (other.namespace, other.chart, other.version) == (release.namespace, release.chart, release.version)
        assert other.rendered().objects == release.rendered().objects, release.name


@needs_kustomize
def test_releases_of_flux_wait_for_releases_that_are_there() -> None:
    found = [each for folder in ("platform", *ENVIRONMENTS) for each in kustomized(folder) if each["kind"] == "HelmRelease"]
    there = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found}
    waited = {(one["namespace"], one["name"]) for each in found for one in each["spec"].get("dependsOn", [])}
    assert waited == {("asya-system", "asya-operator"), ("asya-dev", "asya-crew"), ("asya-prod", "asya-crew")}
    assert waited <= there


@needs_kustomize
def test_operator_of_flux_is_that_of_argocd() -> None:
    (release,) = [each for each in kustomized("platform") if each["kind"] == "HelmRelease"]
    (application,) = [each for each in argocd() if each["metadata"]["name"] == "asya-operator"]
    assert release["spec"]["values"] == application["spec"]["source"]["helm"]["valuesObject"]


def test_flux_reads_every_folder_of_the_example() -> None:
    found = documents(GITOPS / "flux" / "flux.yaml")
    paths = {each["spec"]["path"].removeprefix("./") for each in found if each["kind"] == "Kustomization"}
    assert paths == {str(file.parent.relative_to(GITOPS)) for file in (GITOPS / "flux").rglob("kustomization.yaml")}


def test_one_address_each_stands_for_charts_and_repository() -> None:
    """So that one replacement is enough to make the example one's own."""
    texts = "".join(path.read_text() for folder in ("argocd", "flux") for path in sorted((GITOPS / folder).rglob("*.yaml")))
    assert {word for word in texts.replace(",", " ").replace("]", " ").split() if "example.com" in word} == {
        CHARTS,
        f"[{CHARTS}",
        "https://git.example.com/team/actors.git",
        *(f"oci://{CHARTS}/asya-{name}" for name in ("operator", "crew", "gateway", "actor")),
    }


def test_steps_that_the_page_shows_take_in_every_role_of_a_flow() -> None:
    page = (GITOPS / "argocd" / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(strategy:.*?)```", page, re.S)
    steps = yamls.read(block)["strategy"]["rollingSync"]["steps"]
    roles = [role for step in steps for expression in step["matchExpressions"] for role in expression["values"]]
    assert sorted(roles) == ["end", "fan-in", "handler", "router", "start"]
    assert {documents(file)[0]["labels"]["asya.sh/role"] for file in FILES} <= set(roles)
