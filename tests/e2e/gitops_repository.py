"""The repository of docs/how-to/deploy-from-git.md, made by that page's commands, and what Argo CD tells of it. Used by `test_argocd`."""

import os
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.helm import CHARTS, ROOT
from tests.e2e.kube import Kube

__all__ = ["ENVIRONMENT", "Repository", "applications", "argocd_syncs", "states", "three_commands", "watched"]

ENVIRONMENT = "dev"
APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
METRICS = "http://127.0.0.1:18082/metrics"
REGISTRY = "charts.example.org/asya"
Json = dict[str, Any]


def three_commands() -> list[str]:
    """Those that the page prints, in order."""
    page = (ROOT / "docs" / "how-to" / "deploy-from-git.md").read_text(encoding="utf-8")
    found = re.search(r"^## Three commands\n.*?```sh\n(.*?)```", page, re.M | re.S)
    assert found is not None
    commands = found[1].splitlines()
    assert len(commands) == 3
    return commands


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A clone, its origin beside it, and a checkout of Asya as ``../asya``.

    Attributes:
        folder: the clone.
        programs: a folder with kubectl.
        kubeconfig: names the cluster.
    """

    folder: Path
    programs: Path
    kubeconfig: str

    @property
    def origin(self) -> Path:
        return self.folder.with_name("actors.git")

    @classmethod
    def empty(cls, parent: Path, programs: Path, kubeconfig: str) -> "Repository":
        made = cls(folder=parent / "actors", programs=programs, kubeconfig=kubeconfig)
        made.folder.mkdir()
        (parent / "asya").symlink_to(ROOT)
        made.sh(f"git init --quiet --bare --initial-branch=main {made.origin}")
        made.sh(f"git init --quiet --initial-branch=main && git remote add origin {made.origin.as_uri()}")
        return made

    def sh(self, command: str) -> str:
        """Run a line of shell in the clone, as a person would."""
        person = {
            f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@asya.test"))
        }
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            **person,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "KUBECONFIG": self.kubeconfig,
            "CHARTS": REGISTRY,
        }
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def commit(self, message: str) -> str:
        """Commit and push all changes; gives the commit."""
        self.sh(f"git add --all && git commit --quiet --message '{message}' && git push --quiet origin HEAD:main")
        return self.sh("git rev-parse HEAD").strip()

    def revert(self) -> str:
        """Revert the last commit and push; gives the new one."""
        self.sh("git revert --no-edit HEAD && git push --quiet origin HEAD:main")
        return self.sh("git rev-parse HEAD").strip()

    def actor(self, name: str) -> Path:
        """The values file of an actor."""
        return self.folder / "actors" / ENVIRONMENT / f"{name}.yaml"

    def actors(self) -> list[str]:
        """Names of all actors in Git."""
        return sorted(path.stem for path in self.actor("x").parent.glob("*.yaml"))

    def values(self, name: str) -> Json:
        """What an actor's file says."""
        return dict(yaml.safe_load(self.actor(name).read_text(encoding="utf-8")))

    def change(self, name: str, **values: Any) -> None:
        """Merge `values` into an actor's file; maps merge one level deep."""
        document = self.values(name)
        for key, value in values.items():
            document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
        self.actor(name).write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1000), encoding="utf-8")

    def take_charts_from_git(self) -> None:
        """In place of a registry, which the test cluster has not: the charts as folders of this repository. All else stays."""
        for chart in sorted(CHARTS.iterdir()):
            shutil.copytree(chart, self.folder / "charts" / chart.name)
        for file in (self.folder / "argocd").glob("[0-9]*.yaml"):
            self.rewrite(file, self._with_charts_from_git)

    def _with_charts_from_git(self, item: Json) -> Json:
        spec = item["spec"].get("template", item)["spec"]
        for source in [*spec.get("sources", []), *([spec["source"]] if "source" in spec else [])]:
            if source.get("repoURL") == REGISTRY:
                source |= {"repoURL": self.origin.as_uri(), "targetRevision": "main", "path": f"charts/{source.pop('chart')}"}
        return item

    def rewrite(self, file: Path, change: Callable[[Json], Json | None]) -> None:
        """Put each object of a file through `change`; None leaves it out."""
        found = [change(item) for item in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
        file.write_text(yaml.safe_dump_all([item for item in found if item is not None], sort_keys=False), encoding="utf-8")


# -------------------------------------------------------------------------------------------------------------------- what Argo CD tells


def applications(kube: Kube) -> dict[str, Json]:
    """All Applications by name."""
    return {item["metadata"]["name"]: item for item in (kube.get(APPLICATIONS) or {}).get("items", [])}


def states(kube: Kube) -> dict[str, tuple[str, str, str]]:
    """Of each Application: sync, health, and the last commit that it was compared with."""
    found = {}
    for name, item in applications(kube).items():
        status = item.get("status", {})
        sync, health = status.get("sync", {}), status.get("health", {})
        revisions = sync.get("revisions") or [sync.get("revision", "")]
        found[name] = (sync.get("status", ""), health.get("status", ""), revisions[0])
    return found


def argocd_syncs(kube: Kube) -> dict[str, tuple[int, int, int]]:
    """Of each Application: operations counted by the controller's metric, entries of the history, attempts to heal."""
    with urllib.request.urlopen(METRICS, timeout=30) as answer:
        text = answer.read().decode()
    counted: Counter[str] = Counter()
    for labels, value in re.findall(r"^argocd_app_sync_total\{(.*?)\} (\S+)$", text, re.M):
        counted[dict(re.findall(r'(\w+)="([^"]*)"', labels))["name"]] += int(float(value))
    return {
        name: (
            counted[name],
            len(item.get("status", {}).get("history", [])),
            item.get("status", {}).get("operationState", {}).get("operation", {}).get("sync", {}).get("autoHealAttemptsCount", 0),
        )
        for name, item in applications(kube).items()
    }


class Record:
    """Every state that any Application had, as the API server told of it, one after the other."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def seen(self, name: str = "") -> set[tuple[str, str]]:
        """Sync and health of all Applications, or of one."""
        return {(sync, health) for who, sync, health in self._lines() if name in ("", who)}

    def names(self) -> set[str]:
        return {who for who, _, _ in self._lines()}

    def _lines(self) -> list[list[str]]:
        # The last line may be half written.
        return [line.split("|") for line in self._file.read_text().split("\n")[:-1]]


@contextmanager
def watched(repository: Repository) -> Iterator[Record]:
    """Record every change of an Application meanwhile, by a watch: what is between two looks is not missed."""
    file = repository.folder.with_name("watched")
    path = r'{.metadata.name}|{.status.sync.status}|{.status.health.status}{"\n"}'
    command = [str(repository.programs / "kubectl"), f"--kubeconfig={repository.kubeconfig}", "--namespace=argocd"]
    with file.open("w") as out:
        watch = subprocess.Popen([*command, "get", "applications", "--watch", f"--output=jsonpath={path}"], stdout=out, text=True)
        try:
            yield Record(file)
            assert watch.poll() is None, "the watch ended early"
        finally:
            watch.terminate()
            watch.wait(timeout=30)
