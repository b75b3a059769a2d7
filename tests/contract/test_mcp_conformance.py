"""The official MCP conformance suite against a running gateway with real actors; what it does not pass is listed with a reason each."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parent / "mcp_actors"
ROOT = Path(__file__).parents[2]
BASELINE: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / "baseline.yaml").read_text(encoding="utf-8"))
SCOPE = {"handshake": ["--suite", "active"], "newest": ["--requirements", "2026-07-28"]}
WAIT = 100


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_") or name == "ASYA_CACHE"}


@pytest.fixture(scope="module")
def suite() -> Path:
    done = subprocess.run([ROOT / "ci" / "mcp_suite.sh"], capture_output=True, text=True, timeout=110, check=False, env=environment())
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(done.stderr)
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("conformance") / "mcp_actors"
    subprocess.run(["cp", "-r", FOLDER, folder], check=True)
    command = [sys.executable, "-m", "asya_cli", "run", str(folder), "--serve", "--gateway", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment())
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "Gateway at" in line:
            break
    match = re.search(r"MCP at (\S+);", said[-1])
    assert match, "".join(said)
    rest = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    yield match[1]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stderr.close()
    rest.wait(10)


@pytest.mark.slow
@pytest.mark.behaviour("gateway:mcp:conformance")
@pytest.mark.parametrize("name", sorted(SCOPE))
def test_every_applicable_scenario_passes(suite: Path, url: str, name: str, tmp_path: Path) -> None:
    tools = suite / name / "node_modules" / ".bin"
    done = subprocess.run(
        [tools / "node", tools / "conformance", "server", "--url", url, *SCOPE[name], "-o", tmp_path],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env=environment() | {"PATH": f"{tools}:{os.environ['PATH']}"},
    )
    summary = done.stdout.partition("=== SUMMARY ===")[2].partition("Total:")[0]
    results = {scenario: mark for mark, scenario in re.findall(r"([✓✗]) (\S+):", summary)}
    failed = {scenario for scenario, mark in results.items() if mark == "✗"}
    assert len(results) > 25, done.stdout + done.stderr
    assert failed == set(BASELINE[name]), summary


def test_every_exception_has_a_reason() -> None:
    for scenarios in BASELINE.values():
        assert all(isinstance(reason, str) and len(reason) > 10 for reason in scenarios.values())
