"""Every fenced block of every page runs somewhere, or its page says why not; and what can be checked of any block is."""

import ast
import json
import re
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from asya_cli.main import asya
from asya_cli.run import values
from asya_operator import crd
from tests.docs.pages import ROOT, Block, all_blocks, asya_words, commands, functions_of

BLOCKS = list(all_blocks())
DYNAMIC = {("mcp", "call")}
"""Commands whose options come from a tool's schema."""
PLACES = re.compile(r"…|\.\.\.")


def of(info: str) -> list[Block]:
    return [block for block in BLOCKS if block.info == info]


def test_every_block_runs_or_says_why_not() -> None:
    silent = [str(block) for block in BLOCKS if not block.tests and not block.reason]
    assert silent == [], "say above each of these which test runs it, or why none does: tests/docs/pages.py tells how"


def test_a_block_that_says_nothing_is_found(tmp_path: Path) -> None:
    from tests.docs import pages

    page = tmp_path / "page.md"
    page.write_text(
        "# P\n\n<!-- this block does not run: a drawing -->\n```\na\n```\n\n```sh\nb\n```\n\n"
        "<!-- this block runs in x.py and y.py -->\n```sh\nc\n```\n"
    )
    first, second, third = pages.blocks(str(page))
    assert (first.reason, first.tests, first.line) == ("a drawing", (), 4)
    assert (second.reason, second.tests) == ("", ())
    assert third.tests == ("x.py", "y.py")


@pytest.mark.parametrize("place", sorted({place for block in BLOCKS for place in block.tests}))
def test_what_runs_a_block_is_there_and_names_its_page(place: str) -> None:
    file, _, name = place.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    if name:
        assert name in functions_of(file)
    for page in {block.page for block in BLOCKS if place in block.tests}:
        path = Path(page)
        words = path.parts[:-1] if path.name == "README.md" else (path.name,)
        assert any(word in text for word in words) or page == "README.md", f"{file} does not name {page}"


@pytest.mark.parametrize("reason", sorted({block.reason for block in BLOCKS if block.reason}))
def test_tests_that_a_reason_names_are_there(reason: str) -> None:
    for file in re.findall(r"[\w/-]+\.(?:py|sh)\b", reason):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


ACTOR = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_is_what_it_seems_to_be(block: Block) -> None:
    for document in yaml.safe_load_all(block.text):
        assert isinstance(document, dict | list)
        if isinstance(document, dict) and document.get("kind") == "AsyncActor":
            jsonschema.validate(document, ACTOR)
        if isinstance(document, dict) and "handler" in document:
            values.read(block.text, file=str(block))


def option_names(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("block", [block for block in BLOCKS if any(asya_words(line) for line in commands(block))], ids=str)
def test_commands_and_options_of_asya_are_there(block: Block) -> None:
    for line in commands(block):
        words = asya_words(line)
        if not words or PLACES.search(line):
            continue
        path: list[str] = []
        command: click.Command = asya
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            inner = command.get_command(click.Context(command), words[0])
            assert inner is not None, line
            path.append(words.pop(0))
            command = inner
        if tuple(path[:2]) in DYNAMIC:
            continue
        given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert given - option_names(command) == set(), line
