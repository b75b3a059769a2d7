"""A release: the same bytes for the same commit, everything in it, checkable, and refused in one line where it would be wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ci.release import charts, parts, seal, source
from ci.release.images import NAMES
from ci.release.refusal import Refused
from tests.release.conftest import ROOT, VERSION, Made, Repository, absent, helm, images

CHART_FILES = {f"charts/{name}-{VERSION}.tgz" for name in charts.CHARTS}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.point(12)
@pytest.mark.behaviour("release:same-bytes")
def test_a_release_made_twice_is_the_same_bytes_whatever_the_times_of_its_files(made: Made, tmp_path: Path) -> None:
    first = files(made.folder)
    for path in made.repository.folder.glob("charts/*/*"):
        os.utime(path, (1, 1))
    again = files(made.repository.make(tmp_path / "again"))
    assert [name for name in first if first[name] != again[name]] == []
    assert list(first) == list(again)


@pytest.mark.point(77)
@pytest.mark.point(79)
def test_a_release_holds_what_is_published_and_its_sums_agree(made: Made) -> None:
    folder = made.folder
    assert folder.name == VERSION
    expected = {
        f"asya-{VERSION}-py3-none-any.whl",
        f"asya-{VERSION}.tar.gz",
        "NOTES.md",
        "CHANGELOG.md",
        "UPGRADE.md",
        "SHA256SUMS",
        "provenance.json",
    }
    expected |= CHART_FILES | {"images/digests.txt", f"sbom/asya-{VERSION}.cdx.json"}
    for image in NAMES:
        expected |= {f"images/asya-{image}-{VERSION}.oci.tar", f"sbom/image-{image}-{VERSION}.cdx.json"}
    assert set(files(folder)) == expected

    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(expected) - 1
    statement = json.loads((folder / "provenance.json").read_text())
    assert {each["name"] for each in statement["subject"]} == expected - {"SHA256SUMS", "provenance.json"}
    (built_of,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert built_of["digest"] == {"gitCommit": made.repository.git("rev-parse", "HEAD")}

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for bill in (folder / "sbom").iterdir():
        assert validator.validate_str(bill.read_text()) is None, bill.name
    held = json.loads((folder / "sbom" / f"image-crew-{VERSION}.cdx.json").read_text())["components"]
    assert {each["purl"] for each in held} == {"pkg:deb/debian/libc6@2.41-12?arch=amd64", f"pkg:pypi/asya-crew@{VERSION}"}
    needed = {each["name"] for each in json.loads((folder / "sbom" / f"asya-{VERSION}.cdx.json").read_text())["components"]}
    assert {"pika", "msgspec", "click", "kubernetes", "starlette"} <= needed
    assert needed & {"pytest", "towncrier", "ruff"} == set()

    with zipfile.ZipFile(folder / f"asya-{VERSION}-py3-none-any.whl") as wheel:
        assert {entry.date_time for entry in wheel.infolist()} == {(2026, 1, 2, 3, 4, 4)}


@pytest.mark.point(77)
@pytest.mark.parametrize("engine", ["helm3", "helm4"])
def test_charts_of_a_release_name_every_image_by_its_digest(made: Made, engine: str) -> None:
    listed = [line.split() for line in (made.folder / "images" / "digests.txt").read_text().splitlines()]
    untagged = {name.removesuffix(f":{VERSION}"): digest for name, digest in listed}
    by_name = {name.removeprefix("asya/"): f"{name}@{digest}" for name, digest in untagged.items()}
    assert set(by_name) == set(NAMES)

    def rendered(chart: str, *settings: str) -> str:
        values = [word for setting in settings for word in ("--set", setting)]
        package = made.folder / "charts" / f"{chart}-{VERSION}.tgz"
        command = [str(helm(engine)), "template", "release", str(package), "--kube-version", "1.34.0", *values]
        done: str = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return done

    operator = rendered("asya-operator", "transports.rabbitmq.host=r")
    found = re.findall(r"image: \"?(asya/[^\s\"]+)", operator)
    sidecar = by_name["sidecar"].replace("@", f":{VERSION}@")
    assert sorted(found) == sorted([sidecar, by_name["operator"], by_name["operator"]]), "of sidecars, of it, of its test"
    assert f'app.kubernetes.io/version: "{VERSION}"' in operator
    assert set(re.findall(r"image: (\S+)", rendered("asya-crew", "storage.s3.bucket=b"))) == {by_name["crew"]}
    assert set(re.findall(r"image: (\S+)", rendered("asya-gateway", "rabbitmq.host=r"))) == {by_name["gateway"]}
    actor = rendered("asya-actor", "handler=a.b", r"source.files.a\.py=x", "global.imageRegistry=r.example.com")
    assert set(re.findall(r"image: (\S+)", actor)) == {f"r.example.com/{by_name['runtime']}"}


@pytest.mark.point(77)
def test_what_artifact_hub_is_told_agrees_with_images_and_changelog(made: Made) -> None:
    digests = dict(line.split() for line in (made.folder / "images" / "digests.txt").read_text().splitlines())
    changes = [{"kind": "added", "description": "It is `fast`."}, {"kind": "fixed", "description": "It is not slow."}]
    for chart in charts.CHARTS:
        with tarfile.open(made.folder / "charts" / f"{chart}-{VERSION}.tgz") as tar:
            stream = tar.extractfile(f"{chart}/Chart.yaml")
            assert stream is not None
            told = yaml.safe_load(stream)["annotations"]
        assert yaml.safe_load(told["artifacthub.io/changes"]) == changes
        for entry in yaml.safe_load(told["artifacthub.io/images"]):
            name = f"asya/{entry['name']}"
            assert entry["image"] == f"{name}@{digests[f'{name}:{VERSION}']}"


@pytest.mark.point(12)
@pytest.mark.behaviour("release:same-bytes")
def test_both_helms_pack_the_same_bytes(made: Made, tmp_path: Path) -> None:
    epoch = source.head(made.repository.folder).epoch
    changes = source.fragments(made.repository.folder)
    sources = made.repository.folder / "charts"
    packed = parts.pack(sources, images(tmp_path), tmp_path / "packed", helm=helm("helm3"), epoch=epoch, changes=changes)
    for chart, package in packed.charts.items():
        assert package.read_bytes() == (made.folder / "charts" / package.name).read_bytes(), chart


@pytest.mark.point(80)
def test_the_changelog_gets_a_section_from_the_fragments_which_stay(made: Made) -> None:
    section = f"## {VERSION} (2026-01-02)\n\n### Added\n\n- It is `fast`.\n\n### Fixed\n\n- It is not slow.\n"
    assert (made.folder / "NOTES.md").read_text() == section
    text = (made.folder / "CHANGELOG.md").read_text()
    assert section in text
    assert text.index(section) < text.index("## 0.0.1")
    assert made.repository.git("status", "--porcelain") == ""


@pytest.mark.point(78)
def test_a_signed_release_is_verified_by_helm_and_by_gnupg(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("gpg-agent") is None:
        absent("GnuPG is not here: run ci/tools.sh")
    home = tmp_path / "keys"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg = ["gpg", "--batch", "--quiet"]
    key = "release@example.com"
    try:
        subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", key, "rsa2048"], check=True, capture_output=True)
        sums = Path(shutil.copy(made.folder / "SHA256SUMS", tmp_path))
        subprocess.run([*gpg, "--verify", seal.sign(sums, key), sums], check=True, capture_output=True)
        ring = tmp_path / "ring.gpg"
        ring.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
        package = Path(shutil.copy(made.folder / "charts" / f"asya-crew-{VERSION}.tgz", tmp_path))
        seal.sign_chart(package, key)
        for engine in ("helm3", "helm4"):
            subprocess.run([helm(engine), "verify", package, "--keyring", ring], check=True, capture_output=True)
        with pytest.raises(Refused, match=r"^gpg: .*: No secret key$"):
            seal.sign(sums, "nobody@example.com")
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)


def _dirty(repository: Repository, into: Path) -> None:
    (repository.folder / "README.md").write_text("changed")


def _exists(repository: Repository, into: Path) -> None:
    (into / VERSION).mkdir(parents=True)


def _tagged(repository: Repository, into: Path) -> None:
    repository.git("tag", f"v{VERSION}")
    (repository.folder / "more").touch()
    repository.commit()


def _silent(repository: Repository, into: Path) -> None:
    for path in (repository.folder / "changelog.d").glob("*.*.md"):
        path.unlink()
    repository.commit()


def _misnamed(repository: Repository, into: Path) -> None:
    (repository.folder / "changelog.d" / "more.improved.md").write_text("Better.\n")
    repository.commit()


def _empty(repository: Repository, into: Path) -> None:
    (repository.folder / "changelog.d" / "fast.added.md").write_text("\n")
    repository.commit()


def _behind(repository: Repository, into: Path) -> None:
    file = repository.folder / "charts" / "asya-crew" / "Chart.yaml"
    file.write_text(file.read_text().replace(f"\nversion: {VERSION}", "\nversion: 0.0.9"))
    repository.commit()


EXPECTED = "expected SLUG.{added,changed,fixed,removed,security}.md with one sentence for users"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_dirty, "README.md differs from the commit; commit or remove it, a release is made of a commit alone"),
        (_exists, f"{VERSION} exists; a version is released once: raise it (python -m ci.release next VERSION) or remove the folder"),
        (_tagged, "another commit; raise it (python -m ci.release next VERSION)"),
        (_silent, "changelog.d has no fragment; a release without a change for users is none: add SLUG.changed.md with one sentence"),
        (
            _misnamed,
            f"changelog.d/more.improved.md has a wrong name; {EXPECTED}",
        ),
        (_empty, f"changelog.d/fast.added.md is empty; {EXPECTED}"),
        (_behind, f"charts/asya-crew/Chart.yaml: version is 0.0.9, pyproject.toml has {VERSION}; make them equal"),
    ],
    ids=lambda part: part.__name__.strip("_") if callable(part) else "",
)
def test_a_wrong_release_is_refused_in_one_line_and_leaves_nothing(
    repository: Repository, tmp_path: Path, change: Callable[[Repository, Path], None], line: str
) -> None:
    into = tmp_path / "dist"
    change(repository, into)
    with pytest.raises(Refused) as refused:
        repository.make(into)
    assert str(refused.value).endswith(line)
    assert "\n" not in str(refused.value)
    assert [path for path in into.glob("*") if path.name == VERSION and any(path.iterdir())] == []


@pytest.mark.point(77)
def test_a_chart_without_a_place_for_a_digest_is_refused(tmp_path: Path) -> None:
    charts.stage(ROOT / "charts", tmp_path / "staged")
    file = tmp_path / "staged" / "asya-actor" / "values.yaml"
    before, after = file.read_text().split("\nsource:")
    file.write_text(before + "\nsource:" + after.replace("  digest:", "  hash:", 1))
    with pytest.raises(
        Refused, match=r"^charts/asya-actor/values.yaml: there is no source.digest to write a digest into; add it to the chart$"
    ):
        charts.pin(tmp_path / "staged", {"runtime": "sha256:" + "0" * 64}, tag=VERSION)


def test_the_command_prints_a_refusal_as_one_line_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "ci").symlink_to(ROOT / "ci")
    code = "import sys, pathlib; from ci.release import __main__ as m; m.ROOT = pathlib.Path(sys.argv[1]); sys.exit(m.main(['make']))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("release: git status in ")
    assert line.endswith("a release is made in a clone of the repository")
