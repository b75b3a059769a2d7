"""Reads a chart's values.yaml as a tree: each key with its default, the prose above it and its hint.

A hint is a comment line ``# @schema HINT`` below the prose: a kind of `schema.py` (``flags``, ``duration``) or a mapping of JSON Schema.
Called by `schema` and `readme`. Knows neither.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Key", "leaves", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of values.yaml.

    Attributes:
        path: keys from the root.
        default: its value.
        prose: the comment above it, on one line.
        hint: what stands after ``@schema``: a kind, a mapping, or None.
        inner: keys below it; empty for a leaf.
    """

    path: tuple[str, ...]
    default: Any
    prose: str
    hint: str | dict[str, Any] | None
    inner: list["Key"] = field(default_factory=list)

    @property
    def dotted(self) -> str:
        return ".".join(name.replace(".", "\\.") for name in self.path)


def read(file: Path) -> list[Key]:
    """The top-level keys of `file`. Raises SystemExit naming a key without prose, or a hint that is no YAML."""
    text = file.read_text(encoding="utf-8")
    return _keys(yaml.compose(text), text.splitlines(), (), file)


def leaves(keys: list[Key]) -> list[Key]:
    """All keys that have a default of their own, in the file's order."""
    return [leaf for key in keys for leaf in (leaves(key.inner) if key.inner else [key])]


def _keys(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...], file: Path) -> list[Key]:
    keys = []
    for name_node, value_node in node.value:
        here = (*path, name_node.value)
        prose, hint = _comment(lines, name_node.start_mark.line, here, file)
        is_open = isinstance(value_node, yaml.MappingNode) and value_node.value and not value_node.flow_style
        default = yaml.safe_load(yaml.serialize(value_node))
        keys.append(Key(path=here, default=default, prose=prose, hint=hint, inner=_keys(value_node, lines, here, file) if is_open else []))
    return keys


def _comment(lines: list[str], line: int, path: tuple[str, ...], file: Path) -> tuple[str, str | dict[str, Any] | None]:
    block: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        block.insert(0, lines[line].lstrip()[1:].strip())
    prose = " ".join(text for text in block if not text.startswith("@schema"))
    hints = [text.removeprefix("@schema").strip() for text in block if text.startswith("@schema")]
    if not prose:
        raise SystemExit(f"{file}: {'.'.join(path)} has no comment above it")
    return prose, yaml.safe_load(hints[0]) if hints else None
