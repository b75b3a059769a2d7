"""What Argo CD and Flux make of examples/gitops, without either: each gives for an actor's file the release that would be installed.

Called by `test_gitops_example`. Argo CD's template engine for ApplicationSets is played by a throw-away chart on Helm 4, which has the same
functions; Helm 3.10's `tpl` gives `dig` a type that it refuses.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.charts import yamls
from tests.charts.helms import ROOT, run
from tests.charts.render import KUBE, Rendered, render
from tests.gitops_example import GITOPS

__all__ = ["Release", "actor_files", "applications", "argocd", "flux", "kustomize", "kustomized", "made_of", "release_of", "templated"]

Json = dict[str, Any]
CHARTS = "registry.example.com/charts"
TEMPLATE = """{{- range .Values.params }}
---
{{ tpl (toYaml $.Values.template) (merge (dict "Template" $.Template) (deepCopy .)) }}
{{- end }}
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What either tool tells Helm to install.

    Attributes:
        values: in Helm's order, a later one over an earlier one.
    """

    name: str
    namespace: str
    chart: str
    version: str
    values: tuple[Path | Mapping[str, Any], ...]

    def rendered(self) -> Rendered:
        """What Helm 4 makes of it."""
        return render(self.chart, list(self.values), release=self.name, namespace=self.namespace)


def actor_files(environment: str = "*") -> list[Path]:
    return sorted((GITOPS / "actors").glob(f"{environment}/*.yaml"))


def documents(*paths: Path) -> list[Json]:
    return [document for path in paths for document in yamls.read_all(path.read_text(encoding="utf-8")) if document]


# ------------------------------------------------------------------------------------------------------------------------------- Argo CD


@cache
def argocd() -> tuple[Json, ...]:
    """The objects that the app of apps applies."""
    (root,) = documents(GITOPS / "argocd" / "app-of-apps.yaml")
    source = root["spec"]["source"]
    return tuple(documents(*sorted((GITOPS / source["path"]).glob(source["directory"]["include"]))))


def params_of(file: Path) -> Json:
    """What the Git generator gives a template for a file: its content, and `path`."""
    folder = file.parent.relative_to(GITOPS)
    path = {"path": str(folder), "basename": folder.name, "filename": file.name, "segments": list(folder.parts)}
    return {**documents(file)[0], "path": path}


def templated(application_set: Json, params: list[Json]) -> list[Json]:
    """The Applications that the ApplicationSet controller makes of its template. Raises Refused as that would."""
    with tempfile.TemporaryDirectory() as scratch:
        chart = Path(scratch) / "appset"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: appset\nversion: 0.1.0\n")
        (chart / "templates" / "applications.yaml").write_text(TEMPLATE)
        (chart / "values.yaml").write_text(json.dumps({"template": application_set["spec"]["template"], "params": params}))
        told = run("helm4", "template", "appset", str(chart), "--kube-version", KUBE)
    return [document for document in yamls.read_all(told.out) if document]


@cache
def applications() -> tuple[Json, ...]:
    """All Applications: those written down, and those of the ApplicationSet for each of its files."""
    found = [each for each in argocd() if each["kind"] == "Application"]
    for application_set in argocd():
        if application_set["kind"] == "ApplicationSet":
            (generator,) = application_set["spec"]["generators"]
            files = sorted({file for each in generator["git"]["files"] for file in GITOPS.glob(each["path"])})
            found += templated(application_set, [params_of(file) for file in files])
    return tuple(found)


def made_of(file: Path) -> Json:
    """The Application that reads this file."""
    (found,) = [each for each in applications() if file in release_of(each).values]
    return found


def release_of(application: Json) -> Release:
    """What an Application installs; its references to values in Git are followed."""
    spec = application["spec"]
    sources = spec.get("sources") or [spec["source"]]
    (chart,) = [each for each in sources if "chart" in each]
    assert chart["repoURL"] == CHARTS
    (refs,) = [{each["ref"]: each for each in sources if "ref" in each}]
    files = []
    for name in chart["helm"].get("valueFiles", []):
        ref, _, path = name.removeprefix("$").partition("/")
        assert name.startswith("$"), name
        assert ref in refs, name
        files.append(GITOPS / path)
    inline = [chart["helm"]["valuesObject"]] if "valuesObject" in chart["helm"] else []
    return Release(
        name=chart["helm"]["releaseName"],
        namespace=spec["destination"]["namespace"],
        chart=chart["chart"],
        version=chart["targetRevision"],
        values=(*files, *inline),
    )


# ---------------------------------------------------------------------------------------------------------------------------------- Flux


def kustomize() -> Path | None:
    """The program of ci/kustomize.sh; None if that has not run for the present version."""
    module = ROOT / "ci" / "cluster" / "go" / "kustomize"
    key = hashlib.sha256(b"".join((module / name).read_bytes() for name in ("go.mod", "go.sum"))).hexdigest()[:16]
    cache_folder = Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya")
    found = cache_folder / "tools" / f"kustomize-{key}" / "kustomize"
    return found if found.exists() else None


@cache
def kustomized(folder: str) -> tuple[Json, ...]:
    """What Flux applies of a folder below flux/. Flux, too, lets a folder read all of the repository."""
    program = kustomize()
    assert program is not None, "run ci/kustomize.sh"
    build = [program, "build", "--load-restrictor=LoadRestrictionsNone", GITOPS / "flux" / folder]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yamls.read_all(done.stdout) if document)


def flux(environment: str) -> Iterator[Release]:
    """The releases of an environment; their references to ConfigMaps and charts are followed."""
    platform = {each["metadata"]["name"]: each for each in kustomized("platform") if each["kind"] == "OCIRepository"}
    found = kustomized(environment)
    maps = {each["metadata"]["name"]: each["data"] for each in found if each["kind"] == "ConfigMap"}
    for each in found:
        if each["kind"] == "HelmRelease":
            spec = each["spec"]
            repository = platform[spec["chartRef"]["name"]]
            assert spec["chartRef"]["namespace"] == repository["metadata"]["namespace"]
            values = [yamls.read(maps[source["name"]]["values.yaml"]) for source in spec.get("valuesFrom", [])]
            yield Release(
                name=each["metadata"]["name"],
                namespace=each["metadata"]["namespace"],
                chart=repository["spec"]["url"].removeprefix(f"oci://{CHARTS}/"),
                version=repository["spec"]["ref"]["tag"],
                values=(*values, *([spec["values"]] if "values" in spec else [])),
            )
