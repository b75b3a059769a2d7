"""Which function of the file is the flow: E101–E106 and W110, W111. Called by the pipeline, after parsing and after the checks.

Must not know how a flow is compiled.
"""

import ast
from collections.abc import Iterator

from asya_flowc.diagnostics import Reporter
from asya_flowc.forms import FlowScope, HandlerRef, flow_scope, is_actor_call, is_replacement, resolve_callee
from asya_flowc.scope import ModuleScope
from asya_flowc.source import Source, Span

__all__ = ["select_flow", "warn_without_handlers"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def select_flow(tree: ast.Module, module: ModuleScope, source: Source, report: Reporter, *, named: str | None) -> FlowScope | None:
    """The scope of the flow function, or None with E101–E106 reported. `named` is the value of --flow."""
    shaped = {name: node for name, node in module.functions.items() if _shape_problem(node) is None}
    chosen = _named(tree, module, report, name=named) if named is not None else _found(tree, module, source, report, shaped=shaped)
    if chosen is None:
        return None
    if chosen.decorator_list:
        report.add("E105", chosen.decorator_list[0], f"the flow '{chosen.name}' is decorated")
    if not chosen.name.isascii():
        report.add("E106", _name_span(chosen, source), f"the flow's name '{chosen.name}' is not ASCII")
    if isinstance(chosen, ast.AsyncFunctionDef):
        report.add("E412", _name_span(chosen, source), f"the flow '{chosen.name}' is an async function")
    scope = flow_scope(source.stem, module, chosen)
    if chosen.name in _called_with_payload(chosen):
        report.add("E104", _name_span(chosen, source), f"the flow '{chosen.name}' calls itself")
        return None
    for name in sorted(_called_with_payload(chosen) & set(shaped)):
        if _is_flow_like(source.stem, module, shaped[name]):
            report.add("W111", _name_span(shaped[name], source), f"'{name}' looks like a flow and is called as one handler")
    return scope


def warn_without_handlers(scope: FlowScope, report: Reporter) -> None:
    """W110 for a flow that was taken only because no other function can be one; not if an error says how it tried to call a handler."""
    node = scope.function
    if _is_flow_like(scope.stem, scope.module, node) or any(one.code[:2] == "E2" or one.code in ("E411", "E412") for one in report.found):
        return
    report.add(
        "W110", _name_span(node, report.source), f"'{node.name}' is taken as the flow, the only one of its shape; it calls no handler"
    )


def _name_span(node: FunctionNode, source: Source) -> Span:
    lead = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    start = source.column(node.lineno, node.col_offset) + len(lead)
    return Span(node.lineno, start, node.lineno, start + len(node.name))


def _shape_problem(node: FunctionNode) -> str | None:
    """Why `node` cannot be a flow by its signature, as the end of a sentence; None if it can."""
    args = node.args
    positional = args.posonlyargs + args.args
    if args.vararg or args.kwarg:
        return "has * or ** parameters"
    if args.kwonlyargs:
        return "has keyword-only parameters"
    if len(positional) != 1:
        return "has no parameter" if not positional else f"has {len(positional)} parameters"
    if args.defaults:
        return "has a default for its parameter"
    return None


def _named(tree: ast.Module, module: ModuleScope, report: Reporter, *, name: str) -> FunctionNode | None:
    node = module.functions.get(name)
    if node is None:
        nested = next((one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name), None)
        if nested is None:
            others = ", ".join(sorted(module.functions)) or "none"
            report.add("E102", Span(1, 1, 1, 1), f"there is no function '{name}' in this file; functions at its top level: {others}")
        else:
            report.add("E102", nested, f"'{name}' is not at the top level of the file")
        return None
    problem = _shape_problem(node)
    if problem:
        report.add("E102", _name_span(node, report.source), f"'{name}' {problem}")
        return None
    return node


def _found(
    tree: ast.Module, module: ModuleScope, source: Source, report: Reporter, *, shaped: dict[str, FunctionNode]
) -> FunctionNode | None:
    called = _called_in_module(tree)
    roots = [node for name, node in shaped.items() if not called.get(name, set()) - {name}]
    roots = [node for node in roots if node.name not in called.get(node.name, set())] or roots
    flow_like = [node for node in roots if _is_flow_like(source.stem, module, node)]
    if len(flow_like) == 1:
        return flow_like[0]
    if not flow_like and len(roots) == 1:
        return roots[0]
    if flow_like or roots:
        several = flow_like or roots
        names = ", ".join(f"{node.name} (line {node.lineno})" for node in several)
        report.add(
            "E103", _name_span(several[1], source), f"{len(several)} functions may be the flow: {names}", write=f"--flow {several[0].name}"
        )
        return None
    if shaped:
        first = next(iter(shaped.values()))
        report.add("E104", _name_span(first, source), f"the functions {', '.join(sorted(shaped))} call each other in a circle")
        return None
    reasons = list(_reasons(tree, module))
    first_line = min((line for line, _ in reasons), default=1)
    where = Span(first_line, 1, first_line, 1)
    detail = "; ".join(f"{text} (line {line})" for line, text in reasons) or "it defines no function"
    report.add("E101", where, f"no function of this file can be the flow: {detail}")
    return None


def _reasons(tree: ast.Module, module: ModuleScope) -> Iterator[tuple[int, str]]:
    top = {id(node) for node in module.functions.values()}
    methods = {id(one) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for one in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if id(node) in top:
                yield node.lineno, f"'{node.name}' {_shape_problem(node)}"
            elif id(node) in methods:
                yield node.lineno, f"'{node.name}' is a method"
            else:
                yield node.lineno, f"'{node.name}' is not at the top level"


def _parameters(node: FunctionNode | ast.Lambda) -> set[str]:
    args = node.args
    return {one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)}


def _called_with_payload(node: ast.AST) -> set[str]:
    """Plain names that `node`, a function, calls with one of its own parameters, at any depth."""
    own = _parameters(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else set()
    found: set[str] = set()
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Name(id=name), args=args):
                if any(_passes(arg, own) for arg in args):
                    found.add(name)
            case _:
                pass
    return found


def _passes(arg: ast.expr, own: set[str]) -> bool:
    match arg:
        case ast.Name(id=name):
            return name in own
        case ast.Call(args=args):
            return any(_passes(one, own) for one in args)
        case _:
            return False


def _called_in_module(tree: ast.Module) -> dict[str, set[str]]:
    """Called name → the functions and methods that call it with their own parameter (decisions: a literal argument does not count)."""
    callers: dict[str, set[str]] = {}
    for node in tree.body:
        bodies: list[ast.AST] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            bodies = [node]
        elif isinstance(node, ast.ClassDef):
            bodies = [one for one in ast.walk(node) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        for body in bodies:
            for name in _called_with_payload(body):
                callers.setdefault(name, set()).add(node.name)  # type: ignore[attr-defined]
    return callers


def _is_flow_like(stem: str, module: ModuleScope, node: FunctionNode) -> bool:
    """Whether `node` has an actor call on its parameter: ``p = h(p)`` or ``return h(p)``."""
    scope = flow_scope(stem, module, node)
    for one in ast.walk(node):
        value: ast.expr | None = None
        match one:
            case ast.Assign(targets=[ast.Name(id=name)], value=found) if name == scope.param:
                value = found
            case ast.Return(value=found):
                value = found
            case _:
                continue
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(value, ast.Call) and not is_replacement(scope, value) and is_actor_call(scope, value):
            callee = resolve_callee(scope, value.func)
            if isinstance(callee, HandlerRef) and callee.text != (node.name,):
                return True
    return False
