"""Writes the measured table of docs/explanation/compared.md from the last results in docs/reference/benchmarks.md.

Called by ci/generate.sh; tests/docs/test_explanation.py compares. What the benchmarks do not measure stands in no table.
"""

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "explanation" / "compared.md"
RESULTS = DOCS / "reference" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin, written by make generate from reference/benchmarks.md -->\n", "<!-- measured: end -->\n"
PEERS = re.compile(r"(dramatiq|faststream|celery)\b")
RATIO = "Asya ÷ this, "


def tables(text: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """(heading, rows by column) of each results table."""
    for heading, body in re.findall(r"^### (B\d.*?)\n\n((?:\|.*\n)+)", text, re.M):
        head, _, *lines = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in body.splitlines())
        yield heading, [dict(zip(head, line, strict=True)) for line in lines]


def rows(text: str) -> Iterator[str]:
    """The lines of the table."""
    for heading, found in tables(text):
        ours = next((row for row in found if row["system"] == "asya"), None)
        if ours is None:  # Asya beside itself
            continue
        for row in found:
            if not PEERS.match(row["system"]):
                continue
            for column, value in row.items():
                if not column.startswith(RATIO):
                    continue
                unit = column.removeprefix(RATIO)
                cpu, memory = ((ours[name].split(" ")[0], row[name].split(" ")[0]) for name in ("CPU µs per message", "RSS MB"))
                yield f"| {heading} | {row['system']} | {unit} | {value} | {cpu[0]} : {cpu[1]} | {memory[0]} : {memory[1]} |"


def table(text: str) -> str:
    """The table with its caption."""
    when = re.search(r"^Measured on .*$", text, re.M)
    assert when is not None
    head = "| benchmark | system | what | Asya ÷ it | CPU µs per message, Asya : it | memory MB, Asya : it |\n|---|---|---|---|---|---|\n"
    return f"\n{when[0]}\n\n{head}" + "".join(f"{row}\n" for row in rows(text)) + "\n"


def page() -> str:
    """The page with the table of the last results."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(RESULTS.read_text(encoding="utf-8")) + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
