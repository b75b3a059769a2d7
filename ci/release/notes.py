"""What a release tells its users: the changelog's new section, by towncrier, from the fragments in changelog.d.

Called by `making` and `following`. towncrier reads its settings from pyproject.toml. A draft leaves the fragments where they are; `write`,
for the commit after a release, removes them.
"""

import subprocess
import sys
from pathlib import Path

from ci.release.refusal import Refused

__all__ = ["changelog", "section", "write"]

MARK = "<!-- towncrier release notes start -->\n"


def section(folder: Path, version: str, date: str) -> str:
    """Markdown of this version alone, beginning with its heading. `date` is YYYY-MM-DD."""
    return _towncrier(folder, "--draft", "--version", version, "--date", date).strip() + "\n"


def changelog(folder: Path, version: str, date: str) -> str:
    """The whole CHANGELOG.md with this version on top, as `write` would leave it."""
    file = folder / "CHANGELOG.md"
    text = file.read_text(encoding="utf-8")
    if MARK not in text:
        raise Refused(f"{file.name} has no line {MARK.strip()}; versions are put behind it")
    head, old = text.split(MARK)
    return f"{head}{MARK}\n{section(folder, version, date)}{old}"


def write(folder: Path, version: str, date: str) -> None:
    """Put this version into CHANGELOG.md and remove its fragments."""
    _towncrier(folder, "--yes", "--version", version, "--date", date)


def _towncrier(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "towncrier", "build", "--dir", str(folder), "--config", str(folder / "pyproject.toml"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"towncrier: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return done.stdout
