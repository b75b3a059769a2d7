"""Builds the documentation site from the pages as they are: ``python ci/site/build.py [FOLDER]``, default ``build/site``.

The pages are written for plain Git hosting, with links from file to file; that stays so. Gathering gives Sphinx a tree of its own: `docs/`
is its root, each folder's README its index, and pages elsewhere that one links to (examples, charts) come along. The navigation is the
READMEs' own lists of links, so a page that no index names is an error. Broken links and anchors are errors too. Called by `make docs` and
tests/docs/test_site.py; knows no page by name.
"""

import fcntl
import filecmp
import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
SETTINGS = Path(__file__).resolve().with_name("conf.py")
PROGRAMS = ("sphinx", "docutils", "myst-parser", "markdown-it-py", "mdit-py-plugins", "furo", "sphinx-basic-ng", "pygments", "jinja2")
"""What makes the site; a new version of one makes it anew."""
CODE_OR_LINK = re.compile(
    r"(?P<code>^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ \t]*$|`[^`\n]+`)"
    r"|(?P<head>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)(?P<tail>\))",
    re.M | re.S,
)
"""What is in a fenced block or a code span is no link; a span inside a link's text belongs to the link, which begins before it."""
TITLE = re.compile(r"^# .*$", re.M)
FOREIGN = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)


def place(path: PurePosixPath) -> PurePosixPath:
    """Where a file of the repository is in the site's tree."""
    inside = path.relative_to("docs") if path.is_relative_to("docs") else path
    if not path.is_relative_to("docs") and len(path.parts) == 1:
        inside = PurePosixPath("repository") / path
    return inside.with_name("index.md") if inside.name == "README.md" else inside


