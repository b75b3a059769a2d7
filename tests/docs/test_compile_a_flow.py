"""docs/how-to/compile-a-flow.md and examples/flows/README.md: their commands, and what they print and write."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import ROOT, asya_words, blocks, commands

COMPILE, IMAGE, RUN, DOCUMENT = blocks("docs/how-to/compile-a-flow.md")
needs_dot = pytest.mark.skipif(shutil.which("dot") is None and not os.environ.get("CI"), reason="Graphviz is not installed: ci/tools.sh")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder beside `examples`, in which the commands are typed."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def asya(line: str, folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """As a shell would, with its patterns of files."""
    words = [file for word in asya_words(line) for file in (sorted(map(str, folder.glob(word))) if "*" in word else [word])]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}
    return forked.run_text([*words, *more], cwd=folder, env=variables)


@needs_dot
def test_compile_prints_what_the_page_says_and_its_values_run(folder: Path) -> None:
    (line,) = commands(COMPILE)
    assert asya(line, folder).stdout.splitlines() == COMPILE.text.splitlines()[1:]
    assert asya(line, folder, "--stubs").returncode == 0
    (run,) = commands(RUN)
    done = asya(run, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"] == "A: 3"


def test_image_of_the_page_copies_the_file_that_its_command_imports(folder: Path) -> None:
    copied = [shlex.split(line)[1:] for line in IMAGE.text.splitlines() if line.startswith("COPY ")]
    assert copied == [["compiled/routers.py", "/app/routers.py"]]
    assert asya(commands(COMPILE)[0].replace(" --plot", ""), folder).returncode == 0
    (line,) = (line for line in IMAGE.text.splitlines() if line.startswith("CMD "))
    words = json.loads(line.removeprefix("CMD "))
    assert words[:2] == ["python3", "-c"]
    command = [sys.executable, "-B", "-c", words[2]]
    done = subprocess.run(command, cwd=folder / "compiled", env={}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Routers loaded\n"


def test_document_for_scripts_has_the_members_of_the_page(folder: Path) -> None:
    (folder / "flow.py").write_text("def flow(p):\n    p = h(p['a'])\n    return p\n", encoding="utf-8")
    done = asya("asya flow validate flow.py --output json", folder)
    document = json.loads(done.stdout)
    assert all(f'"{member}":' in DOCUMENT.text for member in document)
    assert document["diagnostics"][0].keys() >= {"code", "severity", "line", "message"}


@needs_dot
def test_commands_of_the_flows_readme_work(folder: Path) -> None:
    run, compile_ = (line for block in blocks("examples/flows/README.md") for line in commands(block))
    done = asya(run, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((ROOT / "examples/flows/expected/etl_orders.json").read_text(encoding="utf-8"))
    assert asya(compile_, folder).returncode == 0
    assert (folder / "compiled" / "flow.png").is_file()
