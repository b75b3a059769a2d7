"""A tool's schema as options, and words as arguments."""

import click
import pytest

from asya_cli.schema_options import arguments_of, arguments_text, converted, missing, tool_command

TOOL = {
    "name": "judge",
    "description": "Judges a text",
    "inputSchema": {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What is judged"},
            "count": {"type": "integer"},
            "threshold": {"type": "number", "default": 0.5},
            "strict": {"type": "boolean"},
            "level": {"enum": ["low", "high", 3]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object"},
            "maybe": {"type": ["string", "null"]},
            "odd name": {"type": "string"},
        },
        "required": ["text"],
        "additionalProperties": False,
    },
}
OPEN = {"name": "open", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["--text=hello world"], {"text": "hello world"}),
        (["--text", "hello"], {"text": "hello"}),
        (["--count=3"], {"count": 3}),
        (["--threshold=0.9"], {"threshold": 0.9}),
        (["--threshold=2"], {"threshold": 2}),
        (["--strict"], {"strict": True}),
        (["--no-strict"], {"strict": False}),
        (["--level=high"], {"level": "high"}),
        (["--level=3"], {"level": 3}),
        (["--tags=a", "--tags=b"], {"tags": ["a", "b"]}),
        (['--options={"a": [1]}'], {"options": {"a": [1]}}),
        (["--maybe=x"], {"maybe": "x"}),
        (["--text="], {"text": ""}),
        ([], {}),
    ],
)
def test_words_become_typed_arguments(words, arguments):
    assert arguments_of(TOOL, words) == arguments


@pytest.mark.parametrize(
    "words",
    [["--count=x"], ["--count=1.5"], ["--threshold=NaN"], ["--threshold=x"], ["--level=medium"], ["--options={"], ["--txt=x"], ["stray"]],
)
def test_what_does_not_convert_is_refused(words):
    with pytest.raises(click.UsageError):
        arguments_of(TOOL, words)


@pytest.mark.parametrize(
    ("words", "arguments"), [(["--a=1"], {"a": "1"}), (["--a", "b c"], {"a": "b c"}), (["--a.b=x", "--c=y"], {"a.b": "x", "c": "y"})]
)
def test_names_that_the_schema_leaves_open_take_texts(words, arguments):
    assert arguments_of(OPEN, words) == arguments


def test_open_name_without_a_value_is_refused():
    with pytest.raises(click.UsageError, match="needs a value"):
        arguments_of(OPEN, ["--a"])


def test_arg_reaches_names_that_are_no_options():
    assert converted(TOOL, "odd name", "x") == "x"
    assert converted(TOOL, "count", "4") == 4
    assert converted(TOOL, "strict", "no") is False
    assert converted(TOOL, "tags", "a") == ["a"]


def test_missing_names_required_arguments():
    assert missing(TOOL, {"count": 1}) == ["text"]
    assert missing(OPEN, {}) == []


def test_arguments_are_told_with_a_star_for_required_ones():
    assert arguments_text(TOOL).startswith("text* count threshold")
    assert arguments_text(OPEN) == "…"


def test_help_names_every_typed_argument():
    command = tool_command(TOOL)
    text = command.get_help(click.Context(command, info_name=command.name, max_content_width=100, terminal_width=100))
    for part in ("Usage: asya mcp call judge", "--text TEXT", "What is judged", "[required]", "--strict / --no-strict", "[low|high|3]"):
        assert part in text
