"""Instances, ``obj = Cls()``: bound once, without arguments, where the binding dominates every use (E106, E207, E209, E210)."""

import ast

from asya_flowc.check.calls import check_class
from asya_flowc.check.context import Context

__all__ = ["check_instances"]


def check_instances(context: Context) -> None:
    """Check the bindings of instances and where they are used; uses inside of expressions are found by the expressions' check."""
    _check_bindings(context)
    _check_uses(context, context.scope.function.body, frozenset())


def _check_bindings(context: Context) -> None:
    scope, seen = context.scope, set[str]()
    for node in ast.walk(scope.function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call) if name in scope.instances:
                owner = scope.instances[name]
                if call.args or call.keywords:
                    context.report.add("E207", call, f"'{context.quote(call)}' gives arguments to the constructor")
                if name in seen:
                    context.report.add("E209", node, f"the instance '{name}' is bound twice")
                if name in scope.module.names:
                    context.report.add("E209", node, f"the instance '{name}' hides a name of the module")
                if not all(part.isascii() for part in owner.text):
                    context.report.add("E106", call.func, f"the class's name '{'.'.join(owner.text)}' is not ASCII")
                check_class(context, owner, call)
                seen.add(name)
            case ast.Assign(targets=targets):
                for target in targets:
                    _refuse_other_binding(context, target)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.NamedExpr(target=target) | ast.For(target=target):
                _refuse_other_binding(context, target)
            case _:
                pass


def _refuse_other_binding(context: Context, target: ast.expr) -> None:
    for one in ast.walk(target):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id in context.scope.instances:
            context.report.add("E209", one, f"the instance '{one.id}' is bound to something else too")


def _check_uses(context: Context, block: list[ast.stmt], bound: frozenset[str]) -> None:
    """`bound`: instances whose binding every way to this block has passed."""
    for statement in block:
        for field in ("test", "iter", "value"):
            value = getattr(statement, field, None)
            if isinstance(value, ast.expr):
                _check_callees(context, value, bound)
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in context.scope.instances:
                bound = bound | {name}
            case ast.If(body=body, orelse=orelse) | ast.For(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                _check_uses(context, body, bound)
                _check_uses(context, orelse, bound)
            case _:
                pass


def _check_callees(context: Context, value: ast.expr, bound: frozenset[str]) -> None:
    for node in ast.walk(value):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in context.scope.instances and name not in bound:
                context.report.add("E209", node.func, f"the instance '{name}' is used where it may not be bound")
            case _:
                pass
