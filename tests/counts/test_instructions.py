"""Machine instructions of the pure hot parts, counted by callgrind: equal to the last digit from run to run."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counts.conftest import Counts
from tests.counts.parts import NAMES

TURNS = 50
WAIT = 300
"""Seconds; it takes ten alone."""
PARTS = Path(__file__).with_name("parts.py")


@pytest.mark.timeout(2 * WAIT)
def test_pure_parts_take_no_more_instructions_than_their_baselines(tmp_path: Path, counts: Counts, need_tool: Callable[[str], str]) -> None:
    profile = tmp_path / "profile"
    command = [need_tool("setarch"), "-R", need_tool("valgrind"), "--tool=callgrind", "--dump-before=getloadavg"]
    command += [f"--callgrind-out-file={profile}", sys.executable, str(PARTS), str(TURNS)]
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    # What it imports is compiled by a run of its own: valgrind takes fifty times as long.
    subprocess.run([sys.executable, str(PARTS), "1"], env=environment, check=True, timeout=WAIT)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for index, name in enumerate(NAMES):
        # Dumps 3i+1, 3i+2, 3i+3: what came before the part, its turns, twice its turns.
        once, twice = (_total(tmp_path / f"profile.{3 * index + dump}") for dump in (2, 3))
        counts.check(f"instructions {name}", (twice - once) / TURNS, percent=5, exact_platform=True)


def _total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
    assert found, path
    return int(found[1])
