"""Loops that cannot end (E403): nothing in the body changes what the test reads, and nothing leaves."""

import ast

from asya_flowc.check.context import Context
from asya_flowc.check.expressions import UNSTEADY_BUILTINS, UNSTEADY_METHODS, UNSTEADY_MODULES
from asya_flowc.forms import MUTATING_METHODS, place_root_key

__all__ = ["check_end"]


def check_end(context: Context, loop: ast.While) -> None:
    """Report a `while` that never ends: without break, return or raise, and either constantly true or with a test that nothing changes."""
    if _leaves(loop.body):
        return
    where = loop.test
    if isinstance(loop.test, ast.Constant):
        if loop.test.value:
            context.report.add("E403", where, f"'while {context.quote(loop.test)}' has neither break nor return", write="break")
        return
    if _is_unsteady(context, loop.test) or _mutates(context, loop.test):
        return
    read = _keys_read(context, loop.test)
    for node in _statements(loop.body):
        written = _keys_written(context, node)
        if written is None or (read is None and written) or (read is not None and written & read):
            return
    context.report.add("E403", where, f"nothing in this loop changes what '{context.quote(loop.test)}' reads")


def _statements(block: list[ast.stmt]) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    todo = list(block)
    while todo:
        one = todo.pop()
        found.append(one)
        for field in ("body", "orelse"):
            todo.extend(getattr(one, field, []))
    return found


def _leaves(block: list[ast.stmt]) -> bool:
    """Whether a break of this loop, a return or a raise stands in it."""
    for one in block:
        match one:
            case ast.Break() | ast.Return() | ast.Raise():
                return True
            case ast.If(body=body, orelse=orelse):
                if _leaves(body) or _leaves(orelse):
                    return True
            case ast.While(body=body, orelse=orelse) | ast.For(body=body, orelse=orelse):
                if _leaves(orelse) or any(isinstance(inner, ast.Return | ast.Raise) for inner in _statements(body)):
                    return True
            case _:
                pass
    return False


def _is_unsteady(context: Context, test: ast.expr) -> bool:
    for node in ast.walk(test):
        if isinstance(node, ast.Name):
            found = context.scope.module.imports.get(node.id)
            if node.id in UNSTEADY_BUILTINS or (found is not None and found.module.partition(".")[0] in UNSTEADY_MODULES):
                return True
        elif isinstance(node, ast.Attribute) and node.attr in UNSTEADY_METHODS:
            return True
    return False


def _mutates(context: Context, test: ast.expr) -> bool:
    """Whether the test itself changes the payload: ``while p["todo"].pop():``."""
    return any(isinstance(node, ast.Attribute) and node.attr in MUTATING_METHODS for node in ast.walk(test))


def _keys_read(context: Context, test: ast.expr) -> set[str] | None:
    """The payload's keys that the test reads; None if it may read any."""
    found: set[str] = set()
    inner: set[int] = set()
    for node in ast.walk(test):
        place = place_root_key(context.scope, node) if isinstance(node, ast.Subscript | ast.Call) else None
        if place is not None and place[1] > 0 and place[0] is not None:
            found.add(place[0])
            inner |= {id(one) for one in ast.walk(node) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            if any(isinstance(one, ast.Name) and one.id == context.scope.param for one in node.comparators):
                found.add(node.left.value)
                inner |= {id(one) for one in node.comparators}
        elif isinstance(node, ast.Name) and node.id == context.scope.param and id(node) not in inner:
            return None
    return found


def _keys_written(context: Context, node: ast.stmt) -> set[str] | None:
    """The payload's keys that one statement changes; None if it may be any (a handler, a replacement, a dynamic key)."""
    scope = context.scope
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == scope.param:
            if isinstance(value, ast.Name) and value.id == scope.param:
                return set()
            return None
        case ast.AugAssign(target=ast.Name(id=name)) if name == scope.param:
            return None
        case ast.Assign(targets=targets):
            places = list(targets)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            places = [target]
        case ast.Delete(targets=targets):
            places = targets
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method))) if method in MUTATING_METHODS:
            place = place_root_key(scope, receiver)
            if place is not None and place[1] == 0 and method in ("pop", "setdefault"):
                first = node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else None
                return {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            return None if place is None or place[0] is None else {place[0]}
        case ast.If(test=test) | ast.While(test=test):
            return None if _mutates(context, test) else set()
        case _:
            return set()
    found: set[str] = set()
    for place_written in places:
        for one in ast.walk(place_written):
            if isinstance(one, ast.Subscript):
                place = place_root_key(scope, one)
                if place is not None:
                    if place[0] is None:
                        return None
                    found.add(place[0])
    return found
