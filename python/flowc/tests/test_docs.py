"""The language's page: its examples compile, its table of diagnostics is that of the code. `ASYA_UPDATE_DOCS=1` writes the table."""

import os
import re
from pathlib import Path

from asya_flowc import CODES, compile_source

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "flow-language.md"
BEGIN, END = "<!-- diagnostics: begin -->\n", "<!-- diagnostics: end -->"


def table() -> str:
    rows = [
        f"| `{code}` | {one.title} | {one.why or '–'} | {f'`{one.write}`' if one.write else '–'} |" for code, one in sorted(CODES.items())
    ]
    return "\n".join(["| Code | What | Why | Write |", "|---|---|---|---|", *rows]).replace("| {", "\\| {") + "\n"


def test_table_of_diagnostics_is_that_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    found, tail = rest.split(END)
    if os.environ.get("ASYA_UPDATE_DOCS"):
        PAGE.write_text(head + BEGIN + table() + END + tail, encoding="utf-8")
        found = table()
    assert found == table()


def test_every_example_of_the_page_compiles() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert blocks
    for block in blocks:
        done = compile_source(block, "flow.py")
        assert not isinstance(done, list), [one.message for one in done]
