"""What ``asya flow`` says: diagnostics for people, or one JSON document. Called by `asya_cli.commands.flow` and by ``asya run FLOW.py``."""

from collections.abc import Iterable, Sequence
from typing import Any

from asya_cli.output import Talk, compact_json
from asya_flowc import Compilation, Diagnostic, Severity, Source, render

__all__ = ["count_of", "detail", "document", "show"]


def show(talk: Talk, found: Iterable[Diagnostic], text: str, path: str) -> None:
    """Each diagnostic on stderr: place and message, the line with carets, why, what to write."""
    source = Source.of(text, path)
    for diagnostic in found:
        talk.line(render(diagnostic, source))


def count_of(found: Sequence[Diagnostic]) -> str:
    """``2 errors``."""
    errors = sum(one.severity is Severity.ERROR for one in found)
    return f"{errors} error{'' if errors == 1 else 's'}"


def document(*, file: str, flow: str | None, found: Sequence[Diagnostic], files: Sequence[str], failure: str = "") -> str:
    """The document of ``--output json``. `failure` is what went wrong beside the flow: a file, a folder."""
    diagnostics: list[dict[str, Any]] = [
        {
            "code": one.public_code,
            "severity": str(one.severity),
            "line": one.span.line,
            "column": one.span.column,
            "end_line": one.span.end_line,
            "end_column": one.span.end_column,
            "message": one.message,
            "why": one.why,
            "write": one.write,
        }
        for one in found
    ]
    if failure:
        diagnostics.append({"code": None, "severity": "error", "message": failure})
    ok = not any(each["severity"] == "error" for each in diagnostics)
    return compact_json({"version": 1, "file": file, "flow": flow, "ok": ok, "diagnostics": diagnostics, "files": list(files)})


def detail(talk: Talk, done: Compilation) -> None:
    """Which actors the flow came to, for ``--verbose``."""
    for router in done.routers:
        talk.detail(f"{router.kind} router {router.name}: actor {router.actor}")
    for actor, path in sorted(done.handlers.items()):
        talk.detail(f"handler {path}: actor {actor}")
