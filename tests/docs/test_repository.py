"""The house's own rules: what every file of the repository keeps."""

import re
import subprocess
import tomllib
from pathlib import Path

import asya_core

ROOT = Path(__file__).parents[2]


def committed_files(*suffixes: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    described = set(re.findall(r"^([a-z][a-z-]*):.*## \w", makefile, re.M))
    assert targets == described


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "ci" / "constraints.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_there_is_one_version_number() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = re.search(r'^(?:__version__|VERSION)\b[^=]*= "([^"]+)"', (ROOT / "python/runtime/asya_runtime.py").read_text(), re.M)
    assert runtime is not None
    assert {project["version"], asya_core.__version__, runtime[1]} == {project["version"]}


def test_no_committed_file_holds_an_absolute_path_of_a_workplace() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    guilty = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed_files(".py", ".md", ".sh", ".toml", ".yaml", ".yml", ".json", ".txt")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line) and path != Path(__file__)
    ]
    assert guilty == []


def test_changelog_fragments_are_one_sentence_with_a_kind() -> None:
    fragments = [path for path in (ROOT / "changelog.d").glob("*") if path.name != "README.md"]
    assert fragments
    for path in fragments:
        assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md", path.name), path.name
        text = path.read_text().strip()
        assert "\n" not in text, path.name
        assert text.endswith("."), path.name


def test_every_component_is_typed() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = [ROOT / package for package in packages if not package.endswith(".py")]
    assert [folder.name for folder in folders if not (folder / "py.typed").exists()] == []
