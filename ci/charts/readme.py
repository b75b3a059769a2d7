"""Makes the table of values in a chart's README.md. Called by `generate`."""

import json
from pathlib import Path

from values_file import Key

__all__ = ["table", "with_table"]

BEGIN = "<!-- values: written by make generate -->"
END = "<!-- end of values -->"


def table(keys: list[Key]) -> str:
    """A Markdown table of all leaves: key, default, what it means."""
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *_rows(keys)])


def _rows(keys: list[Key]) -> list[str]:
    rows = []
    for key in keys:
        default = "" if key.inner else f"`{_cell(json.dumps(key.default, ensure_ascii=False))}`"
        name = f"**`{key.dotted}`**" if key.inner else f"`{key.dotted}`"
        rows += [f"| {name} | {default} | {_cell(key.prose)} |", *_rows(key.inner)]
    return rows


def with_table(file: Path, keys: list[Key]) -> str:
    """The text of `file` with the table between its marks written anew. Raises SystemExit if the marks are missing."""
    before, begin, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file}: the lines {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{table(keys)}\n\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
