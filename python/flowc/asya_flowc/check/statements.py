"""Statements: which a flow may hold (E305, E306, E401, E402, E410, E412), and in which router each of them runs.

Walks the blocks in order and hands each statement to the check of its construct. The locals that a statement may read are those bound
in its run of mutations, and in the test of an `if` directly behind the run (E302).
"""

import ast
from typing import Final

from asya_flowc.check.assignments import check_assignment, check_bound_payload, check_stored
from asya_flowc.check.context import Context, Readable
from asya_flowc.check.expressions import check_expression
from asya_flowc.check.loops import check_end
from asya_flowc.forms import is_actor_call, is_nothing, is_payload_place, mutation_receiver
from asya_flowc.scope import names_bound_by_target
from asya_flowc.source import Span

__all__ = ["check_block"]

_REFUSED: Final[dict[type[ast.stmt], tuple[str, str]]] = {
    ast.Assert: ("E401", "assert"),
    ast.With: ("E401", "with"),
    ast.Match: ("E401", "match"),
    ast.Import: ("E401", "import"),
    ast.ImportFrom: ("E401", "import"),
    ast.Global: ("E401", "global"),
    ast.Nonlocal: ("E401", "nonlocal"),
    ast.FunctionDef: ("E401", "def"),
    ast.ClassDef: ("E401", "class"),
    ast.TryStar: ("E401", "except*"),
    ast.AsyncFunctionDef: ("E412", "async def"),
    ast.AsyncFor: ("E412", "async for"),
    ast.AsyncWith: ("E412", "async with"),
    ast.Try: ("E410", "try"),
    ast.Raise: ("E410", "raise"),
}


def check_block(context: Context, block: list[ast.stmt], *, loop_names: frozenset[str], in_loop: bool) -> None:
    """Check the statements of `block`; `loop_names` are the variables of the loops around it."""
    readable = Readable(bound=set(), loop_names=loop_names)
    for node in block:
        if is_nothing(node):
            continue
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                check_expression(context, test, readable)
                check_block(context, body, loop_names=loop_names, in_loop=in_loop)
                check_block(context, orelse, loop_names=loop_names, in_loop=in_loop)
                readable.bound.clear()
            case ast.While() | ast.For():
                _check_loop(context, node, loop_names=loop_names, in_loop=in_loop)
                readable.bound.clear()
            case ast.Break() | ast.Continue():
                if not in_loop:
                    context.report.add("E402", node, f"'{context.quote(node)}' stands outside of a loop")
                readable.bound.clear()
            case ast.Return():
                _check_return(context, node, readable)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                check_assignment(context, node, readable)
                if not _is_mutation(context, node):
                    readable.bound.clear()
            case ast.Delete(targets=targets):
                for target in targets:
                    if is_payload_place(context.scope, target):
                        _check_indices(context, target, readable)
                    else:
                        context.report.add("E401", node, f"'{context.quote(node)}' deletes something outside of the payload")
            case ast.Expr(value=value):
                _check_bare(context, node, value, readable)
            case _:
                _refuse(context, node)
                readable.bound.clear()


def _is_mutation(context: Context, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> bool:
    """Whether the statement stays in the run of mutations around it: all but an actor call do."""
    return node.value is None or not is_actor_call(context.scope, node.value)


def _refuse(context: Context, node: ast.stmt) -> None:
    code, word = _REFUSED.get(type(node), ("E401", type(node).__name__.lower()))
    line = node.lineno
    start = context.report.source.column(line, node.col_offset)
    end = len(context.report.source.line(line).rstrip()) + 1
    context.report.add(code, Span(line, start, line, max(end, start + 1)), f"'{word}' cannot stand in a flow: {context.quote(node)}")


def _check_loop(context: Context, node: ast.While | ast.For, *, loop_names: frozenset[str], in_loop: bool) -> None:
    readable = Readable(bound=set(), loop_names=loop_names)
    inner = loop_names
    if isinstance(node, ast.For):
        check_expression(context, node.iter, readable)
        names = {one.id for one in names_bound_by_target(node.target)}
        if any(isinstance(one, ast.Subscript | ast.Attribute) for one in ast.walk(node.target)):
            context.report.add("E301", node.target, f"the loop's target '{context.quote(node.target)}' is no plain name")
        for name in sorted(names):
            if name in loop_names:
                context.report.add("E307", node.target, f"the loop variable '{name}' of an outer loop is used again")
            elif name == context.scope.param:
                context.report.add("E301", node.target, f"the loop variable hides the payload '{name}'")
        inner = loop_names | names
    else:
        check_expression(context, node.test, readable)
        if context.options.infinite_loop_check:
            check_end(context, node)
    check_block(context, node.body, loop_names=inner, in_loop=True)
    check_block(context, node.orelse, loop_names=loop_names, in_loop=in_loop)


def _check_return(context: Context, node: ast.Return, readable: Readable) -> None:
    if node.value is None:
        context.report.add("E306", node, "the flow returns nothing", write=f"return {context.scope.param}")
        return
    check_bound_payload(context, node, node.value, readable)


def _check_indices(context: Context, target: ast.expr, readable: Readable) -> None:
    for one in ast.walk(target):
        if isinstance(one, ast.Subscript):
            check_expression(context, one.slice, readable)


def _check_bare(context: Context, node: ast.Expr, value: ast.expr, readable: Readable) -> None:
    scope, add = context.scope, context.report.add
    receiver = mutation_receiver(scope, value)
    if receiver is not None and isinstance(value, ast.Call):
        _check_mutating_call(context, value, receiver, readable)
        return
    readable.bound.clear()
    if isinstance(value, ast.Yield | ast.YieldFrom):
        add("E401", node, f"'{context.quote(value)}' yields")
    elif is_actor_call(scope, value):
        awaited = value.value if isinstance(value, ast.Await) else value
        add(
            "E203",
            node,
            f"the result of '{context.quote(value)}' is not bound to the payload",
            write=f"{scope.param} = {context.quote(awaited)}",
        )
    elif isinstance(value, ast.NamedExpr) and is_actor_call(scope, value.value):
        add("E203", node, f"'{context.quote(value)}' binds the result of an actor call inside of an expression")
    else:
        add("E305", node, f"'{context.quote(value)}' has no effect on the payload")


def _check_mutating_call(context: Context, call: ast.Call, receiver: ast.expr, readable: Readable) -> None:
    """``p["l"].append(e)``: what is given is stored in the payload, but for ``p.update(p)``, which copies."""
    check_expression(context, receiver, readable)
    copies = isinstance(call.func, ast.Attribute) and call.func.attr == "update"
    for one in call.args:
        given = one.value if isinstance(one, ast.Starred) else one
        check = check_expression if copies and isinstance(given, ast.Name) else check_stored
        check(context, given, readable)
    for keyword in call.keywords:
        check_stored(context, keyword.value, readable)
