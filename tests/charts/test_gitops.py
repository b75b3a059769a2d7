"""I. What GitOps needs of a chart: the same bytes each time, from both Helms, with nothing that depends on a cluster or a clock."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helms import told
from tests.charts.render import CHARTS, KUBE, MINIMAL, RELEASES, ci_files, fullest, render

NAMES = tuple(RELEASES)
SET_UPS = [(chart, path) for chart in NAMES for path in ci_files(chart)]


def spoken(part: Any) -> str:
    return part if isinstance(part, str) else part.stem


@pytest.mark.point(69)
@pytest.mark.parametrize("chart", NAMES)
def test_ten_renders_give_the_same_bytes(chart: str, engine: str) -> None:
    file = fullest(chart)
    command = ["template", "x", str(CHARTS / chart), "--namespace", "demo", "--kube-version", KUBE, "--values", str(file)]
    assert len({told(engine, *command, turn=turn).out for turn in range(10)}) == 1


@pytest.mark.point(69)
@pytest.mark.parametrize(("chart", "file"), SET_UPS, ids=spoken)
def test_both_helms_give_the_same_bytes(chart: str, file: Path) -> None:
    """But for the blank line that Helm 4 leaves between two objects of one template."""
    texts = [render(chart, [file], engine=engine).text.replace("\n\n---\n", "\n---\n").rstrip("\n") for engine in ("helm3", "helm4")]
    assert texts[0] == texts[1]


@pytest.mark.point(70)
@pytest.mark.parametrize("chart", NAMES)
def test_templates_ask_neither_cluster_nor_clock_nor_chance(chart: str) -> None:
    forbidden = re.compile(
        r"\b(lookup|rand(Alpha|Numeric|AlphaNum|Ascii|Int|Bytes)|shuffle|gen(CA|Signed|SelfSigned|PrivateKey)\w*|uuidv4|now|date\w*|ago"
        r"|htpasswd|bcrypt|getHostByName|IsInstall|IsUpgrade|Revision)\b"
    )
    for path in (CHARTS / chart / "templates").rglob("*.*"):
        for action in re.findall(r"\{\{.*?\}\}", path.read_text(), re.S):
            assert not forbidden.search(re.sub(r'"[^"]*"|/\*.*?\*/', "", action, flags=re.S)), f"{path.name}: {action}"


@pytest.mark.point(71)
@pytest.mark.parametrize(("chart", "file"), SET_UPS, ids=spoken)
def test_the_only_hooks_are_tests_with_a_delete_policy(chart: str, file: Path) -> None:
    for item in render(chart, [file]).objects:
        hooks = {name: value for name, value in item["metadata"].get("annotations", {}).items() if name.startswith("helm.sh/hook")}
        if hooks:
            assert hooks == {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation"}


@pytest.mark.point(71)
@pytest.mark.parametrize("chart", ["asya-operator", "asya-gateway"])
def test_the_test_pod_can_be_switched_off(chart: str, engine: str) -> None:
    assert render(chart, [MINIMAL[chart], {"tests": {"enabled": False}}], engine=engine).of("Pod") == []


@pytest.mark.point(72)
@pytest.mark.parametrize("chart", NAMES)
def test_a_render_is_what_an_installation_would_apply(chart: str) -> None:
    file = ci_files(chart)[0]
    done = told("helm4", "install", RELEASES[chart], str(CHARTS / chart), "--namespace", "demo", "--dry-run=client", "--values", str(file))
    manifest = done.out.partition("\nMANIFEST:\n")[2].partition("\nNOTES:\n")[0]
    applied = [document for document in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if document]
    rendered = [item for item in render(chart, [file]).objects if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    assert applied == rendered


@pytest.mark.point(76)
def test_wave_and_sync_options_of_an_actor_can_be_set(engine: str) -> None:
    document = {"annotations": {"argocd.argoproj.io/sync-wave": "5", "argocd.argoproj.io/sync-options": None}}
    annotations = render("asya-actor", [MINIMAL["asya-actor"], document], engine=engine).one("AsyncActor")["metadata"]["annotations"]
    assert annotations == {"argocd.argoproj.io/sync-wave": "5"}
    default = render("asya-actor", MINIMAL["asya-actor"], engine=engine).one("AsyncActor")["metadata"]["annotations"]
    assert default == {"argocd.argoproj.io/sync-options": "SkipDryRunOnMissingResource=true"}
