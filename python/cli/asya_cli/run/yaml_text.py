"""Read YAML text as Helm reads it, and remember where each key stands. Pure.

Called by `values` and `project`. Knows no schema and no file.

Differences to PyYAML, so that the chart and `asya run` read one file alike: dates and ``1:30`` stay texts, ``1e3`` is a number, a key given
twice is an error, and so is a key that YAML 1.1 takes for a truth value (``on``, ``yes``).
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from asya_core.wire.errors import RemoteFault

__all__ = ["Document", "KeyPath", "parse"]

KeyPath: TypeAlias = tuple[str | int, ...]
MAX_NODES: Final = 100_000
"""Nodes of one file, aliases counted each time: more is a mistake or an attack."""
_HINT: Final = "correct the file; indentation is by spaces"


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says.

    Attributes:
        value: JSON values only.
        lines: (line, column) of each key, both from 1.
    """

    value: Any
    lines: dict[KeyPath, tuple[int, int]]

    def place(self, path: KeyPath) -> str:
        """``:line:column`` of `path` or of its nearest parent that has one; empty for the whole text."""
        while path:
            if path in self.lines:
                line, column = self.lines[path]
                return f":{line}:{column}"
            path = path[:-1]
        return ""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class keeps it so, and add_implicit_resolver copies it


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"),
    list("yYnNtTfFoO"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def parse(text: str, *, file: str) -> Document:
    """Read `text`. Raises RemoteFault ``bad_yaml`` with `file`, line and column.

    An empty text is an empty mapping.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return Document({}, {})
            lines: dict[KeyPath, tuple[int, int]] = {}
            _walk(node, (), lines, file, [MAX_NODES])
            return Document(loader.construct_document(node), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise RemoteFault("bad_yaml", f"{file}{place}: {error.problem or error.context}", _HINT) from error
    except yaml.YAMLError as error:
        raise RemoteFault("bad_yaml", f"{file}: {' '.join(str(error).split())}", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise RemoteFault("bad_yaml", f"{file}: {error}", _HINT) from error


def _walk(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, tuple[int, int]], file: str, budget: list[int]) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise RemoteFault("bad_yaml", f"{file}: over {MAX_NODES} entries, aliases counted each time", "take the aliases out")
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                _walk(value, path, {}, file, budget)
                continue
            name = _key(key, file)
            if name in seen:
                raise RemoteFault(
                    "bad_yaml", f"{_at(key, file)}: key {name} is given twice, first in line {seen[name]}", "keep one of the two"
                )
            seen[name] = key.start_mark.line + 1
            lines[(*path, name)] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _walk(value, (*path, name), lines, file, budget)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
            _walk(item, (*path, index), lines, file, budget)
    elif node.tag == "tag:yaml.org,2002:float" and re.search(r"inf|nan", node.value, re.IGNORECASE):
        raise RemoteFault("bad_yaml", f"{_at(node, file)}: {node.value} is no JSON number", "quote it if a text is meant")


def _key(key: yaml.Node, file: str) -> str:
    if not isinstance(key, yaml.ScalarNode):
        raise RemoteFault("bad_yaml", f"{_at(key, file)}: a key must be a plain text", "write the key as a name")
    if key.tag == "tag:yaml.org,2002:bool":
        raise RemoteFault(
            "bad_yaml", f"{_at(key, file)}: YAML reads the key {key.value} as a truth value", f'quote the name: "{key.value}"'
        )
    if key.tag != "tag:yaml.org,2002:str":
        # Helm turns such keys into texts as well.
        key.tag = "tag:yaml.org,2002:str"
    return str(key.value)


def _at(node: yaml.Node, file: str) -> str:
    return f"{file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
