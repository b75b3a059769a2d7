"""Containers under two names, then changed in place (W311): they are one object in plain Python until the next router, then two."""

import ast

from asya_flowc.check.context import Context
from asya_flowc.forms import MUTATING_METHODS, is_payload_place, place_root_key

__all__ = ["check_sharing"]


def check_sharing(context: Context) -> None:
    """Warn where a container gets a second name in the payload, and anything below one of the two is changed in place."""
    scope = context.scope
    shared: list[tuple[ast.Assign, set[str | None]]] = []
    changed: set[str | None] = set()
    for node in ast.walk(scope.function):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    changed |= _changed_below(context, target, least=2)
                sources = [one for one in _held(value) if is_payload_place(scope, one) or _is_shared_name(context, one)]
                if sources:
                    places = [*targets, *sources]
                    shared.append((node, {key[0] for one in places if (key := place_root_key(scope, one)) is not None}))
            case ast.AugAssign(target=target):
                changed |= _changed_below(context, target, least=1)
            case ast.Delete(targets=targets):
                for target in targets:
                    changed |= _changed_below(context, target, least=2)
            case ast.Call(func=ast.Attribute(value=receiver, attr=method)) if method in MUTATING_METHODS:
                changed |= _changed_below(context, receiver, least=1)
            case _:
                pass
    for statement, keys in shared:
        if keys & changed or (None in keys and changed) or (None in changed and keys):
            context.report.add(
                "W311", statement, f"'{context.quote(statement)}' makes two names for one value, and the flow changes one of them in place"
            )


def _is_shared_name(context: Context, node: ast.expr) -> bool:
    """Whether `node` names a value that lives beside the payload: a loop variable, or a list, dict or set of the module."""
    if not isinstance(node, ast.Name):
        return False
    constant = context.scope.module.constants.get(node.id)
    return node.id in context.scope.loop_names or (constant is not None and isinstance(constant.value, ast.List | ast.Dict | ast.Set))


def _held(value: ast.expr) -> list[ast.expr]:
    match value:
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            return [inner for one in elts for inner in _held(one)]
        case ast.Dict(values=values):
            return [inner for one in values for inner in _held(one)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_held(body), *_held(orelse)]
        case ast.BoolOp(values=values):
            return [inner for one in values for inner in _held(one)]
        case ast.Call():
            return (
                [value.args[1]] if isinstance(value.func, ast.Attribute) and value.func.attr == "setdefault" and len(value.args) > 1 else []
            )
        case _:
            return [value]


def _changed_below(context: Context, target: ast.expr, *, least: int) -> set[str | None]:
    place = place_root_key(context.scope, target)
    return {place[0]} if place is not None and place[1] >= least else set()
