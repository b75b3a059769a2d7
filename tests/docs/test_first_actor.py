"""docs/tutorials/first-actor.md: its files, commands and outputs are true."""

import json
import os
import re
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import asya_words, blocks, commands

PYTHON, YAML, SHELL = (
    [block for block in blocks("docs/tutorials/first-actor.md") if block.info == info] for info in ("python", "yaml", "text")
)
RUN, ROUTE = (commands(block)[0] for block in SHELL)
CHANGING = re.compile(r"[0-9A-Z]{26}|[0-9.]+ ms")


@pytest.fixture
def run(tmp_path: Path):
    """The folder that the page makes; runs a command as printed."""
    for name in ("src", "actors"):
        (tmp_path / "hello" / name).mkdir(parents=True)
    (tmp_path / "hello" / "src" / "text_processor.py").write_text(PYTHON[0].text, encoding="utf-8")
    (tmp_path / "hello" / "actors" / "text-processor.yaml").write_text(YAML[0].text, encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}
    return lambda command: forked.run_text(asya_words(command), cwd=tmp_path, env=variables)


def test_handler_is_plain_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, object] = {}
    exec(PYTHON[0].text, space)
    test = PYTHON[1].text.removeprefix("from src.text_processor import process\n")
    assert test != PYTHON[1].text
    exec(test, space)


def test_run_prints_what_the_page_says(run) -> None:
    done = run(RUN)
    assert done.returncode == 0, done.stderr
    printed = SHELL[0].text.splitlines()[1:]
    assert done.stdout.splitlines() == printed[-5:]
    assert [CHANGING.sub("…", line) for line in done.stderr.splitlines()] == [CHANGING.sub("…", line) for line in printed[:-5]]


def test_exception_is_a_traceback_and_one_line(run, tmp_path: Path) -> None:
    (tmp_path / "hello" / "src" / "text_processor.py").write_text(
        "def process(payload):\n    raise ValueError('broken')\n", encoding="utf-8"
    )
    done = run(RUN)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ValueError: broken" in done.stderr


def test_misspelt_handler_names_what_is_near(run, tmp_path: Path) -> None:
    file = tmp_path / "hello" / "actors" / "text-processor.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("text_processor.process", "text_processor.proces"), encoding="utf-8")
    done = run(RUN)
    assert done.returncode == 2
    assert "did you mean 'src.text_processor.process'?" in done.stderr


def test_route_passes_both_actors(run, tmp_path: Path) -> None:
    (tmp_path / "hello" / "src" / "second.py").write_text(
        "def process(payload):\n    return {**payload, 'second': True}\n", encoding="utf-8"
    )
    (tmp_path / "hello" / "actors" / "second.yaml").write_text("handler: src.second.process\n", encoding="utf-8")
    done = run(ROUTE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "hello world", "processed": "HELLO WORLD", "length": 11, "second": True}
