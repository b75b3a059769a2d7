"""`asya mcp` against a real gateway and real actors, all started by ``asya run --serve --gateway``."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import forked

WAIT = 60
HANDLERS = """
import os
import time

def process(payload):
    return {"text": payload["text"], "processed": payload["text"].upper(), "length": len(payload["text"])}

def boom(payload):
    raise ValueError("Missing required_field")

def many(payload):
    return [n * n for n in range(payload["n"])]

def wait(payload):
    while "until" in payload and not os.path.exists(payload["until"]):
        time.sleep(0.01)
    return payload
"""
TOOLS = """
tools:
  text-processor:
    description: Upper-cases a text and counts its characters
    actor: text-processor
    inputSchema:
      type: object
      properties: {text: {type: string, description: The text}, times: {type: integer}}
      required: [text]
      additionalProperties: false
  boom: {description: Always fails, actor: boom}
  many: {description: Squares, actor: many, inputSchema: {type: object, properties: {n: {type: integer}}, required: [n]}}
  two: {description: Two actors, route: [wait, text-processor]}
"""


LIST = """
asya mcp list
"""
CALL = """
asya mcp call text-processor --text="hello world"
"""
OUTPUT = """
[.] Envelope ID: abc-123
Processing: 100% |████████████████| , succeeded
{
  "result": {
    "text": "hello world",
    "processed": "HELLO WORLD",
    "length": 11
  }
}
"""


@pytest.fixture
def end_of_wait(tmp_path: Path) -> Iterator[Path]:
    """The handler `wait` returns when this file is there: at the end of the test."""
    path = tmp_path / "end"
    yield path
    path.touch()


@dataclass(frozen=True)
class Served:
    url: str
    folder: Path

    def asya(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return forked.run_text(["mcp", *arguments], cwd=self.folder, env=self.environment(**more))

    def environment(self, **more: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        return clean | {"ASYA_CLI_MCP_URL": self.url, "NO_COLOR": "1"} | more


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    for name in ("actors", "tools"):
        (folder / name).mkdir()
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "tools" / "tools.yaml").write_text(TOOLS)
    for name, function in {"text-processor": "process", "boom": "boom", "many": "many", "wait": "wait"}.items():
        (folder / "actors" / f"{name}.yaml").write_text(f"handler: handlers.{function}\n")
    words = ["-m", "asya_cli", "run", str(folder), "--serve", "--gateway", "--port", "0"]
    process = forked.start(words, env=Served("", folder).environment(), imports=("asya_gateway",))
    assert process.stderr is not None
    said = []
    for text in process.stderr:
        said.append(text)
        if "Gateway at" in text:
            break
    match = re.search(r"Gateway at (\S+),", said[-1])
    assert match, "".join(said)
    drained = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    yield Served(match[1] + "/", folder)
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == 0
    process.stderr.close()
    drained.wait(WAIT)


def test_list_shows_name_description_and_arguments(served: Served) -> None:
    done = served.asya("list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"NAME +DESCRIPTION +ARGUMENTS", lines[0])
    assert any(re.fullmatch(r"text-processor +Upper-cases a text and counts its characters +text\* times", each) for each in lines)


@pytest.mark.behaviour("mcp:quick-start")
def test_call_prints_what_the_quick_start_prints(served: Served) -> None:
    program, group, *words = shlex.split(CALL)
    assert (program, group) == ("asya", "mcp")
    done = served.asya(*words)
    assert done.returncode == 0, done.stderr
    first, last = done.stderr.splitlines()
    identity, bar, result = OUTPUT.strip().split("\n", 2)
    assert re.sub(r"[0-9A-Z]{26}$", "abc-123", first) == identity
    assert last == bar
    assert done.stdout == f"{result}\n"


def test_tool_is_listed_by_the_printed_command(served: Served) -> None:
    assert "\ntext-processor " in served.asya(*shlex.split(LIST)[2:]).stdout


def test_terminal_gets_a_bar_that_ends_the_same(served: Served) -> None:
    ours, theirs = pty.openpty()
    process = forked.start(
        ["-m", "asya_cli", "mcp", "call", "text-processor", "--text=x"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=served.environment(TERM="xterm", COLUMNS="100"),
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], WAIT)[0]:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.stdout is not None
    assert json.loads(process.stdout.read())["result"]["processed"] == "X"
    process.stdout.close()
    assert process.wait(WAIT) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert plain.splitlines()[-1].strip() == "Processing: 100% |████████████████| , succeeded"


def test_output_json_is_one_document(served: Served) -> None:
    done = served.asya("call", "text-processor", "--text=x", "--output", "json")
    view = json.loads(done.stdout)
    assert (view["status"], view["result"]["length"], view["tool"]) == ("succeeded", 1, "text-processor")


def test_failure_prints_the_error_and_exits_1(served: Served) -> None:
    done = served.asya("call", "boom", "--anything=x")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["type"], error["message"], error["actor"]) == (
        "handler_error",
        "ValueError",
        "Missing required_field",
        "boom",
    )
    lines = done.stderr.splitlines()
    assert lines[1].endswith("| , failed")
    assert lines[2] == "[-] ValueError in boom: Missing required_field"
    assert lines[3].startswith("    hint: ")


def test_record_of_a_failed_call_has_the_traceback(served: Served) -> None:
    done = served.asya("call", "boom", "--anything=x", "--output", "json")
    with urllib.request.urlopen(f"{served.url}envelopes/{json.loads(done.stdout)['id']}/record", timeout=WAIT) as answer:
        record = json.load(answer)
    assert "raise ValueError" in record["error"]["traceback"]


def test_fan_out_gives_the_list_of_results(served: Served) -> None:
    done = served.asya("call", "many", "--n=4")
    assert json.loads(done.stdout) == {"result": [0, 1, 4, 9]}, done.stderr


def test_help_of_a_tool_comes_from_its_schema(served: Served) -> None:
    done = served.asya("call", "text-processor", "--help")
    assert done.returncode == 0
    assert "--text TEXT" in done.stdout
    assert "The text" in done.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["call", "text-processor", "--text=x", "--times=x"], 2),
        (["call", "text-processor"], 2),
        (["call", "text-processor", "--txt=x"], 2),
        (["call"], 2),
        (["call", "text-procesor", "--text=x"], 4),
        (["status", "01NOSUCH"], 4),
    ],
)
def test_mistake_is_two_lines_and_a_code(served: Served, words: list[str], code: int) -> None:
    done = served.asya(*words)
    assert (done.returncode, done.stdout) == (code, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[-] ")
    assert lines[1].startswith("    hint: ")


def test_gateway_that_is_down_is_exit_3(served: Served) -> None:
    done = served.asya("list", ASYA_CLI_MCP_URL="http://127.0.0.1:9")
    assert done.returncode == 3
    first, second = done.stderr.splitlines()
    assert first == "[-] Gateway http://127.0.0.1:9 unreachable: connection refused"
    assert second.startswith("    hint: ")


def test_no_wait_then_status_then_wait(served: Served) -> None:
    done = served.asya("call", "text-processor", "--json", '{"text": "later"}', "--no-wait")
    told = json.loads(done.stdout)
    assert set(told) == {"id", "status"}
    waited = served.asya("status", told["id"], "--wait")
    assert json.loads(waited.stdout)["result"]["processed"] == "LATER"
    assert json.loads(served.asya("status", told["id"]).stdout)["status"] == "succeeded"


def test_timeout_leaves_the_envelope_running_and_cancel_ends_it(served: Served, end_of_wait: Path) -> None:
    done = served.asya("call", "two", "--json", json.dumps({"until": str(end_of_wait), "text": "x"}), "--timeout", "2s")
    assert done.returncode == 5
    match = re.search(r"Envelope ID: (\w+)", done.stderr)
    assert match
    assert "goes on" in done.stderr
    cancelled = served.asya("cancel", match[1])
    assert (cancelled.returncode, json.loads(cancelled.stdout)["status"]) == (0, "cancelled")
    assert served.asya("status", match[1]).returncode == 1


def test_interrupted_call_says_how_to_go_on(served: Served, end_of_wait: Path) -> None:
    process = forked.start(
        ["-m", "asya_cli", "mcp", "call", "two", "--json", json.dumps({"until": str(end_of_wait), "text": "x"})],
        stdout=subprocess.PIPE,
        env=served.environment(),
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    envelope_id = first.split()[-1]
    assert (process.returncode, out) == (130, "")
    assert f"[-] Interrupted; envelope {envelope_id} goes on" in err
    assert f"asya mcp cancel {envelope_id}" in err
    served.asya("cancel", envelope_id)
