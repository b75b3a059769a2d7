"""Every example of examples/*/ that has actors runs as its README says and gives exactly its expect.json."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
GITOPS = "gitops"
"""A repository for Argo CD and Flux, whose actors are a folder deeper: tests/charts/test_gitops_example.py."""
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "actors").is_dir() and folder.name != GITOPS)
WAIT = 60


def run(*command: str, cwd: Path = EXAMPLES.parent) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, cwd=cwd, env=environment, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_example_gives_its_expected_payload(name):
    done = run(sys.executable, "-m", "asya_cli", "run", f"examples/{name}", "--input", f"@examples/{name}/input.json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((EXAMPLES / name / "expect.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_example_has_a_readme_that_names_its_run(name):
    assert f"asya run examples/{name} " in (EXAMPLES / name / "README.md").read_text(encoding="utf-8")


def test_demo_prints_the_result_of_the_call_and_tells_the_rest():
    done = run("ci/demo.sh")
    assert done.returncode == 0, done.stderr
    expected = json.loads((EXAMPLES / "flows/expected/text_analysis_flow.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == {"result": expected}
    assert "[+] Successfully compiled flow to: .asya/demo/routers.py" in done.stderr
    assert "text_analysis_flow  Clean a text" in done.stderr
    assert "Processing: 100% |████████████████| , succeeded" in done.stderr


def test_route_of_the_issue_keeps_the_text_and_finds_the_language():
    route = "clean-text,tokenize,detect-language"
    done = run(
        sys.executable, "-m", "asya_cli", "run", "examples/text-analysis", "--route", route, "--input", '{"text": "  Hello World  "}'
    )
    payload = json.loads(done.stdout)
    assert payload["text"] == "  Hello World  "
    assert payload["cleaned_text"] == "Hello World"
    assert payload["language"] == "en"


def test_quickstart_dockerfile_and_handler_path_agree(tmp_path):
    """What the Dockerfile copies to /app is enough for its CMD and for the handler of the values file."""
    folder = EXAMPLES / "quickstart"
    text = (folder / "Dockerfile").read_text(encoding="utf-8")
    for source, target in re.findall(r"^COPY (\S+) /app/(\S*)$", text, re.MULTILINE):
        shutil.copytree(folder / source, tmp_path / target)
    command = json.loads(re.search(r"^CMD (.+)$", text, re.MULTILINE)[1])
    assert run(sys.executable, *command[1:], cwd=tmp_path).stdout == "Handler loaded\n"
    handler = re.search(r"^handler: (.+)$", (folder / "actors" / "text-processor.yaml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    module, _, function = handler.rpartition(".")
    loaded = run(sys.executable, "-c", f"from {module} import {function}; print({function}({{'text': 'a'}}))", cwd=tmp_path)
    assert loaded.stdout == "{'text': 'a', 'processed': 'A', 'length': 1}\n"


def test_quickstart_handler_test_passes():
    assert run(sys.executable, "test_handler.py", cwd=EXAMPLES / "quickstart").returncode == 0
