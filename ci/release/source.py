"""What is released: one commit, as Git has it, with its version and its time. Called by `making`; knows nothing of what is made."""

import re
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import yaml

from ci.release.refusal import Refused

__all__ = ["CATEGORIES", "Source", "export", "fragments", "head", "read"]

CATEGORIES = ("added", "changed", "fixed", "removed", "security")
"""Of changelog fragments; also the kinds that Artifact Hub knows."""
FRAGMENT = re.compile(rf"[a-z0-9][a-z0-9-]*\.({'|'.join(CATEGORIES)})\.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A commit that may be released.

    Attributes:
        folder: its files and nothing else, apart from the work tree.
        version: of pyproject.toml, without "v".
        commit: 40 hex digits.
        epoch: the commit's time, seconds since 1970; every file that is built gets it.
    """

    folder: Path
    version: str
    commit: str
    epoch: int


def read(root: Path, into: Path, *, released: Path) -> Source:
    """Export the commit that is checked out.

    Args:
        root: a work tree.
        into: a folder that does not exist yet; it gets the files.
        released: where releases are kept, a folder for each version.

    Raises:
        Refused: files that are not committed; versions that differ; a version that exists; no fragment or one with a wrong name.
    """
    now = head(root)
    export(root, now.commit, into)
    version = _version(into)
    if (released / version).exists():
        raise Refused(
            f"{released / version} exists; a version is released once: raise it (python -m ci.release next VERSION) or remove the folder"
        )
    tagged = _git(root, "rev-parse", "--quiet", "--verify", f"refs/tags/v{version}^{{commit}}", missing="")
    if tagged not in ("", now.commit):
        raise Refused(f"version {version} is tagged at {tagged[:12]}, another commit; raise it (python -m ci.release next VERSION)")
    fragments(into)
    return replace(now, folder=into)


def head(root: Path) -> Source:
    """The commit that is checked out, in place. Raises Refused for files that are not committed."""
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise Refused(f"{changed[0][3:]}{more} differs from the commit; commit or remove it, a release is made of a commit alone")
    commit = _git(root, "rev-parse", "HEAD")
    epoch = int(_git(root, "show", "--no-patch", "--format=%ct", "HEAD"))
    return Source(folder=root, version=_version(root), commit=commit, epoch=epoch)


def export(root: Path, commit: str, into: Path) -> None:
    """Write a commit's files to a new folder. Raises Refused for a commit that is not here."""
    done = subprocess.run(["git", "-C", root, "archive", "--format=tar", commit], capture_output=True)
    if done.returncode != 0:
        raise Refused(f"commit {commit} is not in this repository; fetch it: git fetch --unshallow")
    into.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(done.stdout)) as tar:
        tar.extractall(into, filter="tar")


def fragments(folder: Path) -> list[tuple[str, str]]:
    """(category, sentence) of each changelog fragment, by name. Raises Refused for none, a wrong name or an empty one."""
    found = []
    for path in sorted((folder / "changelog.d").glob("*")):
        if path.name == "README.md":
            continue
        named = FRAGMENT.fullmatch(path.name)
        text = path.read_text(encoding="utf-8").strip()
        if named is None or not text:
            problem = "is empty" if named else "has a wrong name"
            raise Refused(f"changelog.d/{path.name} {problem}; expected SLUG.{{{','.join(CATEGORIES)}}}.md with one sentence for users")
        found.append((named[1], " ".join(text.split())))
    if not found:
        raise Refused("changelog.d has no fragment; a release without a change for users is none: add SLUG.changed.md with one sentence")
    return found


def _version(folder: Path) -> str:
    version = str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    for path in sorted(folder.glob("charts/*/Chart.yaml")):
        chart = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in ("version", "appVersion"):
            if chart[key] != version:
                raise Refused(f"{path.relative_to(folder)}: {key} is {chart[key]}, pyproject.toml has {version}; make them equal")
    return version


def _git(root: Path, *words: str, missing: str | None = None) -> str:
    done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout.rstrip("\n")
    if missing is None:
        raise Refused(f"git {words[0]} in {root}: {done.stderr.strip()}; a release is made in a clone of the repository")
    return missing
