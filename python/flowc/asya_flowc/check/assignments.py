"""Assignments: to the payload, into it, to locals (E203, E204, E208, E301, E302, E304, E305, E307, E308, E401, E411)."""

import ast

from asya_flowc.check.calls import check_actor_call
from asya_flowc.check.context import Context, Readable
from asya_flowc.check.expressions import check_expression
from asya_flowc.forms import HandlerRef, dotted, is_actor_call, is_payload_place, is_replacement, resolve_callee, resolve_class
from asya_flowc.scope import BUILTINS, is_library, names_bound_by_target

__all__ = ["check_assignment", "check_bound_payload", "check_stored"]


def check_assignment(context: Context, node: ast.Assign | ast.AnnAssign | ast.AugAssign, readable: Readable) -> None:
    """Check one assignment statement; adds the locals that it binds to `readable`."""
    scope = context.scope
    match node:
        case ast.AugAssign(target=target, value=value):
            _check_augmented(context, node, target, value, readable)
        case ast.AnnAssign(value=None):
            context.report.add("E305", node, f"'{context.quote(node)}' assigns nothing")
        case ast.AnnAssign(target=target, value=value):
            assert value is not None
            if is_actor_call(scope, value):
                context.report.add(
                    "E203", node, f"'{context.quote(node)}' annotates the payload", write=f"{scope.param} = {context.quote(value)}"
                )
            else:
                _check_plain(context, node, [target], value, readable)
        case _:
            _check_plain(context, node, node.targets, node.value, readable)


def _check_plain(context: Context, node: ast.stmt, targets: list[ast.expr], value: ast.expr, readable: Readable) -> None:
    scope = context.scope
    if len(targets) == 1 and isinstance(targets[0], ast.Name):
        name = targets[0].id
        if name == scope.param:
            check_bound_payload(context, node, value, readable)
            return
        if name in scope.instances:
            return
        if isinstance(value, ast.Lambda):
            context.report.add("E401", node, f"'{context.quote(node)}' defines a function")
            return
        if _is_load(context, value):
            context.report.add("E208", value, f"'{context.quote(value)}' is no class; its result would be no instance")
            return
    binds_payload = any(one.id == scope.param for target in targets for one in names_bound_by_target(target))
    if is_actor_call(scope, value) and not all(is_payload_place(scope, one) for one in targets):
        context.report.add("E203", node, f"'{context.quote(node)}' binds the result of an actor call to more or other than '{scope.param}'")
        return
    if binds_payload:
        context.report.add("E304", node, f"'{context.quote(node)}' binds the payload together with something else")
        return
    check_stored(context, value, readable)
    for target in targets:
        _check_target(context, target, readable)


def check_bound_payload(context: Context, node: ast.stmt, value: ast.expr, readable: Readable) -> None:
    """Check what is bound to the payload, by ``p = value`` or ``return value``."""
    scope, code = context.scope, "E306" if isinstance(node, ast.Return) else "E304"
    if is_replacement(scope, value):
        check_expression(context, value, readable)
    elif isinstance(value, ast.Call):
        check_actor_call(context, value)
    elif isinstance(value, ast.Await):
        context.report.add("E412", value, f"'{context.quote(value)}' awaits")
    elif (call := _hidden_actor_call(context, value)) is not None:
        context.report.add("E204", call, f"the handler '{context.quote(call.func)}' is called inside of an expression")
    else:
        what = "returns" if code == "E306" else f"binds '{scope.param}' to"
        context.report.add(code, value, f"the flow {what} '{context.quote(value)}', which is not the payload")


def _hidden_actor_call(context: Context, value: ast.expr) -> ast.Call | None:
    return next((one for one in ast.walk(value) if isinstance(one, ast.Call) and is_actor_call(context.scope, one)), None)


def check_stored(context: Context, value: ast.expr, readable: Readable) -> None:
    """Check a value that goes into the payload or a local: no actor call, no fan-out, not the payload itself."""
    if isinstance(value, ast.Lambda):
        context.report.add("E401", value, f"'{context.quote(value)}' is a function")
        return
    fan_out = _fan_out(context, value)
    if fan_out is not None:
        context.report.add(
            "E411", value, f"'{context.quote(value)}' calls the handler '{context.quote(fan_out.func)}' for each part: a fan-out"
        )
        return
    if isinstance(value, ast.List) and (mixed := next((one for one in value.elts if _slice(context, one) is not None), None)) is not None:
        context.report.add("E204", mixed, f"'{context.quote(mixed)}' calls a handler inside of an expression")
        return
    for place in _places_of_itself(value):
        if isinstance(place, ast.Name) and place.id == context.scope.param:
            context.report.add("E308", place, "the payload is stored in itself", write=f"dict({context.scope.param})")
    check_expression(context, value, readable)


