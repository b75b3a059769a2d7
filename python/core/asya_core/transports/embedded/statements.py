"""The named statements of queries.sql, and the text of schema.sql. Read once, at import; a mistake in the file is an error then.

Called by the other modules of this folder; nobody else writes SQL.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["SCHEMA", "SCHEMA_VERSION", "STATEMENTS", "read_statements"]

SCHEMA_VERSION: Final = 1
"""Kept in the file's ``user_version``; a file of another version is refused, not changed."""


def read_statements(text: str) -> Mapping[str, str]:
    """Statements by name. Raises ValueError for a statement without a name or comment, or a name that is there twice."""
    statements: dict[str, str] = {}
    _, *sections = text.split("\n-- name: ")
    for section in sections:
        name, _, rest = section.partition("\n")
        lines = rest.strip().splitlines()
        comments = [line for line in lines if line.startswith("--")]
        statement = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
        if name in statements or not name.isidentifier():
            raise ValueError(f"Statement name {name!r} is there twice or no identifier")
        if not comments or not statement or ";" in statement:
            raise ValueError(f"Statement {name!r}; expected a comment and exactly one statement")
        statements[name] = statement
    return MappingProxyType(statements)


_FOLDER: Final = Path(__file__).parent
SCHEMA: Final = (_FOLDER / "schema.sql").read_text(encoding="utf-8")
STATEMENTS: Final = read_statements((_FOLDER / "queries.sql").read_text(encoding="utf-8"))
