"""Machine instructions of the pure hot parts, counted by callgrind: equal to the last digit from run to run."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.counts.conftest import Counts
from tests.counts.parts import NAMES

TURNS = 50
PARTS = Path(__file__).with_name("parts.py")


def test_pure_parts_take_no_more_instructions_than_their_baselines(tmp_path: Path, counts: Counts, need_tool: Callable[[str], str]) -> None:
    profile = tmp_path / "profile"
    command = [need_tool("setarch"), "-R", need_tool("valgrind"), "--tool=callgrind", "--dump-before=getloadavg"]
    command += [f"--callgrind-out-file={profile}", sys.executable, str(PARTS), str(TURNS)]
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for index, name in enumerate(NAMES):
        # Dumps 3i+1, 3i+2, 3i+3: what came before the part, its turns, twice its turns.
        once, twice = (_total(tmp_path / f"profile.{3 * index + dump}") for dump in (2, 3))
        counts.check(f"instructions {name}", (twice - once) / TURNS, percent=5, exact_platform=True)


def _total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
    assert found, path
    return int(found[1])
