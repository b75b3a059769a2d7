"""YAML of maps and strings, for values files: sorted keys, quoted strings, long texts as literal blocks. Reads nothing."""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["Yaml", "dump", "quoted"]

Yaml = str | int | float | bool | list["Yaml"] | Mapping[str, "Yaml"]

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NO_KEY: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def quoted(text: str) -> str:
    """A double-quoted scalar: what is printable as it is, the rest escaped."""
    return '"' + "".join(_SHORT.get(mark) or (mark if mark.isprintable() else _escaped(mark)) for mark in text) + '"'


def _escaped(mark: str) -> str:
    code = ord(mark)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and name.lower() not in _NO_KEY else quoted(name)


def _is_block(text: str) -> bool:
    body = text.removesuffix("\n")
    return "\n" in body and body == text[:-1] and not body.startswith((" ", "\n")) and text.replace("\n", "").isprintable()


def dump(value: Mapping[str, Yaml], *, indent: int = 0) -> str:
    """`value` as a block of lines, keys sorted, with a final newline."""
    pad = " " * indent
    lines: list[str] = []
    for name in sorted(value):
        one = value[name]
        match one:
            case Mapping() if one:
                lines.append(f"{pad}{_key(name)}:\n{dump(one, indent=indent + 2)}")
            case str() if _is_block(one):
                inner = "\n".join(f"{pad}  {line}" if line else "" for line in one[:-1].split("\n"))
                lines.append(f"{pad}{_key(name)}: |\n{inner}\n")
            case _:
                lines.append(f"{pad}{_key(name)}: {_flow(one)}\n")
    return "".join(lines)


def _flow(value: Yaml) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return quoted(value)
        case list():
            return "[" + ", ".join(_flow(one) for one in value) + "]"
        case _:
            return "{" + ", ".join(f"{_key(name)}: {_flow(value[name])}" for name in sorted(value)) + "}"
