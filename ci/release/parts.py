"""The parts that go onto a cluster, of any commit: images and the charts that name them by digest. Called by `making` and by the
story of upgrades.
"""

import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.release import charts, images, source
from ci.release.refusal import Refused

__all__ = ["Parts", "helm", "of_previous", "of_tree", "previous_commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Attributes:
    images: with their archives.
    charts: package by the chart's name.
    """

    images: Sequence[images.Image]
    charts: dict[str, Path]


def of_tree(root: Path, into: Path, *, epoch: int = 0) -> Parts:
    """Those of a work tree as it is. `into` gets the packages."""
    return pack(root / "charts", images.collect(root), into, helm=helm(root), epoch=epoch)


def of_previous(root: Path, into: Path) -> Parts:
    """Those of the release before this one, images first built at their own commit. `into` gets sources and packages.

    Raises:
        Refused: the commit is not in this clone.
    """
    commit = previous_commit(root)
    tree = into / "source"
    source.export(root, commit, tree)
    # The runtime's image holds a Python and nothing of ours; charts before `source.digest` cannot pin it.
    names = [name for name in images.NAMES if name != "runtime"]
    built = images.collect(root, names, tree=tree, tag=f"previous-{commit[:12]}")
    return pack(tree / "charts", built, into / "packages", helm=helm(root), epoch=0)


def pack(
    sources: Path, built: Sequence[images.Image], into: Path, *, helm: Path, epoch: int, changes: Sequence[tuple[str, str]] = ()
) -> Parts:
    """Charts that name these images, packed by a Helm.

    Args:
        sources: the charts' folder; stays as it is.
        epoch: the time of every file in the packages.
        changes: (kind, sentence) each, for Artifact Hub; without, what the charts say stays.
    """
    staged = into.with_name(f"{into.name}.staged")
    charts.stage(sources, staged)
    charts.pin(staged, {image.name: image.digest for image in built}, tag=built[0].tag)
    if changes:
        charts.announce(staged, changes)
    packed = charts.package(helm, staged, into, epoch=epoch)
    return Parts(images=tuple(built), charts=dict(zip(charts.CHARTS, packed, strict=True)))


def previous_commit(root: Path) -> str:
    """The commit that ci/release/previous.toml names."""
    return str(tomllib.loads((root / "ci" / "release" / "previous.toml").read_text(encoding="utf-8"))["commit"])


def helm(root: Path) -> Path:
    """Helm 4 of ci/helm.sh, which says what it lacks."""
    done = subprocess.run([root / "ci" / "helm.sh"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Refused("ci/helm.sh could not provide Helm, see above")
    return Path(done.stdout.strip()) / "helm4"
