"""A. Metadata and layout."""

import asyncio
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pyhelm3 import Client

from tests.charts import yamls
from tests.charts.helms import ROOT, run, told, tools
from tests.charts.made import actor_validator
from tests.charts.render import CHARTS, KUBE, MINIMAL, RELEASES, ci_files, containers, pod_specs, render

NAMES = tuple(RELEASES)
HTTPS = {"type": "string", "pattern": "^https://[^/]+"}
CHART_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("apiVersion", "name", "description", "type", "version", "appVersion", "kubeVersion"),
        *("home", "icon", "sources", "keywords", "maintainers", "annotations"),
    ],
    "properties": {
        "apiVersion": {"const": "v2"},
        "name": {"enum": list(NAMES)},
        "description": {"type": "string", "minLength": 20, "maxLength": 140, "pattern": "^[A-Z].*[^.]$"},
        "type": {"const": "application"},
        "version": {"type": "string"},
        "appVersion": {"type": "string"},
        "kubeVersion": {"const": ">=1.29.0-0"},
        "home": HTTPS,
        "icon": HTTPS,
        "sources": {"type": "array", "minItems": 1, "items": HTTPS},
        "keywords": {"type": "array", "minItems": 3, "items": {"type": "string"}},
        "maintainers": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["name", "url"], "properties": {"name": {"type": "string"}, "url": HTTPS}},
        },
        "annotations": {"type": "object", "propertyNames": {"pattern": "^artifacthub.io/"}, "additionalProperties": {"type": "string"}},
        "dependencies": {"type": "array"},
    },
}