def _places_of_itself(value: ast.expr) -> list[ast.expr]:
    """The expressions whose value `value` would hold by reference."""
    found: list[ast.expr] = []
    todo = [value]
    while todo:
        one = todo.pop()
        found.append(one)
        match one:
            case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts) | ast.BoolOp(values=elts):
                todo.extend(elts)
            case ast.Dict(keys=keys, values=values):
                todo.extend(value for key, value in zip(keys, values, strict=True) if key is not None)
            case ast.IfExp(body=body, orelse=orelse):
                todo.extend((body, orelse))
            case ast.NamedExpr(value=inner):
                todo.append(inner)
            case _:
                pass
    return found


def _slice(context: Context, node: ast.expr, *, hidden: frozenset[str] = frozenset()) -> ast.Call | None:
    """``a(x)`` with `a` a handler by name: an element of a fan-out. `hidden` are names bound inside the expression."""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return None
    parts = dotted(node.func)
    if parts is not None and parts[0] in hidden:
        return None
    return node if isinstance(resolve_callee(context.scope, node.func), HandlerRef) else None


def _fan_out(context: Context, value: ast.expr) -> ast.Call | None:
    """The first slice of a fan-out; None if `value` is none."""
    if isinstance(value, ast.Await):
        value = value.value
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="gather")):
            return value
        case ast.List(elts=elts):
            slices = [one for each in elts if (one := _slice(context, each)) is not None]
            return slices[0] if slices and len(slices) == len(elts) else None
        case ast.ListComp(elt=elt, generators=generators):
            hidden = frozenset(name.id for one in generators for name in names_bound_by_target(one.target))
            return _slice(context, elt, hidden=hidden)
        case _:
            return None


def _is_load(context: Context, value: ast.expr) -> bool:
    """``load()``: a call without arguments of something that is neither class, builtin nor library."""
    if not isinstance(value, ast.Call) or value.args or value.keywords or resolve_class(context.scope, value.func) is not None:
        return False
    root: ast.expr = value.func
    while isinstance(root, ast.Attribute):
        root = root.value
    if (
        not isinstance(root, ast.Name)
        or root.id in context.scope.locals
        or root.id == context.scope.param
        or root.id in context.scope.instances
    ):
        return False
    module = context.scope.module
    found = module.imports.get(root.id)
    return not (found is not None and is_library(found.module)) and (root.id in module.names or root.id not in BUILTINS)


def _check_target(context: Context, target: ast.expr, readable: Readable) -> None:
    scope = context.scope
    match target:
        case ast.Name(id=name):
            if name in scope.loop_names:
                context.report.add("E307", target, f"the loop variable '{name}' is assigned")
            else:
                readable.bound.add(name)
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            for one in elts:
                _check_target(context, one, readable)
        case ast.Starred(value=value):
            _check_target(context, value, readable)
        case ast.Subscript() if is_payload_place(scope, target):
            _check_keys(context, target, readable)
        case _:
            context.report.add("E301", target, f"'{context.quote(target)}' is outside of the payload", write=f'{scope.param}["key"] = …')


def _check_keys(context: Context, target: ast.expr, readable: Readable) -> None:
    while isinstance(target, ast.Subscript):
        check_expression(context, target.slice, readable)
        target = target.value


def _check_augmented(context: Context, node: ast.AugAssign, target: ast.expr, value: ast.expr, readable: Readable) -> None:
    scope = context.scope
    if isinstance(target, ast.Name):
        name = target.id
        if name == scope.param and not isinstance(node.op, ast.BitOr):
            context.report.add("E301", node, f"'{context.quote(node)}' changes the payload as a whole", write=f'{name}["key"] = …')
            return
        if is_actor_call(scope, value):
            context.report.add("E203", node, f"'{context.quote(node)}' adds the result of an actor call to '{name}'")
            return
        if name in scope.locals and name not in readable.bound:
            if name in scope.loop_names:
                context.report.add("E307", target, f"the loop variable '{name}' is assigned")
            else:
                context.report.add("E302", target, f"the local '{name}' is not bound in this router")
            return
        check_stored(context, value, readable)
        return
    check_stored(context, value, readable)
    _check_target(context, target, readable)
