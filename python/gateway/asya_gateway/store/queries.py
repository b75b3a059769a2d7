"""The named statements of ``sql/queries.sql``, in the dialect of each database. Called by the connectors; knows no connection."""

import re
from functools import cache
from importlib import resources
from typing import Any, Final

__all__ = ["expand", "for_postgres", "for_sqlite", "migrations"]

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)
_PLACE: Final = re.compile(r"(?<![:\w]):([a-z_]+)(\[\])?")
_MARKED: Final = re.compile(r"/\* postgres: (.*?) \*/")


@cache
def for_sqlite() -> dict[str, str]:
    """Statements by name; places stay ``:name``, what is marked for PostgreSQL stays a comment."""
    return _statements()


@cache
def for_postgres() -> dict[str, str]:
    """Statements by name, marked suffixes in force; places are ``%(name)s`` but in statements with lists, which `expand` rewrites."""
    texts = {name: _MARKED.sub(r"\1", text) for name, text in _statements().items()}
    return {name: text if "[]" in text else _PLACE.sub(r"%(\1)s", text) for name, text in texts.items()}


def expand(text: str, parameters: dict[str, Any], *, is_postgres: bool) -> tuple[str, dict[str, Any]]:
    """`text` with each ``:name[]`` as one place per item, and the parameters to match. An empty list matches nothing (``NULL``)."""
    given = dict(parameters)

    def place(match: re.Match[str]) -> str:
        name, is_list = match[1], match[2]
        if not is_list:
            return f"%({name})s" if is_postgres else f":{name}"
        items = list(given.pop(name))
        names = [f"{name}_{index}" for index in range(len(items))]
        given.update(zip(names, items, strict=True))
        return ", ".join(f"%({each})s" if is_postgres else f":{each}" for each in names) or "NULL"

    return _PLACE.sub(place, text), given


def migrations(database: str) -> list[tuple[int, str, str]]:
    """Number, name and text of each migration of ``sqlite`` or ``postgres``, in order."""
    folder = resources.files("asya_gateway.store").joinpath("sql", database)
    found = []
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".sql"):
            found.append((int(file.name.split("_")[0]), file.name, file.read_text(encoding="utf-8")))
    return found


def _statements() -> dict[str, str]:
    text = resources.files("asya_gateway.store").joinpath("sql", "queries.sql").read_text(encoding="utf-8")
    marks = list(_NAME.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: _bare(text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)}


def _bare(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")
