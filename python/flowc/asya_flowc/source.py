"""Source text and spans: where something stands in the user's file, and the excerpt that shows it.

Used by every phase. Knows nothing of flows, only of text and of the syntax tree's positions.
"""

import ast
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

__all__ = ["Located", "Source", "Span"]


class Located(Protocol):
    """Any syntax node with a position: lines from 1, columns as UTF-8 byte offsets from 0 (the `ast` module's convention)."""

    lineno: int
    col_offset: int
    end_lineno: int | None
    end_col_offset: int | None


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A region of the source. Lines and columns count from 1, in characters; the end column is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file's text, newlines normalised to ``\\n`` and without a byte order mark.

    `path` is what diagnostics print. Source(text=…) accepts any text; nothing is checked here.
    """

    path: str
    text: str
    lines: tuple[str, ...] = field(repr=False)

    @staticmethod
    def of(text: str, path: str) -> "Source":
        """The source of `text`, normalised."""
        normal = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        return Source(path=path, text=normal, lines=tuple(normal.split("\n")))

    @property
    def stem(self) -> str:
        """The module's name: the file name without its suffix; ``flow`` for standard input (``-``)."""
        return "flow" if self.path == "-" else PurePath(self.path).stem

    def column(self, line: int, byte_offset: int) -> int:
        """The column (characters, from 1) of a UTF-8 byte offset in `line`."""
        text = self.line(line)
        if text.isascii():
            return byte_offset + 1
        return len(text.encode("utf-8", "surrogatepass")[:byte_offset].decode("utf-8", "replace")) + 1

    def line(self, number: int) -> str:
        """Line `number` (from 1); empty outside of the text."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    def span(self, node: Located) -> Span:
        """Where `node` stands."""
        end_line = node.end_lineno or node.lineno
        end_offset = node.end_col_offset if node.end_col_offset is not None else node.col_offset
        return Span(node.lineno, self.column(node.lineno, node.col_offset), end_line, self.column(end_line, end_offset))

    def segment(self, node: Located) -> str:
        """The text of `node` as written."""
        span = self.span(node)
        lines = list(self.lines[span.line - 1 : span.end_line])
        lines[-1] = lines[-1][: span.end_column - 1]
        lines[0] = lines[0][span.column - 1 :]
        return "\n".join(lines)

    def printed(self, node: ast.expr | ast.stmt) -> str:
        """`node` as Python prints it; as written where its printer cannot (a tab in a string inside of an f-string)."""
        try:
            return ast.unparse(node)
        except ValueError:
            written = self.segment(node)
            return f"({written})" if isinstance(node, ast.expr) and "\n" in written else written

    def excerpt(self, span: Span) -> tuple[str, str]:
        """The first line of `span` and the carets below it, tabs kept so that they align."""
        text = self.line(span.line).rstrip()
        end = span.end_column if span.end_line == span.line else len(text) + 1
        start = min(span.column, len(text) + 1)
        lead = "".join("\t" if mark == "\t" else " " for mark in text[: start - 1])
        return text, lead + "^" * max(1, min(end, len(text) + 1) - start)
