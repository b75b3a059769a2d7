"""A tool's JSON Schema → options of the command line, and the words given for them → arguments. Knows no gateway.

Called by `asya_cli.commands.mcp`. Strings, integers, numbers, booleans, enumerations and lists of such are typed; anything else is JSON. A
name that the schema leaves open takes a text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from asya_core.wire.errors import RemoteFault

__all__ = ["arguments_of", "arguments_text", "missing", "tool_command"]

_OPTION_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_SCALARS: Final[dict[str, Any]] = {"string": click.STRING, "integer": click.INT, "number": click.FLOAT}


class _Json(click.ParamType):  # type: ignore[type-arg]
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value)
        except ValueError:
            self.fail(f"{value!r} is no JSON", param, ctx)


class _Enum(click.Choice):  # type: ignore[type-arg]
    """One of the schema's values, texts or others, each written as its JSON."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = {value if isinstance(value, str) else json.dumps(value): value for value in values}
        super().__init__(list(self._values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._values[super().convert(value, param, ctx)]


class _Finite(click.types.FloatParamType):
    """A number that JSON has."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number or number in (float("inf"), float("-inf")):
            self.fail(f"{value!r} is no number that JSON has", param, ctx)
        return int(number) if re.fullmatch(r"[+-]?\d+", str(value).strip()) else number


def tool_command(tool: Mapping[str, Any]) -> click.Command:
    """A command whose options are the tool's arguments; for its help and for parsing."""
    schema = tool.get("inputSchema", {})
    options: list[click.Parameter] = []
    for index, (name, property_schema) in enumerate(_properties(schema).items()):
        if _OPTION_NAME.fullmatch(name):
            options.append(_option(f"p{index}", name, property_schema, name in schema.get("required", ())))
    return click.Command(
        f"asya mcp call {tool['name']}",
        params=options,
        help=tool.get("description") or None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def arguments_of(tool: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The arguments that `words` give. Raises click.UsageError for what does not convert or is not known."""
    schema = tool.get("inputSchema", {})
    command = tool_command(tool)
    names = {f"p{index}": name for index, name in enumerate(_properties(schema))}
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    typed, open_arguments = _split(list(words), known, is_open=schema.get("additionalProperties") is not False)
    context = command.make_context(command.name, typed)
    arguments: dict[str, Any] = dict(open_arguments)
    for parameter, value in context.params.items():
        if value is None or (value == () and context.get_parameter_source(parameter) is not click.core.ParameterSource.COMMANDLINE):
            continue
        arguments[names[parameter]] = list(value) if isinstance(value, tuple) else value
    return arguments


def converted(tool: Mapping[str, Any], name: str, text: str) -> Any:
    """The value of ``--arg NAME=VALUE``: as the option of that name would have it, or JSON where the schema wants more than a text."""
    schema = _properties(tool.get("inputSchema", {})).get(name)
    if schema is None:
        if tool.get("inputSchema", {}).get("additionalProperties") is False:
            raise RemoteFault("usage", f"{tool['name']} has no argument {name!r}", arguments_text(tool))
        return text
    kind, is_list = _type(schema)
    value = _bool(text) if kind is click.BOOL else kind.convert(text, None, None)
    return [value] if is_list else value


def missing(tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Required arguments that are not given."""
    return [name for name in tool.get("inputSchema", {}).get("required", ()) if name not in arguments]


def arguments_text(tool: Mapping[str, Any]) -> str:
    """``text* times``: the arguments, required ones starred; ``…`` if others are taken too."""
    schema = tool.get("inputSchema", {})
    required = schema.get("required", ())
    names = [f"{name}*" if name in required else name for name in _properties(schema)]
    if schema.get("additionalProperties") is not False:
        names.append("…")
    return " ".join(names)


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return {name: each if isinstance(each, dict) else {} for name, each in properties.items()} if isinstance(properties, dict) else {}


def _option(parameter: str, name: str, schema: Mapping[str, Any], is_required: bool) -> click.Option:
    kind, is_list = _type(schema)
    help_text = " ".join(str(schema.get("description", "")).split())
    notes = ["required"] if is_required else []
    if "default" in schema:
        notes.append(f"default: {json.dumps(schema['default'], ensure_ascii=False)}")
    if is_list:
        notes.append("may be repeated")
    help_text = f"{help_text}  [{'; '.join(notes)}]".strip() if notes else help_text
    if kind is click.BOOL and not is_list:
        return click.Option([parameter, f"--{name}/--no-{name}"], default=None, help=help_text)
    return click.Option([parameter, f"--{name}"], type=kind, multiple=is_list, default=None, help=help_text)


def _type(schema: Mapping[str, Any]) -> tuple[Any, bool]:
    """Type of one word, and whether it may be repeated."""
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return _Enum(schema["enum"]), False
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    if kind == "boolean":
        return click.BOOL, False
    if kind == "number":
        return _Finite(), False
    if kind in _SCALARS:
        return _SCALARS[kind], False
    if kind == "array" and isinstance(schema.get("items"), dict):
        inner, is_list = _type(schema["items"])
        if not is_list and not isinstance(inner, _Json):
            return inner, True
    return _Json(), False


def _split(words: list[str], known: set[str], *, is_open: bool) -> tuple[list[str], dict[str, Any]]:
    """`words` without those that name arguments which the schema leaves open, and those."""
    typed: list[str] = []
    found: dict[str, Any] = {}
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if not is_open or not name.startswith("--") or name in known or name in ("--", "--help"):
            typed.append(word)
            continue
        if not equals:
            following = next(waiting, None)
            if following is None:
                raise click.UsageError(f"Option {name} needs a value, as {name}=VALUE")
            value = following
        found[name[2:]] = value
    return typed, found


def _bool(text: str) -> bool:
    return bool(click.BOOL.convert(text, None, None))
