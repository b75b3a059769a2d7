"""Actor calls, ``p = a(b(p))``: E106, E201, E202, E205–E207, E210, E304. As many forms as people write for a call that is none."""

import ast

from asya_flowc.check.context import Context
from asya_flowc.forms import ClassRef, RefusedCallee, resolve_callee

__all__ = ["check_actor_call", "check_class"]


def check_actor_call(context: Context, call: ast.Call) -> None:
    """Check ``p = call``: each callee from the outermost inwards is a handler with the payload as its only argument."""
    node, param = call, context.scope.param
    while _check_callee(context, node):
        handler = context.quote(node.func)
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            what = "no argument" if not node.args and not node.keywords else "not exactly one plain argument"
            context.report.add("E201", node, f"the call of '{handler}' has {what}", write=f"{param} = {handler}({param})")
            return
        argument = node.args[0]
        if isinstance(argument, ast.Name) and argument.id == param:
            return
        inner = argument
        if isinstance(argument, ast.Await):
            context.report.add("E412", argument, f"'{context.quote(argument)}' awaits")
            inner = argument.value
        if not isinstance(inner, ast.Call) or _is_no_handler(context, inner):
            write = f"{param} = {handler}({param})   and read {context.quote(argument)} in the handler"
            context.report.add("E202", argument, f"the argument of handler '{handler}' is not the payload", write=write)
            return
        node = inner


def _is_no_handler(context: Context, call: ast.Call) -> bool:
    """Whether ``h(call)`` was meant as a handler of a value: ``h(dict(p))``."""
    refused = resolve_callee(context.scope, call.func)
    return isinstance(refused, RefusedCallee) and refused.code in ("E205", "E206")


def _check_callee(context: Context, call: ast.Call) -> bool:
    callee = resolve_callee(context.scope, call.func)
    if isinstance(callee, RefusedCallee):
        where = call if callee.code in ("E207", "E208") else call.func
        context.report.add(callee.code, where, callee.message.replace("{callee}", context.quote(call.func)))
        return False
    if not all(part.isascii() for part in callee.text):
        context.report.add("E106", call.func, f"the handler's name '{'.'.join(callee.text)}' is not ASCII")
        return False
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        built = call.func.value
        if built.args or built.keywords:
            context.report.add("E207", built, f"'{context.quote(built)}' gives arguments to the constructor")
            return False
        assert callee.owner is not None  # a method of what was built
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
