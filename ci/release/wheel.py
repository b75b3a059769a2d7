"""The wheel and the source distribution, the same bytes for the same commit. Called by `making`."""

import os
import subprocess
import sys
from pathlib import Path

from ci.release.refusal import Refused

__all__ = ["build"]


def build(folder: Path, into: Path, *, epoch: int) -> list[Path]:
    """Build both from a commit's files by the build backend at the version that ci/constraints.txt pins, which is in this environment.

    Raises:
        Refused: the backend failed; the last line of what it said.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(into), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise Refused(f"python -m build: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return sorted([*into.glob("*.whl"), *into.glob("*.tar.gz")])
