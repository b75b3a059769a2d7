"""Drops statements that nothing reaches (W420) and closes the end of the body (W312).

Before: ``exit; call clean``.  After: ``exit``.
"""

from dataclasses import dataclass, replace

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Branch, Exit, Flow, Jump, JumpKind, Loop, Statement
from asya_flowc.source import Span

__all__ = ["drop_unreachable"]


def drop_unreachable(flow: Flow, report: Reporter) -> Flow:
    """The flow without what follows a return, a jump, an endless loop, or an `if` whose arms all leave."""
    work = _Dropping(report)
    body, _ = work.block(flow.body)
    return replace(flow, body=body)


@dataclass(slots=True)
class _Dropping:
    report: Reporter

    def block(self, statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], bool]:
        """What is reachable, and whether its end is."""
        kept: list[Statement] = []
        for index, statement in enumerate(statements):
            new, goes_on = self.statement(statement)
            kept.append(new)
            if not goes_on:
                rest = [one for one in statements[index + 1 :] if not (isinstance(one, Exit) and one.is_implicit)]
                if rest:
                    first, last = rest[0].span, rest[-1].span
                    where = Span(first.line, first.column, last.end_line, last.end_column)
                    self.report.add("W420", where, "this code is never reached")
                return tuple(kept), False
        return tuple(kept), True

    def statement(self, statement: Statement) -> tuple[Statement, bool]:
        match statement:
            case Exit(is_implicit=True, span=span):
                self.report.add("W312", span, "the flow ends here without return")
                return statement, False
            case Exit() | Jump():
                return statement, False
            case Branch():
                then, then_goes_on = self.block(statement.then)
                orelse, orelse_goes_on = self.block(statement.orelse)
                return replace(statement, then=then, orelse=orelse), then_goes_on or orelse_goes_on
            case Loop():
                body, _ = self.block(statement.body)
                orelse, orelse_goes_on = self.block(statement.orelse)
                goes_on = _breaks(body) or (orelse_goes_on and not statement.is_endless)
                return replace(statement, body=body, orelse=orelse), goes_on
            case _:
                return statement, True


def _breaks(statements: tuple[Statement, ...]) -> bool:
    """Whether a `break` among them leaves the loop around them."""
    todo = list(statements)
    while todo:
        one = todo.pop()
        match one:
            case Jump(kind=JumpKind.BREAK):
                return True
            case Branch():
                todo.extend((*one.then, *one.orelse))
            case Loop():
                todo.extend(one.orelse)
            case _:
                pass
    return False
