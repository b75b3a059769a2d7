"""The language's page: its examples run, what it calls refused is, and its table of diagnostics is that of the code.

`ASYA_UPDATE_DOCS=1` writes the table.
"""

import json
import os
import re
from pathlib import Path

from oracle import agree, refused

from asya_flowc import CODES

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


def test_every_example_of_the_page_runs_as_plain_python() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- payloads: (.*) -->\n```python\n((?:.*\n)*?)```", text)
    assert len(blocks) == text.count("```python\n") >= 3
    for payloads, block in blocks:
        agree(block, *json.loads(payloads))


def test_every_row_of_what_is_refused_is_refused_so() -> None:
    rows = re.findall(r"^\| `(.+)` \| FLOW(\d{3}) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert len(rows) > 10
    for statements, code in rows:
        found = refused(f"def flow(p):\n    {statements}\n    return p\n")
        assert [one.code for one in found if one.code[0] == "E"] == [f"E{code}"], statements
