"""Fixtures of the contract tests."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("ASYA_") and not name.startswith("ASYA_TEST_")]:
        monkeypatch.delenv(name)
    yield
    asyncio.set_event_loop(None)


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_") or name == "ASYA_CACHE"}


@pytest.fixture(scope="session")
def outside() -> Callable[[], dict[str, str]]:
    """The environment without settings of ours, for processes."""
    return _outside


@pytest.fixture(scope="session")
def mcp_suite() -> Path:
    """The folder of ci/mcp_suite.sh: what speaks MCP to a gateway, by name."""
    done = subprocess.run([ROOT / "ci" / "mcp_suite.sh"], capture_output=True, text=True, timeout=300, check=False, env=_outside())
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(done.stderr)
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def mcp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MCP address of a gateway with the real actors of mcp_actors/."""
    folder = tmp_path_factory.mktemp("mcp") / "mcp_actors"
    subprocess.run(["cp", "-r", Path(__file__).parent / "mcp_actors", folder], check=True)
    command = ["-m", "asya_cli", "run", str(folder), "--serve", "--gateway", "--port", "0"]
    process = forked.start(command, env=_outside(), imports=("asya_gateway",))
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
    assert process.wait(60) == 0
    process.stderr.close()
    rest.wait(60)
