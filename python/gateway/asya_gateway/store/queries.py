"""The named statements of ``sql/queries.sql``, in the dialect of each database. Called by the connectors; knows no connection."""

import re
from functools import cache
from importlib import resources
from typing import Any, Final

__all__ = ["expand", "for_postgres", "for_sqlite", "migrations"]

_NAME: Final = re.compile(r"^-- (name|postgres): ([a-z_]+)$", re.MULTILINE)
_PLACE: Final = re.compile(r"(?<![:\w]):([a-z_]+)(\[\])?")
_LIST: Final = re.compile(r"IN \(:([a-z_]+)\[\]\)")
_MARKED: Final = re.compile(r"/\* postgres: (.*?) \*/")


@cache
def for_sqlite() -> dict[str, str]:
    """Statements by name; places stay ``:name``, lists are for `expand`, what is marked for PostgreSQL stays a comment."""
    return _statements("name")


@cache
def for_postgres() -> dict[str, str]:
    """Statements by name, what is PostgreSQL's own in force; places are ``%(name)s``, a list is one array.

    So the text of a statement is the same however long its list is, and it is prepared once.
    """
    texts = _statements("name") | _statements("postgres")
    return {name: _PLACE.sub(r"%(\1)s", _LIST.sub(r"= ANY(:\1)", _MARKED.sub(r"\1", text))) for name, text in texts.items()}


def expand(text: str, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """`text` for SQLite with each ``:name[]`` as one place per item, and the parameters to match. An empty list matches nothing."""
    given = dict(parameters)

    def place(match: re.Match[str]) -> str:
        name, is_list = match[1], match[2]
        if not is_list:
            return f":{name}"
        items = list(given.pop(name))
        names = [f"{name}_{index}" for index in range(len(items))]
        given.update(zip(names, items, strict=True))
        return ", ".join(f":{each}" for each in names) or "NULL"

    return _PLACE.sub(place, text), given


def migrations(database: str) -> list[tuple[int, str, str]]:
    """Number, name and text of each migration of ``sqlite`` or ``postgres``, in order."""
    folder = resources.files("asya_gateway.store").joinpath("sql", database)
    found = []
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".sql"):
            found.append((int(file.name.split("_")[0]), file.name, file.read_text(encoding="utf-8")))
    return found


def _statements(kind: str) -> dict[str, str]:
    text = resources.files("asya_gateway.store").joinpath("sql", "queries.sql").read_text(encoding="utf-8")
    marks = list(_NAME.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[2]: _bare(text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True) if mark[1] == kind}


def _bare(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")
