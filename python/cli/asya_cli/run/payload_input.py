"""The payload of one run: JSON from the command line, a file or stdin, read strictly.

Called by `asya_cli.commands.run`. Knows no envelope.
"""

import json
import sys
from pathlib import Path
from typing import Any

from asya_core.wire.errors import RemoteFault

__all__ = ["parse_json", "read_input"]


def read_input(argument: str) -> Any:
    """The JSON value that ``--input`` means: itself, ``@FILE``, or ``-`` for stdin.

    Raises RemoteFault ``bad_input`` with the place (line and column) of what is not JSON.
    """
    if argument == "-":
        return parse_json(sys.stdin.buffer.read(), where="stdin")
    if argument.startswith("@"):
        path = Path(argument[1:])
        try:
            return parse_json(path.read_bytes(), where=str(path))
        except OSError as error:
            raise RemoteFault(
                "bad_input", f"Input file {path} cannot be read: {error.strerror}", "name a JSON file after the @, or give the JSON itself"
            ) from error
    return parse_json(argument.encode("utf-8", "surrogateescape"), where="--input")


def parse_json(data: bytes, *, where: str) -> Any:
    """The value in `data`: UTF-8 JSON without byte order mark, duplicate keys, NaN or lone surrogates. Raises RemoteFault ``bad_input``."""
    hint = 'give JSON such as \'{"text": "hello"}\', @FILE, or - for stdin'
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RemoteFault("bad_input", f"Input ({where}): byte {error.start} is not UTF-8", "save it as UTF-8") from error
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise RemoteFault("bad_input", f"Input ({where}): line {error.lineno}, column {error.colno}: {error.msg}", hint) from error
    except UnicodeEncodeError as error:
        raise RemoteFault(
            "bad_input", f"Input ({where}): a lone surrogate is no text", "write the character itself, or both halves"
        ) from error
    except RecursionError as error:
        raise RemoteFault("bad_input", f"Input ({where}): nested too deep", "flatten it") from error
    except ValueError as error:
        raise RemoteFault("bad_input", f"Input ({where}): {error}", hint) from error
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} is given twice")
        result[key] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
