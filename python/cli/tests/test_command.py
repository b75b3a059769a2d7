"""The command tree, exit codes, imports, talk; and the pages that are made from them."""

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest

import asya_core
from asya_cli.errors import Failed, Interrupted, TimedOut, nearest
from asya_cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from asya_cli.main import COMMANDS, asya
from asya_cli.run.imports import files_of
from asya_core.wire.errors import AsyaError, Bug, Refused, RemoteFault, Unavailable

PACKAGE = Path(__file__).parents[1] / "asya_cli"
DOCS = Path(__file__).parents[3] / "docs" / "reference"


def help_of(command: click.Command, name: str) -> str:
    return command.get_help(click.Context(command, info_name=name, max_content_width=100, terminal_width=100, **command.context_settings))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("x", "x"), 1),
        (RemoteFault("x", "x"), 2),
        (Unavailable("x", "x"), 3),
        (Refused("x", "x"), 4),
        (TimedOut("x", "x"), 5),
        (Bug("x", "x"), 70),
        (AsyaError("x", "x"), 70),
        (Interrupted("x", "x"), 130),
        (Interrupted("x", "x", terminated=True), 143),
    ],
)
def test_error_has_its_exit_code(error, code):
    assert exit_code_of(error) == code


def test_page_of_exit_codes_is_complete():
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in page


def test_page_of_the_command_holds_the_help_as_printed():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert help_of(asya, "asya") in page
    for name in COMMANDS:
        command = asya.get_command(click.Context(asya), name)
        assert command is not None
        assert help_of(command, f"asya {name}") in page
        for inner, each in getattr(command, "commands", {}).items():
            assert help_of(each, f"asya {name} {inner}") in page


def test_every_error_raised_in_the_command_has_a_hint():
    kinds = {"RemoteFault", "Unavailable", "Refused", "Bug", "Failed", "TimedOut", "Interrupted"}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                assert len(node.args) >= 3, f"{file.name}:{node.lineno} has no hint"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['asya', '--help']\ntry:\n    from asya_cli.__main__ import main; main()\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    loaded = set(done.stdout.split())
    assert "asya_cli.main" in loaded
    assert not loaded & {
        "asyncio",
        "jsonschema",
        "yaml",
        "rich",
        "httpx",
        "pika",
        "msgspec",
        "watchfiles",
        "asya_flowc",
        "asya_cli.commands.run",
        "asya_cli.commands.flow",
    }


def test_unknown_command_names_the_nearest():
    done = subprocess.run([sys.executable, "-m", "asya_cli", "rum"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["[-] No such command 'rum'; did you mean run?", '    hint: see "asya --help"']


def test_version_is_the_projects():
    done = subprocess.run([sys.executable, "-m", "asya_cli", "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"asya {asya_core.__version__}\n"


def test_nothing_near_lists_what_is_known():
    assert nearest("zzz", ["a", "b"]) == "known are: a, b"


def test_files_of_a_handler_follow_imports(tmp_path):
    (tmp_path / "pkg" / "inner").mkdir(parents=True)
    for name, text in {
        "app.py": "import json, pkg.tool\nfrom helper import x\n",
        "helper.py": "",
        "other.py": "",
        "pkg/__init__.py": "",
        "pkg/tool.py": "from .inner import deep\nfrom . import beside\n",
        "pkg/beside.py": "",
        "pkg/inner/deep.py": "def broken(:\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = {str(file.relative_to(tmp_path)) for file in files_of("app.Class.method", [tmp_path])}
    assert found == {"app.py", "helper.py", "pkg/__init__.py", "pkg/tool.py", "pkg/beside.py", "pkg/inner/deep.py"}
