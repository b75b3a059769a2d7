"""Examples of formats on reference pages are read by the code whose format they show."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from asya_core.wire import envelope, frames
from asya_gateway.tools import read_tools
from tests import forked
from tests.docs.pages import ROOT, Block, asya_words, blocks, commands


def only(page: str, info: str) -> Block:
    (block,) = (block for block in blocks(page) if block.info == info)
    return block


def asya(line: str, folder: Path):
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")} | {"PYTHONDONTWRITEBYTECODE": "1"}
    return forked.run_text(asya_words(line), cwd=folder, env=variables)


@pytest.mark.parametrize(
    "block",
    [next(block for block in blocks("docs/reference/envelope.md") if block.info == "json"), only("docs/reference/results.md", "json")],
    ids=str,
)
def test_envelope_is_one(block: Block) -> None:
    read = envelope.parse(block.text.encode())
    given = json.loads(block.text)
    assert (read.id, list(read.route.actors)) == (given["id"], given["route"]["actors"])


def test_error_of_the_envelopes_page_has_the_members_of_a_record() -> None:
    _, block = (block for block in blocks("docs/reference/envelope.md") if block.info == "json")
    frame = frames.Frame(
        frames.Kind.ERROR,
        1,
        json.dumps({key: json.loads(block.text)[key] for key in ("code", "type", "mro", "message", "traceback")}).encode(),
    )
    assert frames.read_reply(frame).code == "handler_error"
    assert list(json.loads(block.text)) == ["code", "type", "mro", "message", "traceback", "actor", "attempt", "at"]


def test_frames_are_read_as_the_page_says() -> None:
    shown = [line for block in blocks("docs/reference/frames.md") for line in block.text.splitlines() if line.startswith("PAYLOADS")]
    reader = frames.FrameReader()
    found = list(reader.feed(b"".join(bytes.fromhex(line.removeprefix("PAYLOADS")) for line in shown)))
    replies = [frames.read_reply(frame) for frame in found]
    assert [(frame.call, reply.fan_out, list(reply.items)) for frame, reply in zip(found, replies, strict=True)] == [
        (1, False, [b'{"x":1,"y":2}']),
        (2, True, [b"1", b"2"]),
        (3, False, []),
    ]
    (call,) = (line for block in blocks("docs/reference/frames.md") for line in block.text.splitlines() if line.startswith("CALL"))
    message = b'{"id":"7","route":{"actors":["a","b"],"current":0},"payload":{"x":1}}'
    made = frames.encode_call(1, 300_000, message)
    head, _, tail = call.removeprefix("CALL").partition("…")
    assert made.startswith(bytes.fromhex(head))
    assert made.endswith(bytes.fromhex(tail))


@pytest.mark.parametrize("block", [only("docs/reference/gateway.md", "yaml"), only("docs/how-to/install-the-gateway.md", "yaml")], ids=str)
def test_tools_are_taken_by_the_gateway(block: Block) -> None:
    tool = read_tools({"tools.yaml": yaml.safe_load(block.text)}).tools["text-processor"]
    assert tool.route == ("text-processor",)


def test_mistake_on_the_page_of_exit_codes_is_told_as_printed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "llm-judge", tmp_path / "examples" / "llm-judge")
    file = tmp_path / "examples" / "llm-judge" / "actors" / "llm-judge.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("handlerMode:", "handlerMod:"), encoding="utf-8")
    done = asya("asya run examples/llm-judge --input '{}'", tmp_path)
    assert (done.returncode, done.stderr) == (2, only("docs/reference/exit-codes.md", "text").text)


def test_form_of_a_flow_is_printed_as_on_the_compilers_page(tmp_path: Path) -> None:
    block = only("docs/explanation/flow-compiler.md", "text")
    (tmp_path / "flow.py").write_text(
        "def flow(p):\n    p = clean(p)\n    if p['a']:\n        p['b'] = 1\n    return p\n", encoding="utf-8"
    )
    (line,) = commands(block)
    shown = block.text.partition("\n")[2]
    assert shown in asya(line, tmp_path).stderr
