"""Baselines of the counts: benchmarks/counts.json. A count over its tolerance fails; the file changes in the same commit, with a reason.

``ASYA_COUNTS_UPDATE=1`` writes what was counted instead of checking it. Counts of instructions depend on the interpreter and msgspec, so a
baseline names them and counts only where they are the same; elsewhere such a test shows that counting works.
"""

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

COUNTS = Path(__file__).parents[2] / "benchmarks" / "counts.json"


class Counts:
    """The baselines."""

    def __init__(self) -> None:
        self.platform = f"{platform.machine()} python {platform.python_version()} msgspec {msgspec.__version__}"

    def check(self, name: str, counted: float, *, percent: float = 0.0, plus: float = 0.0, exact_platform: bool = False) -> None:
        """`counted` may be over the baseline by `percent` of it and by `plus`. One that is more than that below asks for a new baseline
        only in words, as fewer is better."""
        data: dict[str, Any] = json.loads(COUNTS.read_text())
        if os.environ.get("ASYA_COUNTS_UPDATE"):
            entry = {"value": round(counted, 2), **({"on": self.platform} if exact_platform else {})}
            data["counts"][name] = entry
            data["counts"] = dict(sorted(data["counts"].items()))
            COUNTS.write_text(json.dumps(data, indent=2) + "\n")
            return
        assert name in data["counts"], f"{name} has no baseline in {COUNTS.name}; run with ASYA_COUNTS_UPDATE=1 and say why in the commit"
        baseline = data["counts"][name]
        if exact_platform and baseline["on"] != self.platform:
            print(f"{name}: {counted:.2f} here ({self.platform}); the baseline is of {baseline['on']}")
            return
        limit = baseline["value"] * (1 + percent / 100) + plus
        assert counted <= limit, f"{name}: counted {counted:.2f}, baseline {baseline['value']}, limit {limit:.2f}"


@pytest.fixture(scope="session")
def counts() -> Counts:
    """The baselines."""
    return Counts()


@pytest.fixture(scope="session")
def need_tool() -> Any:
    """Skips a test whose tool is missing; fails it where CI is set."""

    def need(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            message = f"{name} is not installed: ci/tools.sh"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        return found

    return need
