"""Actor calls, ``p = a(b(p))``: E106, E201, E202, E205–E207, E210, E304. As many forms as people write for a call that is none."""

import ast

from asya_flowc.check.context import Context
from asya_flowc.forms import ClassRef, RefusedCallee, resolve_callee

__all__ = ["check_actor_call", "check_class"]


def check_actor_call(context: Context, call: ast.Call) -> None:
    """Check ``p = call``: each callee from the outermost inwards is a handler with the payload as its only argument."""
    node: ast.expr = call
    while True:
        if isinstance(node, ast.Await):
            context.report.add("E412", node, f"'{context.quote(node)}' awaits")
            node = node.value
        if not isinstance(node, ast.Call):
            return
        if not _check_callee(context, node):
            return
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            what = "no argument" if not node.args and not node.keywords else "not exactly one plain argument"
            context.report.add(
                "E201",
                node,
                f"the call of '{context.quote(node.func)}' has {what}",
                write=f"{context.scope.param} = {context.quote(node.func)}({context.scope.param})",
            )
            return
        argument = node.args[0]
        if isinstance(argument, ast.Name) and argument.id == context.scope.param:
            return
        inner = argument.value if isinstance(argument, ast.Await) else argument
        if not isinstance(inner, ast.Call) or (
            isinstance(refused := resolve_callee(context.scope, inner.func), RefusedCallee) and refused.code in ("E206", "E205")
        ):
            param = context.scope.param
            context.report.add(
                "E202", argument, f"the argument of handler '{context.quote(node.func)}' is not the payload",
                write=f"{param} = {context.quote(node.func)}({param})   and read {context.quote(argument)} in the handler",
            )  # fmt: skip
            return
        node = argument


def _check_callee(context: Context, call: ast.Call) -> bool:
    callee = resolve_callee(context.scope, call.func)
    if isinstance(callee, RefusedCallee):
        where = call if callee.code in ("E207", "E208") else call.func
        context.report.add(callee.code, where, callee.message)
        return False
    if not all(part.isascii() for part in callee.text):
        context.report.add("E106", call.func, f"the handler's name '{'.'.join(callee.text)}' is not ASCII")
        return False
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        built = call.func.value
        if built.args or built.keywords:
            context.report.add("E207", built, f"'{context.quote(built)}' gives arguments to the constructor")
            return False
        if callee.owner is not None:
            check_class(context, callee.owner, built)
    return True


def check_class(context: Context, owner: ClassRef, where: ast.expr) -> None:
    """E210 for a class of this file whose ``__init__`` needs arguments."""
    if owner.node is None:
        return
    for one in owner.node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            positional = (one.args.posonlyargs + one.args.args)[1:]
            needed = [arg.arg for arg in positional[: len(positional) - len(one.args.defaults)]]
            needed += [arg.arg for arg, default in zip(one.args.kwonlyargs, one.args.kw_defaults, strict=True) if default is None]
            if needed:
                context.report.add("E210", where, f"'{'.'.join(owner.text)}.__init__' has no default for {', '.join(needed)}")
