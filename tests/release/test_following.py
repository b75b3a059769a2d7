"""The commit after a release, and what the real tree promises about it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ci.release import following, notes, parts, source
from ci.release.refusal import Refused
from tests.release.conftest import ROOT, VERSION

NEXT = "99.2.0"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Those files of the real tree that hold the version or its changes."""
    for pattern in (*following.PLACES, "changelog.d/*", "CHANGELOG.md", "ci/release/previous.toml", "ci/release/changelog.md.jinja"):
        for file in ROOT.glob(pattern):
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return tmp_path


def begin(folder: Path, version: str) -> None:
    following.begin(folder, version, old=VERSION, commit="f" * 40, date="2026-01-02")


@pytest.mark.point(80)
def test_next_closes_the_changelog_raises_every_version_and_remembers_what_was_released(copy: Path) -> None:
    told = [sentence for _, sentence in source.fragments(copy)]
    begin(copy, NEXT)
    text = (copy / "CHANGELOG.md").read_text()
    assert [sentence for sentence in told if f"- {sentence}" not in text] == []
    assert text.count("\n- ") == len(told)
    assert [path.name for path in (copy / "changelog.d").iterdir()] == ["README.md"]
    assert parts.previous_commit(copy) == "f" * 40
    files = [file for pattern in following.PLACES for file in copy.glob(pattern)]
    assert len(files) > 10
    assert [str(file) for file in files if re.search(rf"\b{re.escape(VERSION)}\b", file.read_text())] == []
    assert all(re.search(rf"\b{re.escape(NEXT)}\b", file.read_text()) for file in files)


def test_no_page_example_or_chart_names_the_version_where_next_does_not_look() -> None:
    shown = ["charts", "examples", "docs/how-to", "docs/tutorials", "README.md", "UPGRADE.md"]
    listed = subprocess.run(["git", "ls-files", *shown], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    places = {file: expression for pattern, expression in following.PLACES.items() for file in ROOT.glob(pattern)}
    missed = [
        f"{name}: {line.strip()}"
        for name in listed
        if (ROOT / name).is_file() and name != "charts/asya-operator/files/asya_runtime.py"  # made by make generate
        for line in (ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines()
        if re.search(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", line)
        and not ((ROOT / name) in places and re.search(places[ROOT / name].format(re.escape(VERSION)), line))
    ]
    assert missed == []


@pytest.mark.parametrize("version", [VERSION, f"v{NEXT}", "99.2", "next"])
def test_what_is_no_next_version_is_refused_and_changes_nothing(copy: Path, version: str) -> None:
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    with pytest.raises(Refused, match=f"{re.escape(version)} is no next version of {VERSION}"):
        begin(copy, version)
    assert {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()} == before


def test_a_place_without_the_version_is_named(copy: Path) -> None:
    (copy / "python" / "crew" / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(Refused, match=f"python/crew/Dockerfile does not hold version {VERSION} where it should"):
        begin(copy, NEXT)


def test_notes_of_the_real_tree_tell_every_fragment_once() -> None:
    told = [sentence for _, sentence in source.fragments(ROOT)]
    section = notes.section(ROOT, "9.9.9", "2026-01-02")
    assert section.splitlines()[0] == "## 9.9.9 (2026-01-02)"
    assert sorted(line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")) == sorted(told)


def test_a_previous_release_that_a_shallow_clone_lacks_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^commit f{40} is not in this repository; fetch it: git fetch --unshallow$"):
        source.export(ROOT, "f" * 40, tmp_path / "tree")


@pytest.mark.point(81)
def test_the_page_on_upgrades_has_a_section_for_this_version_and_its_commands_name_it() -> None:
    text = (ROOT / "UPGRADE.md").read_text()
    assert f"\n### {VERSION.rpartition('.')[0]}\n" in text
    named = re.findall(r"--version (\S+)", text)
    assert len(named) == 4
    assert set(named) == {VERSION}
