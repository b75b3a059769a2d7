"""Makes a release of a commit: everything that is published, in one folder. Called by `__main__` and tests."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ci.release import images, notes, parts, sbom, seal, source, wheel
from ci.release.images import Image

__all__ = ["make"]

TOOLS = ("build", "hatchling", "towncrier", "cyclonedx-python-lib")


def make(
    root: Path,
    released: Path,
    *,
    build_images: Callable[[Path], Sequence[Image]] = images.collect,
    helm: Callable[[Path], Path] = parts.helm,
    key: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Make the release of what is checked out; gives its folder, which is there whole or not at all.

    Args:
        root: a clean work tree.
        released: gets a folder named like the version.
        build_images: gives the images of `root`.
        helm: gives the Helm that packs.
        key: of GnuPG, to sign with; "" = nothing is signed.
        say: tells the next step.

    Raises:
        Refused: the commit cannot be released, or a tool failed.
    """
    with tempfile.TemporaryDirectory(prefix="asya-release-") as work:
        commit = source.read(root, Path(work) / "source", released=released)
        draft = released / f".{commit.version}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        say(f"version {commit.version} of commit {commit.commit[:12]}")
        _fill(draft, commit, Path(work), build_images(root), helm(root), key, say)
    final = released / commit.version
    draft.rename(final)
    return final


def _fill(draft: Path, commit: source.Source, work: Path, built: Sequence[Image], helm: Path, key: str, say: Callable[[str], None]) -> None:
    date = datetime.fromtimestamp(commit.epoch, UTC).date().isoformat()
    say("wheel and source distribution")
    wheel.build(commit.folder, draft, epoch=commit.epoch)
    say("charts, with the images' digests")
    changes = source.fragments(commit.folder)
    packed = parts.pack(commit.folder / "charts", built, work / "charts", helm=helm, epoch=commit.epoch, changes=changes)
    (draft / "charts").mkdir()
    for package in packed.charts.values():
        placed = shutil.copyfile(package, draft / "charts" / package.name)
        if key:
            seal.sign_chart(placed, key)
    say("images")
    (draft / "images").mkdir()
    for image in built:
        images.copy(image, draft / "images")
    lines = [f"{image.repository}:{image.tag} {image.digest}\n" for image in built]
    (draft / "images" / "digests.txt").write_text("".join(lines), encoding="utf-8")
    say("bills of materials")
    (draft / "sbom").mkdir()
    sbom.write(sbom.of_distribution("asya", commit.version, epoch=commit.epoch), draft / "sbom" / f"asya-{commit.version}.cdx.json")
    for image in built:
        sbom.write(sbom.of_image(image, epoch=commit.epoch), draft / "sbom" / f"image-{image.name}-{commit.version}.cdx.json")
    say("changelog")
    (draft / "NOTES.md").write_text(notes.section(commit.folder, commit.version, date), encoding="utf-8")
    (draft / "CHANGELOG.md").write_text(notes.changelog(commit.folder, commit.version, date), encoding="utf-8")
    shutil.copyfile(commit.folder / "UPGRADE.md", draft / "UPGRADE.md")
    say("provenance and checksums")
    versions = {name: metadata.version(name) for name in TOOLS}
    seal.provenance(draft, commit, versions)
    sums = seal.checksums(draft)
    if key:
        seal.sign(sums, key)
