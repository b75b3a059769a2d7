"""The official MCP conformance suite against a running gateway with real actors; what it does not pass is listed with a reason each."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parent / "mcp_actors"
BASELINE: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / "baseline.yaml").read_text(encoding="utf-8"))
SCOPE = {"handshake": ["--suite", "active"], "newest": ["--requirements", "2026-07-28"]}
WAIT = 100


@pytest.mark.slow
@pytest.mark.behaviour("gateway:mcp:conformance")
@pytest.mark.parametrize("name", sorted(SCOPE))
def test_every_applicable_scenario_passes(
    mcp_suite: Path, mcp_url: str, outside: Callable[[], dict[str, str]], name: str, tmp_path: Path
) -> None:
    tools = mcp_suite / name / "node_modules" / ".bin"
    done = subprocess.run(
        [tools / "node", tools / "conformance", "server", "--url", mcp_url, *SCOPE[name], "-o", tmp_path],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env=outside() | {"PATH": f"{tools}:{os.environ['PATH']}"},
    )
    summary = done.stdout.partition("=== SUMMARY ===")[2].partition("Total:")[0]
    results = {scenario: mark for mark, scenario in re.findall(r"([✓✗]) (\S+):", summary)}
    failed = {scenario for scenario, mark in results.items() if mark == "✗"}
    assert len(results) > 25, done.stdout + done.stderr
    assert failed == set(BASELINE[name]), summary


def test_every_exception_has_a_reason() -> None:
    for scenarios in BASELINE.values():
        assert all(isinstance(reason, str) and len(reason) > 10 for reason in scenarios.values())
