"""What every check is given: the flow's names, the reporter and the options; and the locals that a point of the flow may read."""

import ast
from dataclasses import dataclass

from asya_flowc.diagnostics import Reporter
from asya_flowc.forms import FlowScope
from asya_flowc.options import Options

__all__ = ["Context", "Readable", "quote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The flow under check."""

    scope: FlowScope
    report: Reporter
    options: Options


@dataclass(slots=True, kw_only=True)
class Readable:
    """The locals bound in the router at hand, and the loop variables around it. Expressions add what they bind (walrus)."""

    bound: set[str]
    loop_names: frozenset[str]


def quote(node: ast.AST) -> str:
    """The construct as a message quotes it: its first line, cut."""
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= 60 else f"{text[:59]}…"
