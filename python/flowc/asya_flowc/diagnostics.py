"""Diagnostics: what the compiler tells about the user's file, and how it is printed.

A diagnostic names a code of `codes.py`, a span, what stands there, why it cannot be compiled and what to write instead.
Every phase before emission adds them through a `Reporter`. This module knows no rule and does not print.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from asya_flowc.codes import CODES
from asya_flowc.source import Located, Source, Span

__all__ = ["Diagnostic", "Reporter", "Severity", "render", "sort_diagnostics"]


class Severity(StrEnum):
    """An error refuses the flow; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding. `code` is the short form, ``E202`` or ``W504``; `path` is the file as the user named it."""

    code: str
    path: str
    span: Span
    message: str
    why: str
    write: str

    @property
    def severity(self) -> Severity:
        """By the code's letter."""
        return Severity.ERROR if self.code[0] == "E" else Severity.WARNING

    @property
    def public_code(self) -> str:
        """The code as printed: ``FLOW202``."""
        return f"FLOW{self.code[1:]}"

    @property
    def location(self) -> str:
        """``file:line:column``."""
        return f"{self.path}:{self.span.line}:{self.span.column}"


@dataclass(slots=True)
class Reporter:
    """Collects the diagnostics of one run. The one mutable thing that the phases share."""

    source: Source
    found: list[Diagnostic] = field(default_factory=list)
    _seen: set[tuple[str, Span]] = field(default_factory=set)

    def add(self, code: str, where: Located | Span, message: str, *, why: str | None = None, write: str | None = None) -> None:
        """Note one finding; the same code at the same place is noted once. `why` and `write` default to the code's own."""
        rule = CODES[code]
        span = where if isinstance(where, Span) else self.source.span(where)
        if (code, span) in self._seen:
            return
        self._seen.add((code, span))
        self.found.append(
            Diagnostic(
                code=code,
                path=self.source.path,
                span=span,
                message=message,
                why=rule.why if why is None else why,
                write=rule.write if write is None else write,
            )
        )

    def has_errors(self) -> bool:
        """Whether the flow is refused."""
        return any(found.severity is Severity.ERROR for found in self.found)


def sort_diagnostics(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By position, then by code."""
    return sorted(found, key=lambda one: (one.span.line, one.span.column, one.code, one.message))


def render(diagnostic: Diagnostic, source: Source) -> str:
    """The printed form: mark, location, code and message; the line with carets; reason; replacement. No final newline."""
    mark = "[-]" if diagnostic.severity is Severity.ERROR else "[!]"
    lines = [f"{mark} {diagnostic.location}: {diagnostic.public_code} {diagnostic.message}"]
    text, carets = source.excerpt(diagnostic.span)
    if text.strip():
        number = str(diagnostic.span.line)
        lines += [f"  {number} | {text}", f"  {' ' * len(number)} | {carets}"]
    if diagnostic.why:
        lines.append(f"  why:   {diagnostic.why}")
    if diagnostic.write:
        lines.append(f"  write: {diagnostic.write}")
    return "\n".join(lines)
