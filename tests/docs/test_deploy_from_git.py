"""docs/how-to/deploy-from-git.md: its three commands work as printed on an empty repository. The third and what follows: tests/e2e."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gitops"
PAGE = (ROOT / "docs" / "how-to" / "deploy-from-git.md").read_text(encoding="utf-8")
THREE = re.search(r"^## Three commands\n.*?```sh\n(.*?)```", PAGE, re.M | re.S)[1].splitlines()
CHARTS = "charts.example.org/asya"


@pytest.fixture
def repository(tmp_path):
    """An empty clone with a checkout of this repository beside it, as the page supposes; gives the clone and its origin."""
    origin, clone = tmp_path / "actors.git", tmp_path / "actors"
    for command in (f"git init --quiet --bare --initial-branch=main {origin}", f"git clone --quiet {origin.as_uri()} {clone}"):
        subprocess.run(command.split(), check=True, capture_output=True)
    (tmp_path / "asya").symlink_to(ROOT)
    return clone, origin


def run(command, repository):
    clone, _ = repository
    author = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"))}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(clone.parent), "CHARTS": CHARTS, **author}
    done = subprocess.run(["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_three_commands():
    assert [command.split()[0] for command in THREE] == ["cp", "git", "kubectl"]


def test_first_two_commands_fill_the_repository_with_its_own_address(repository):
    clone, origin = repository
    for command in THREE[:2]:
        run(command, repository)
    listed = run("git ls-tree -r --name-only origin/main", repository).splitlines()
    wanted = {path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*") if path.is_file()}
    assert set(listed) == wanted
    texts = {name: (clone / name).read_text() for name in listed if name.endswith(".yaml")}
    assert [name for name, text in texts.items() if "git.example.com" in text or "registry.example.com/charts" in text] == []
    root = yaml.safe_load(texts["argocd/app-of-apps.yaml"])["spec"]["source"]
    assert (root["repoURL"], root["targetRevision"]) == (origin.as_uri(), "main")
    assert f"oci://{CHARTS}/asya-actor" in texts["flux/platform/charts.yaml"]


def test_third_command_and_that_of_flux_name_files_of_the_example():
    named = re.findall(r" -f (\S+?\.yaml)", THREE[2]) + re.findall(r"`kubectl apply -f (\S+)`", PAGE)
    assert named == ["argocd/argocd-cm-patch.yaml", "argocd/app-of-apps.yaml", "flux/flux.yaml"]
    assert all((EXAMPLE / name).is_file() for name in named)
