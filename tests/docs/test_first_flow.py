"""docs/tutorials/first-flow.md: its files, commands and outputs are true."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import asya_words

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "first-flow.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SHELL = {block.splitlines()[0].removeprefix("$ "): block.splitlines()[1:] for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)}
WAIT = 60


@pytest.fixture
def run(tmp_path):
    (tmp_path / "orders.py").write_text(PYTHON[0], encoding="utf-8")
    (tmp_path / "basket.py").write_text(PYTHON[2], encoding="utf-8")
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}

    return lambda command: forked.run_text(asya_words(command), cwd=tmp_path, env=variables)


def command(begin: str) -> str:
    return next(one for one in SHELL if one.startswith(begin))


def actors(lines: list[str]) -> list[str]:
    """The column ACTOR of a table of hops."""
    return [words[1] for words in map(str.split, lines) if len(words) > 5 and words[0].isdigit()]


def test_flow_is_plain_python(run, tmp_path):
    (tmp_path / "try.py").write_text(PYTHON[1], encoding="utf-8")
    subprocess.run([sys.executable, "-B", "try.py"], cwd=tmp_path, check=True, timeout=WAIT)


def test_run_passes_the_printed_actors_and_gives_the_printed_payload(run):
    line = command("asya run")
    done = run(line)
    assert done.returncode == 0, done.stderr
    assert actors(done.stderr.splitlines()) == actors(SHELL[line])
    assert done.stdout.splitlines() == SHELL[line][-len(done.stdout.splitlines()) :]
    assert json.loads(done.stdout)["to_pay"] == 120


@pytest.mark.skipif(shutil.which("dot") is None and not os.environ.get("CI"), reason="Graphviz is not installed: ci/tools.sh")
def test_compile_prints_what_the_page_says(run):
    line = command("asya flow compile")
    assert run(line).stdout.splitlines() == SHELL[line]


def test_mistake_of_the_page_is_told_as_printed(run, tmp_path):
    file = tmp_path / "orders.py"
    file.write_text(file.read_text(encoding="utf-8").replace("p = price(p)", 'p = price(p["items"])', 1), encoding="utf-8")
    line = command("asya flow validate")
    done = run(line)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == SHELL[line]


def test_loop_of_the_page_compiles(run):
    assert run("asya flow validate basket.py").stdout == "[+] Flow is valid: basket_flow\n"
