"""What every check is given: the flow's names, the reporter and the options; and the locals that a point of the flow may read."""

import ast
from dataclasses import dataclass
from typing import Final

from asya_flowc.diagnostics import Reporter
from asya_flowc.forms import FlowScope
from asya_flowc.options import Options

__all__ = ["Context", "Readable"]

_MAX_QUOTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The flow under check."""

    scope: FlowScope
    report: Reporter
    options: Options

    def quote(self, node: ast.expr | ast.stmt) -> str:
        """The construct as a message quotes it: as written if it is one line, an expression of several lines as one; cut."""
        text = self.report.source.segment(node)
        if "\n" in text:
            text = self.report.source.printed(node) if isinstance(node, ast.expr) else text
            text = text.split("\n")[0].rstrip()
        return text if len(text) <= _MAX_QUOTE else f"{text[: _MAX_QUOTE - 1]}…"


@dataclass(slots=True, kw_only=True)
class Readable:
    """The locals bound in the router at hand, and the loop variables around it. Expressions add what they bind (walrus)."""

    bound: set[str]
    loop_names: frozenset[str]
