"""A small repository with the real charts, images of a few bytes, and a release of both. No builder of images and no network."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from ci.release import making
from ci.release.images import NAMES, Image, described
from tests.charts.helms import folder

ROOT = Path(__file__).parents[2]
VERSION = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
STATUS = """Package: libc6
Status: install ok installed
Version: 2.41-12
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: amd64
"""
METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n\nText.\n"
SITE = "opt/venv/lib/python3.13/site-packages"

Files = dict[str, str]


def layer(files: Files) -> bytes:
    """An uncompressed layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def archive(folder: Path, name: str, layers: Sequence[Files], *, tag: str = VERSION) -> Path:
    """An image as ci/images.sh writes it."""
    blobs = [layer(files) for files in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [_id(blob) for blob in blobs]}}
    members = {f"{number}.tar": blob for number, blob in enumerate(blobs)}
    listed = [{"Config": "c.json", "RepoTags": [f"docker.io/asya/{name}:{tag}"], "Layers": list(members)}]
    members |= {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(listed).encode()}
    file = folder / f"{name}-0123456789abcdef.tar"
    with tarfile.open(file, "w") as tar:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def _id(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A Git repository that can be released."""

    folder: Path

    def git(self, *words: str) -> str:
        """Run Git here; gives what it prints."""
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "Asya", f"GIT_{role}_EMAIL": "asya@example.com", f"GIT_{role}_DATE": "2026-01-02T03:04:05Z"}
        done = subprocess.run(["git", "-C", self.folder, *words], check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit everything; gives the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")
        return self.git("rev-parse", "HEAD")

    def make(self, into: Path, *, key: str = "") -> Path:
        """Release it with images of a few bytes."""
        return making.make(
            self.folder, into, build_images=lambda _: images(into.parent), helm=lambda _: helm(), key=key, say=lambda _: None
        )


def images(folder: Path) -> list[Image]:
    """One of each name, on a layer that they share."""
    built = folder / "built"
    built.mkdir(exist_ok=True)
    base = {"var/lib/dpkg/status": STATUS}
    made = []
    for name in NAMES:
        own = {f"{SITE}/asya_{name}-{VERSION}.dist-info/METADATA": METADATA.format(name=f"asya_{name}", version=VERSION)}
        made.append(described(name, archive(built, name, [base, own]), folder / "kept"))
    return made


def helm(engine: str = "helm4") -> Path:
    """One of both Helms."""
    found = folder()
    if found is None:
        absent("Helm is not here: run ci/helm.sh")
    return found / engine


def absent(missing: str) -> NoReturn:
    """Something that a test needs is not here: a skip on a laptop, a failure where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A release that several tests look at; none changes it."""

    repository: Repository
    folder: Path


def prepare(made: Path) -> Repository:
    """A repository in a new folder, committed: the real charts and changelog's settings, a package of one file, two fragments."""
    shutil.copytree(ROOT / "charts", made / "charts", symlinks=True)
    for part in ("pyproject.toml", "LICENSE", "README.md", "python/core/asya_core/__init__.py", "ci/release/changelog.md.jinja"):
        (made / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / part, made / part)
    (made / "changelog.d").mkdir()
    (made / "changelog.d" / "README.md").write_text("# Fragments\n")
    (made / "changelog.d" / "fast.added.md").write_text("It is `fast`.\n")
    (made / "changelog.d" / "slow.fixed.md").write_text("It is not slow.\n")
    (made / "CHANGELOG.md").write_text("# Changelog\n\n<!-- towncrier release notes start -->\n\n## 0.0.1 (2025-01-01)\n\n- Older.\n")
    (made / "UPGRADE.md").write_text("# Upgrade\n")
    found = Repository(folder=made)
    found.git("init", "--quiet", "--initial-branch", "main")
    found.commit()
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One of this test's own."""
    return prepare(tmp_path / "repository")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made once."""
    base = tmp_path_factory.mktemp("release")
    found = prepare(base / "repository")
    return Made(repository=found, folder=found.make(base / "dist"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "point(number): the point of docs/reference/chart-checklist.md that this test proves")
