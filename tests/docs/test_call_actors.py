"""docs/how-to/call-actors.md: actors served with a gateway, and the page's commands, client and addresses against it, by another port."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import ROOT, asya_words, blocks, commands

PAGE = "docs/how-to/call-actors.md"
BLOCKS = blocks(PAGE)
LINES = [line for block in BLOCKS for line in commands(block)]
SERVE, LIST, CALL = LINES[0], "asya mcp list", next(line for line in LINES if line.startswith("asya mcp call text-analysis "))
PRINTED = "http://127.0.0.1:8080"
WAIT = 60


def variables(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | more


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The gateway of the page's first command."""
    process = forked.start(["-m", "asya_cli", *asya_words(SERVE), "--port", "0"], cwd=ROOT, env=variables())
    said = []
    while not (found := re.search(r"Gateway at (http://127\.0\.0\.1:\d+)", said[-1] if said else "")):
        said.append(process.stderr.readline())
        assert said[-1], "".join(said)
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    yield found[1]
    process.terminate()
    assert process.wait(WAIT) == 0
    process.stderr.close()
    drain.wait(WAIT)


def asya(line: str, address: str) -> "subprocess.CompletedProcess[str]":
    return forked.run_text(asya_words(line), cwd=ROOT, env=variables(ASYA_CLI_MCP_URL=address))


def test_readme_serves_and_lists_by_the_same_commands() -> None:
    readme = [line.removeprefix(".venv/bin/") for block in blocks("README.md") for line in commands(block)]
    assert {SERVE, LIST} <= set(readme)
    assert {SERVE.replace("text-analysis", "quickstart")} <= {
        line for block in blocks("examples/quickstart/README.md") for line in commands(block)
    }


def test_list_names_the_route_of_the_project(address: str) -> None:
    done = asya(LIST, address)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("text-analysis ") for line in done.stdout.splitlines())


def test_call_prints_what_the_page_says(address: str) -> None:
    done = asya(CALL, address)
    assert done.returncode == 0, done.stderr
    printed = next(block for block in BLOCKS if block.text.startswith("[.] Envelope ID"))
    assert [re.sub(r"\b[0-9A-Z]{26}\b", "ID", line) for line in done.stderr.splitlines()] == [
        re.sub(r"\b[0-9A-Z]{26}\b", "ID", line) for line in printed.text.splitlines()
    ]
    assert json.loads(done.stdout)["result"]["sentiment"] == "positive"


def test_long_call_is_followed_by_its_id(address: str) -> None:
    begin, status, wait, cancel = (line for block in BLOCKS for line in commands(block) if re.search(r"--no-wait|status|cancel", line))
    done = asya(begin.replace("TOOL", "text-analysis").replace("…", "--text=hello"), address)
    identity = json.loads(done.stdout)["id"]
    assert asya(status.replace("ID", identity), address).returncode in (0, 1)
    assert asya(wait.replace("ID", identity), address).returncode == 0
    assert "had succeeded before" in asya(cancel.replace("ID", identity), address).stderr


def test_official_client_gets_the_structured_result(address: str, tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.info == "python")
    (tmp_path / "client.py").write_text(block.text.replace(PRINTED, address), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "client.py"], cwd=tmp_path, env=variables(), capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'cleaned_text': 'hello'" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None and not os.environ.get("CI"), reason="curl is not installed: apt-get install curl")
def test_curl_calls_and_follows(address: str) -> None:
    call, follow = (line for line in LINES if line.startswith("curl "))
    done = subprocess.run(["bash", "-c", call.replace(PRINTED, address)], capture_output=True, text=True, timeout=WAIT, check=True)
    view = json.loads(done.stdout)
    assert view["status"] == "succeeded"
    follow = follow.replace(PRINTED, address).replace("/ID/", f"/{view['id']}/")
    events = subprocess.run(["bash", "-c", follow], capture_output=True, text=True, timeout=WAIT, check=True).stdout
    assert "event: final" in events