def chart_yaml(chart: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yamls.read((CHARTS / chart / "Chart.yaml").read_text())
    return loaded


def templates(chart: str) -> list[Path]:
    return sorted(path for path in (CHARTS / chart / "templates").rglob("*") if path.is_file())


@pytest.mark.point(1)
@pytest.mark.parametrize("chart", NAMES)
def test_lint_is_clean_with_defaults_and_every_supported_set_up(chart: str, engine: str) -> None:
    kube = ["--kube-version", KUBE] if engine == "helm4" else []
    for values in (None, *ci_files(chart)):
        done = told(engine, "lint", "--strict", str(CHARTS / chart), *(["--values", str(values)] if values else []), *kube, check=False)
        assert not done.failed, f"{values}: {done.out}{done.err}"
        assert "[WARNING]" not in done.out
        assert "[ERROR]" not in done.out


@pytest.mark.point(2)
@pytest.mark.parametrize("chart", NAMES)
def test_chart_yaml_is_complete(chart: str) -> None:
    jsonschema.validate(chart_yaml(chart), CHART_SCHEMA)
    assert chart_yaml(chart)["name"] == chart
    assert re.search(r'^appVersion: "', (CHARTS / chart / "Chart.yaml").read_text(), re.M)


@pytest.mark.point(3)
@pytest.mark.parametrize("chart", NAMES)
def test_pyhelm3_loads_the_chart(chart: str, engine: str) -> None:
    loaded = asyncio.run(Client(executable=str(tools() / engine)).get_chart(str(CHARTS / chart)))
    assert loaded.metadata.name == chart
    assert str(loaded.metadata.home).startswith("https://")


@pytest.mark.point(4)
def test_all_versions_are_that_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = {(chart, key): str(chart_yaml(chart)[key]) for chart in NAMES for key in ("version", "appVersion")}
    found["asya-crew", "dependency"] = chart_yaml("asya-crew")["dependencies"][0]["version"]
    assert found == dict.fromkeys(found, version)


@pytest.mark.point(5)
@pytest.mark.parametrize("chart", NAMES)
def test_artifact_hub_annotations_are_valid(chart: str) -> None:
    notes = {key.removeprefix("artifacthub.io/"): value for key, value in chart_yaml(chart)["annotations"].items()}
    assert {"category", "license", "links", "changes", "images", "prerelease"} <= notes.keys()
    assert notes["prerelease"] in ("true", "false")
    assert all(set(entry) == {"name", "url"} and entry["url"].startswith("https://") for entry in yamls.read(notes["links"]))
    assert all(
        entry["kind"] in ("added", "changed", "deprecated", "removed", "fixed", "security") for entry in yamls.read(notes["changes"])
    )
    assert all(entry["description"] for entry in yamls.read(notes["changes"]))


@pytest.mark.point(5)
def test_artifact_hub_example_of_the_resource_is_one() -> None:
    notes = chart_yaml("asya-operator")["annotations"]
    (described,) = yamls.read(notes["artifacthub.io/crds"])
    assert (described["name"], described["version"], described["kind"]) == ("asyncactors.asya.sh", "v1alpha1", "AsyncActor")
    for example in yamls.read(notes["artifacthub.io/crdsExamples"]):
        actor_validator().validate(example)


@pytest.mark.point(6)
@pytest.mark.parametrize("chart", NAMES)
def test_artifact_hub_images_are_those_rendered_by_default(chart: str) -> None:
    if chart == "asya-actor":
        rendered = render(chart, {"handler": "a.b", "source": {"files": {"a.py": ""}}})
    else:
        rendered = render(chart, MINIMAL[chart])
    images = {container["image"] for _, spec in pod_specs(rendered) for container in containers(spec)}
    for found in rendered.of("AsyncActor"):
        images |= {container["image"] for container in containers(found["spec"]["workload"]["template"]["spec"])}
    for found in rendered.of("ConfigMap"):
        if "settings.yaml" in found["data"]:
            images.add(yamls.read(found["data"]["settings.yaml"])["sidecar"]["image"])
    assert {entry["image"] for entry in yamls.read(chart_yaml(chart)["annotations"]["artifacthub.io/images"])} == images


ALLOWED = re.compile(
    r"(charts/asya-actor/)?(Chart\.yaml|Chart\.lock|values\.yaml|values\.schema\.json|README\.md|\.helmignore"
    r"|templates/(tests/)?[a-z_-]+\.(yaml|tpl|txt)|templates/NOTES\.txt|files/[a-z_]+\.(py|yaml)|files/dashboards/[a-z-]+\.json)"
)


@pytest.mark.point(7)
@pytest.mark.parametrize("chart", NAMES)
def test_a_package_holds_nothing_but_the_chart(chart: str, engine: str, tmp_path: Path) -> None:
    run(engine, "package", str(CHARTS / chart), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = [name.removeprefix(f"{chart}/") for name in archive.getnames()]
    assert [name for name in names if not ALLOWED.fullmatch(name)] == []
    if chart == "asya-crew":
        assert "charts/asya-actor/templates/_asyncactor.tpl" in names


@pytest.mark.point(8)
@pytest.mark.parametrize("chart", NAMES)
def test_every_chart_has_the_same_parts(chart: str) -> None:
    parts = [
        "README.md",
        "values.yaml",
        "values.schema.json",
        "templates/NOTES.txt",
        "templates/_helpers.tpl",
        "templates/_validate.tpl",
        ".helmignore",
    ]
    assert [part for part in parts if not (CHARTS / chart / part).is_file()] == []
    assert len(ci_files(chart)) >= 2
    if chart in ("asya-operator", "asya-gateway"):
        assert (CHARTS / chart / "templates" / "tests" / "pod-check.yaml").is_file()


KIND_WORDS = {
    "crd": "CustomResourceDefinition",
    "pdb": "PodDisruptionBudget",
    "pvc": "PersistentVolumeClaim",
    "hpa": "HorizontalPodAutoscaler",
    "happy": "AsyncActor",
    "error": "AsyncActor",
}
SEVERAL = ("role.yaml", "rolebinding.yaml", "extra-objects.yaml")
"""One object per watched namespace, or per entry of the user's map."""


@pytest.mark.point(9)
@pytest.mark.parametrize("chart", NAMES)
def test_a_template_makes_one_object_whose_kind_its_name_begins_with(chart: str) -> None:
    for values in ci_files(chart):
        rendered = render(chart, [values])
        single = [source for source in rendered.sources if not source.endswith(SEVERAL)]
        assert len(single) == len(set(single)), values
        for source, item in zip(rendered.sources, rendered.objects, strict=True):
            word = Path(source).stem.split("-")[0]
            if not source.endswith("extra-objects.yaml"):
                assert item["kind"].lower() == KIND_WORDS.get(word, word).lower(), source


@pytest.mark.point(10)
@pytest.mark.parametrize("chart", NAMES)
def test_every_named_template_begins_with_the_name_of_its_chart(chart: str) -> None:
    names = [name for path in templates(chart) for name in re.findall(r'define "([^"]+)"', path.read_text())]
    assert names
    assert [name for name in names if not name.startswith(f"{chart}.")] == []
    assert len(names) == len(set(names))


@pytest.mark.point(10)
def test_every_named_template_is_used() -> None:
    texts = "".join(path.read_text() for chart in NAMES for path in templates(chart))
    shared = set(re.findall(r'define "CHART\.([^"]+)"', (ROOT / "ci" / "charts" / "shared.tpl").read_text()))
    defined = set(re.findall(r'define "([^"]+)"', texts))
    used = set(re.findall(r'include "([^"]+)"', texts)) | {"asya-actor.pdb", "asya-actor.podmonitor"}
    assert {name for name in defined - used if name.split(".")[1] not in shared} == set()


@pytest.mark.point(11)
@pytest.mark.parametrize("chart", NAMES)
def test_templates_are_plain_text_without_tabs_or_trailing_blanks(chart: str) -> None:
    for path in templates(chart):
        text = path.read_text(encoding="utf-8")
        assert text.isascii(), path
        assert "\t" not in text, path
        assert not re.search(r"[ \t]+$", text, re.M), path


@pytest.mark.point(11)
def test_yamllint_finds_nothing_in_values_and_metadata() -> None:
    off = "line-length: disable, document-start: disable, comments-indentation: disable, quoted-strings: disable"
    rules = f"{{extends: default, rules: {{{off}, braces: {{max-spaces-inside: 0}}}}}}"
    files = [CHARTS / chart / name for chart in NAMES for name in ("Chart.yaml", "values.yaml")]
    files += [path for chart in NAMES for path in ci_files(chart)]
    files += sorted(CHARTS.glob("*/files/alerts.yaml"))
    done = subprocess.run([ROOT / ".venv/bin/yamllint", "-s", "-d", rules, *files], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.point(12)
@pytest.mark.parametrize("chart", NAMES)
def test_helm_4_packages_to_the_same_bytes_twice(chart: str, tmp_path: Path) -> None:
    packages = []
    for turn in ("first", "second"):
        run("helm4", "package", str(CHARTS / chart), "--destination", str(tmp_path / turn))
        packages.append(next((tmp_path / turn).glob("*.tgz")).read_bytes())
    assert packages[0] == packages[1]
