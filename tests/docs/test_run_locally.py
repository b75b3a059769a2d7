"""docs/how-to/run-locally.md: its commands do what it says, with the embedded transport; python/cli/tests/process has the brokers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.docs.pages import ROOT, asya_words, blocks, commands

BLOCKS = blocks("docs/how-to/run-locally.md")
ONCE, SERVED = (
    next(commands(block) for block in BLOCKS if commands(block) and begin in commands(block)[0])
    for begin in ('--input \'{"text": "hello"}\'', "--serve")
)
RUN = next(block for block in BLOCKS if block.info == "yaml").text
WAIT = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project that the page draws, and beside it the payload of its commands."""
    project, example = tmp_path / "my-project", ROOT / "examples" / "text-analysis"
    (project / "actors").mkdir(parents=True)
    for name in ("clean-text", "tokenize"):
        shutil.copy(example / "actors" / f"{name}.yaml", project / "actors")
    (project / "src").mkdir()
    shutil.copy(example / "text_handlers.py", project / "src")
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (project / "asya.yaml").write_text(RUN, encoding="utf-8")
    (tmp_path / "payload.json").write_text('{"text": "hello"}', encoding="utf-8")
    return tmp_path


def variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}


def asya(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = asya_words(command)
    assert words is not None
    if "|" not in command:
        return forked.run_text(words, cwd=folder, env=variables())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=variables() | {"PATH": path}, capture_output=True, text=True, timeout=WAIT, check=False
    )


def test_one_envelope_passes_the_route_of_the_project_or_of_the_command(folder: Path) -> None:
    whole, one, piped = ONCE
    assert json.loads(asya(whole, folder).stdout) == {"text": "hello", "cleaned_text": "hello", "tokens": ["hello"], "word_count": 1}
    assert json.loads(asya(one, folder).stdout) == {"text": "hello", "cleaned_text": "hello"}
    assert json.loads(asya(piped, folder).stdout)["payload"]["word_count"] == 1
    assert not list(folder.glob("my-project/.asya/run/*")), "nothing is left behind"


def test_project_that_is_kept_up_takes_envelopes_of_another_terminal(folder: Path) -> None:
    serve, attach = SERVED
    words = asya_words(serve)
    process = forked.start(["-m", "asya_cli", *words], cwd=folder, env=variables(), stderr=subprocess.PIPE)
    try:
        said = []
        while sum("is ready" in line for line in said) < 2:
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        done = asya(attach, folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["word_count"] == 1
    finally:
        process.terminate()
        assert process.wait(WAIT) == 0
        process.stderr.close()
