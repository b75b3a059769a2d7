"""Every example of examples/*/ that has actors runs as its README says and gives exactly its expect.json."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import asya_words, blocks, commands

EXAMPLES = Path(__file__).parents[2] / "examples"
GITOPS = "gitops"
"""A repository for Argo CD and Flux, whose actors are a folder deeper: tests/charts/test_gitops_example.py."""
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "actors").is_dir() and folder.name != GITOPS)
WAIT = 60


def run(*command: str, cwd: Path = EXAMPLES.parent) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, cwd=cwd, env=environment, check=False)


def printed(name: str) -> list[list[str]]:
    """Arguments of every ``asya run`` that the README of an example prints and that ends by itself."""
    found = [asya_words(line) for block in blocks(f"examples/{name}/README.md") if block.tests for line in commands(block)]
    return [words for words in found if words and words[0] == "run" and "--serve" not in words]


README = next(asya_words(line) for block in blocks("README.md") for line in commands(block) if "--route" in line)
RUNS = [(name, words) for name in NAMES for words in printed(name) if words != README]


def test_every_readme_prints_a_run() -> None:
    assert {name for name, _ in RUNS} == set(NAMES)


@pytest.mark.parametrize(("name", "words"), RUNS, ids=[f"{name} {' '.join(words[2:])}" for name, words in RUNS])
def test_command_of_a_readme_gives_the_expected_payload(name, words):
    """The first one gives expect.json; the others, variants of it, a payload with the same members or some of them."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")}
    done = forked.run_text(words, cwd=EXAMPLES.parent, env=variables)
    assert done.returncode == 0, done.stderr
    given, expected = json.loads(done.stdout), json.loads((EXAMPLES / name / "expect.json").read_text(encoding="utf-8"))
    if words == printed(name)[0]:
        assert given == expected
    else:
        assert given.keys() <= expected.keys()


def test_demo_prints_the_result_of_the_call_and_tells_the_rest():
    done = run("ci/demo.sh")
    assert done.returncode == 0, done.stderr
    expected = json.loads((EXAMPLES / "flows/expected/text_analysis_flow.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == {"result": expected}
    assert "[+] Successfully compiled flow to: .asya/demo/routers.py" in done.stderr
    assert "text_analysis_flow  Clean a text" in done.stderr
    assert "Processing: 100% |████████████████| , succeeded" in done.stderr


def test_first_command_of_the_readme_cleans_the_text_and_finds_the_language():
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")}
    payload = json.loads(forked.run_text(README, cwd=EXAMPLES.parent, env=variables).stdout)
    assert payload["text"] == "  Hello World  "
    assert payload["cleaned_text"] == "Hello World"
    assert payload["language"] == "en"


def test_handler_of_the_readme_and_of_the_page_on_enrichment_keep_what_they_are_given():
    for page, added in (("README.md", {"processed": "A B", "length": 3}), ("docs/explanation/payload-enrichment.md", {"word_count": 2})):
        (block,) = (block for block in blocks(page) if block.info == "python")
        space: dict = {}
        exec(block.text, space)
        assert space["process"]({"text": "a b", "other": 1}) == {"text": "a b", "other": 1} | added, page


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
