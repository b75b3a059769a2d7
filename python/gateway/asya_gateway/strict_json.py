"""Reads a caller's JSON strictly: what a lenient parser lets pass is told instead of guessed.

Called by the one middleware that sees every public body, before REST or MCP do. Arithmetic on bytes only.

Refused: a byte order mark, bytes that are no UTF-8, a key given twice, ``NaN`` and ``Infinity``, a number beyond a double, half a surrogate
pair, more than 64 levels.
"""

import json
import math
import re
from typing import Any, Final

from asya_core.wire.errors import RemoteFault

__all__ = ["MAX_DEPTH", "parse"]

MAX_DEPTH: Final = 64
_BOM: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> Any:
    """The value in `body`. Raises RemoteFault ``bad_json`` with one sentence."""
    if body.startswith(_BOM):
        raise _bad("begins with a byte order mark", "send UTF-8 without it")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"is not UTF-8 at byte {error.start}", "send UTF-8") from error
    try:
        value = _decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except json.JSONDecodeError as error:
        raise _bad(f"is no JSON: {error.msg} at character {error.pos}", "send one JSON value") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise _bad("has a number of too many digits", "send it as a string") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:  # else it cannot be deeper, wherever they stand
        _check_depth(value)
    if _SURROGATE.search(body):
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _bad(f"has the key {twice[:80]!r} twice in one object", "send it once")
    return value


def _constant(word: str) -> Any:
    raise _bad(f"has {word}, which is no JSON number", "send null or a string")


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _bad(f"has the number {digits[:40]}, which is beyond a double", "send it as a string")
    return value


_decode: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                deeper.extend(inner for inner in each.values() if isinstance(inner, (dict, list)))
            elif isinstance(each, list):
                deeper.extend(inner for inner in each if isinstance(inner, (dict, list)))
        if not deeper:
            return
        level = deeper
    raise _too_deep()


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _bad("has half a surrogate pair in a string", "send whole characters") from error


def _too_deep() -> RemoteFault:
    return _bad(f"is nested deeper than {MAX_DEPTH} levels", "send a flatter value")


def _bad(problem: str, hint: str) -> RemoteFault:
    return RemoteFault("bad_json", f"Body {problem}", hint)