class Gathering:
    """The site's tree, made from the repository `root`.

    Attributes:
        pages: Markdown files by their path in the repository, with what they link to there, in order.
        files: other files that a page links to or shows.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pages: dict[PurePosixPath, list[PurePosixPath]] = {}
        self.files: set[PurePosixPath] = set()
        self._texts: dict[PurePosixPath, str] = {}
        waiting = [PurePosixPath(path.relative_to(root).as_posix()) for path in sorted((root / "docs").rglob("*.md"))]
        while waiting:
            page = waiting.pop()
            if page not in self.pages:
                waiting += [target for target in self._read(page) if target.suffix == ".md"]

    def _read(self, page: PurePosixPath) -> list[PurePosixPath]:
        found: list[PurePosixPath] = []

        def moved(match: re.Match[str]) -> str:
            if match["code"]:
                return match[0]
            target, _, anchor = match["target"].partition("#")
            if not target or FOREIGN.match(target):
                return match[0]
            path = PurePosixPath(posixpath.normpath((page.parent / target).as_posix()))
            if (self.root / path).is_dir():
                path /= "README.md"
            if not (self.root / path).is_file():
                return match[0]  # Sphinx tells of it, with the page's name
            found.append(path)
            if path.suffix != ".md":
                self.files.add(path)
            there = posixpath.relpath(place(path).as_posix(), place(page).parent.as_posix())
            return f"{match['head']}{there}{'#' + anchor if anchor else ''}{match['tail']}"

        text = (self.root / page).read_text(encoding="utf-8")
        self._texts[page] = CODE_OR_LINK.sub(moved, text)
        self.pages[page] = found
        return found

    def navigation(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        """The pages below each index, in the order in which it links to them."""
        below: dict[PurePosixPath, list[PurePosixPath]] = {}
        placed = {PurePosixPath("docs/README.md")}
        for index in (PurePosixPath("docs/README.md"), *sorted(page for page in self.pages if self._is_section(page))):
            for target in self.pages[index]:
                own = target.parent == index.parent or not target.is_relative_to("docs") or self._is_section(target)
                if target.suffix == ".md" and own and target not in placed:
                    placed.add(target)
                    below.setdefault(index, []).append(target)
        return below

    def _is_section(self, page: PurePosixPath) -> bool:
        return page.name == "README.md" and page.parent.parent == PurePosixPath("docs")

    def outline(self) -> str:
        """A digest of what every page shows of others: the navigation, with titles."""
        titles = [f"{page} {''.join(TITLE.findall(text)[:1])}" for page, text in sorted(self._texts.items())]
        entries = [f"{index}: {' '.join(map(str, pages))}" for index, pages in sorted(self.navigation().items())]
        return hashlib.sha256("\n".join([*titles, *entries]).encode()).hexdigest()

    def showing(self, changed: set[str]) -> list[PurePosixPath]:
        """Pages that are, or link to, one of these files of the repository."""
        return [page for page, targets in self.pages.items() if changed & {str(each) for each in (page, *targets)}]

    def write(self, folder: Path) -> dict[str, str]:
        """Write the tree; what is there already with the same content keeps its time, so that a second build is short.

        Gives a digest of each file's content, by its path in the repository.
        """
        below = self.navigation()
        named = {page for pages in below.values() for page in pages} | {PurePosixPath("docs/README.md")}
        contents: dict[PurePosixPath, bytes] = {}
        for page, text in self._texts.items():
            if page in below:
                there = place(page).parent.as_posix()
                entries = [posixpath.relpath(place(each).with_suffix("").as_posix(), there) for each in below[page]]
                text += "\n```{toctree}\n:hidden:\n\n" + "\n".join(entries) + "\n```\n"
            if page not in named and not page.is_relative_to("docs"):
                text = "---\norphan: true\n---\n" + text
            contents[page] = text.encode()
        contents |= {file: (self.root / file).read_bytes() for file in self.files}
        wanted = {folder / place(path): content for path, content in contents.items()}
        for path in folder.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()
        for path, content in wanted.items():
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return {str(path): hashlib.sha256(content).hexdigest() for path, content in sorted(contents.items())}


def build(folder: Path, root: Path = ROOT, *, jobs: str = "1") -> int:
    """Gather and build into `folder`; the exit code of Sphinx, 0 if there was nothing to complain about.

    The work of the last build is kept, of this repository in the cache folder for every clone (ASYA_CACHE), else beside `folder`. A page is
    read again if it has changed, and written again if it or something that it links to has; all are if the navigation has, which every page
    shows. Nothing is kept of a build that failed or was cut short, since complaints come only when a page is read or written. Builds into
    one folder wait for each other. `jobs` is how many processes read and write at a time, or ``auto``: as many as there are cores, for
    somewhat more work in all.
    """
    work = _cache() / "site" if root == ROOT else folder.with_name(f"{folder.name}-work")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gathered, good = Gathering(root), work / "good"
        inputs = {"programs": _programs(), "outline": gathered.outline(), "files": gathered.write(work / "source")}
        known = _known(good)
        if known != inputs:
            _forget(work, known, inputs, gathered)
            good.unlink(missing_ok=True)
            words = ["-b", "html", "-W", "--keep-going", "-q", "-j", jobs, "-c", str(SETTINGS.parent), "-d", str(work / "trees")]
            environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PYTHONWARNINGS": ""}
            command = [sys.executable, "-m", "sphinx", *words, str(work / "source"), str(work / "site")]
            code = subprocess.run(command, env=environment, check=False).returncode
            if code != 0:
                return code
            good.write_text(json.dumps(inputs), encoding="utf-8")
        _copy(work / "site", folder)
    return 0


def _known(good: Path) -> dict[str, Any]:
    """What the last build was made of; nothing if there is none, or if an older version of this program wrote of it."""
    try:
        found = json.loads(good.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _forget(work: Path, known: dict[str, Any], inputs: dict[str, Any], gathered: Gathering) -> None:
    """Take away what must be made again: Sphinx writes a page that is not there, and all that it has read anew."""
    if known.get("programs") != inputs["programs"]:
        shutil.rmtree(work / "trees", ignore_errors=True)
    before, now = known.get("files", {}), inputs["files"]
    same = all(known.get(what) == inputs[what] for what in ("programs", "outline")) and before.keys() == now.keys()
    if not same:
        shutil.rmtree(work / "site", ignore_errors=True)
        return
    for page in gathered.showing({path for path, digest in now.items() if before[path] != digest}):
        (work / "site" / place(page)).with_suffix(".html").unlink(missing_ok=True)


def _cache() -> Path:
    return Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya")


def _programs() -> str:
    """A digest of what makes the site of its pages: programs, settings, and what is shown beside them."""
    versions = [f"{name} {version(name)}" for name in PROGRAMS]
    digest = hashlib.sha256("\n".join([sys.version, *versions, _digest(SETTINGS.parent, but=(".py", ".pyc"))]).encode())
    for file in (SETTINGS, ROOT / "pyproject.toml"):  # the settings read the version from there
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(folder: Path, *, but: tuple[str, ...] = ()) -> str:
    """Of all files below `folder`, their names and contents, but those with one of these suffixes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in but:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _copy(site: Path, folder: Path) -> None:
    """Make `folder` the same as `site`; files that are the same stay as they are."""
    wanted = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder) not in wanted:
            path.unlink()
    for path in wanted:
        if not (folder / path).is_file() or not filecmp.cmp(site / path, folder / path, shallow=False):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(site / path, folder / path)


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SITE
    code = build(target, jobs="auto")
    print(f"site: {target / 'index.html'}" if code == 0 else "site: the pages above must be corrected", file=sys.stderr)
    sys.exit(code)
