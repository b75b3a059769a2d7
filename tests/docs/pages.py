"""The fenced blocks of the documentation, and what their pages say of them. Called by the tests of this folder.

In an HTML comment on the line above a block its page says which test runs it, or why none does::

    <!-- this block runs in tests/docs/test_first_actor.py -->
    <!-- this block does not run: it is a drawing -->

Once for a whole page, anywhere in it; a block's own comment wins::

    <!-- blocks of this page run in python/cli/tests/process/test_doctor.py -->
    <!-- blocks of this page do not run: they need a cluster; tests/charts/test_use.py renders every helm command -->
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^ *(?P=fence)[ \t]*$", re.M | re.S)
OWN = re.compile(r"<!-- this block (?:runs in (?P<tests>\S+(?: and \S+)*)|does not run: (?P<reason>.+?)) -->")
WHOLE = re.compile(r"<!-- blocks of this page (?:run in (?P<tests>\S+(?: and \S+)*)|do not run: (?P<reason>.+?)) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        page: its file, relative to the repository.
        line: of the fence, from 1.
        info: the word behind the fence, such as ``sh``, or empty.
        text: what is in it, without the fence's indent.
        tests: files, or ``file::test``, that run it; empty if none does.
        reason: why none does; empty if one does, or if the page says neither.
    """

    page: str
    line: int
    info: str
    text: str
    tests: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> tuple[Path, ...]:
    """Every page that people read: documentation, examples, charts, and those at the top of the tree."""
    found = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md"), *ROOT.glob("charts/*/README.md")]
    return tuple(sorted(found))


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    whole = WHOLE.search(text)
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        said = OWN.search(above) or whole
        indent = len(match["indent"])
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start()) + 1,
                info=match["info"].strip(),
                text="".join(line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in match["text"].splitlines(keepends=True)),
                tests=tuple(said["tests"].split(" and ")) if said and said["tests"] else (),
                reason=(said["reason"] or "") if said else "",
            )
        )
    return tuple(found)


def all_blocks() -> Iterator[Block]:
    """Those of all pages."""
    for page in pages():
        yield from blocks(str(page.relative_to(ROOT)))


@cache
def functions_of(file: str) -> frozenset[str]:
    """The functions at the top of a Python file of the repository, by name."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def commands(block: Block) -> list[str]:
    """Lines of a shell block that are commands: continued lines joined, prompts and comments gone, output left out."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [bare for line in lines if (bare := re.sub(r"\s+#\s.*$", "", line).strip()) and not bare.startswith("#")]


def asya_words(command: str) -> list[str] | None:
    """Arguments of an ``asya`` command, behind a pipe or an environment's path too; None if it is none."""
    try:
        words = shlex.split(command.rpartition("| ")[2])
    except ValueError:
        return None
    if not words or words[0] not in ("asya", ".venv/bin/asya"):
        return None
    return words[1:]
