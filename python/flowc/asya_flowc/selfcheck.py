"""Checks the emitted module before it leaves: it parses at 3.9, knows all its names, resolves them, and routes as the program says.

Called by the pipeline. A failure is E901 (our defect), a newer syntax in the user's expressions W603.
"""

import ast
import builtins
import symtable

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import HandlerUse, Program
from asya_flowc.passes.resolve_names import variables
from asya_flowc.runtime_text import find_actors, mappings_of
from asya_flowc.verify import BrokenInvariant

__all__ = ["check_routers"]


def check_routers(text: str, program: Program, report: Reporter) -> None:
    """Raises BrokenInvariant if `text` is not the module of `program`; adds W603."""
    tree, is_newer = _parsed(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if is_newer or any(_has_star_in_index(functions[router.name]) for router in program.routers):
        report.add("W603", program.flow.span, f"expressions of '{program.flow.name}' need a newer Python than 3.9")
    unknown = sorted(_undefined(text))
    if unknown:
        raise BrokenInvariant(f"routers.py uses undefined names: {', '.join(unknown)}")
    _check_resolution(program)
    _check_table(functions, program)


def _parsed(text: str) -> tuple[ast.Module, bool]:
    """The tree, and whether Python 3.9 could not have read it."""
    try:
        return ast.parse(text, feature_version=(3, 9)), False
    except SyntaxError:
        pass
    try:
        return ast.parse(text), True
    except SyntaxError as error:
        raise BrokenInvariant(f"routers.py does not parse: {error.msg} (line {error.lineno})") from error


def _has_star_in_index(function: ast.FunctionDef) -> bool:
    """``x[*y]``: it is of 3.11, and the parser does not tell."""
    return any(
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Tuple)
        and any(isinstance(one, ast.Starred) for one in node.slice.elts)
        for node in ast.walk(function)
    )


def _undefined(text: str) -> set[str]:
    top = symtable.symtable(text, "routers.py", "exec")
    defined = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported() or one.is_namespace()}
    defined |= set(dir(builtins)) | {"__name__"}
    used: set[str] = set()
    todo = [top]
    while todo:
        table = todo.pop()
        used |= {one.get_name() for one in table.get_symbols() if one.is_referenced() and (table is top or one.is_global())}
        todo.extend(table.get_children())
    return used - defined


def _check_resolution(program: Program) -> None:
    mappings = mappings_of(variables(program))
    pairs = [(one.name, one.actor) for one in program.flow.handlers] + [(one.name, one.actor) for one in program.routers[1:]]
    for name, actor in pairs:
        found = [one for one, _ in find_actors(name, mappings)]
        if found != [actor]:
            raise BrokenInvariant(f"resolve({name!r}) gives {found}, expected {actor}")


def _check_table(functions: dict[str, ast.FunctionDef], program: Program) -> None:
    """The names that each function inserts are those of the program's chains, in order."""
    names = {one.key: one.name for one in program.flow.handlers}
    for router in program.routers:
        wanted: list[str] = []
        for arm in router.arms:
            wanted += [names[one.handler] if isinstance(one, HandlerUse) else program.router(one.router).name for one in arm.chain.steps]
        found = _inserted(functions[router.name].body)
        if found != wanted:
            raise BrokenInvariant(f"{router.name} inserts {found}, expected {wanted}")


def _inserted(block: list[ast.stmt]) -> list[str]:
    """The names of ``_next.append(resolve("NAME"))``, in order."""
    found: list[str] = []
    for node in block:
        match node:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(attr="append"),
                    args=[ast.Call(func=ast.Name(id="resolve" | "_asya_resolve"), args=[ast.Constant(value=str() as name)])],
                )
            ):
                found.append(name)
            case ast.If(body=body, orelse=orelse):
                found += [*_inserted(body), *_inserted(orelse)]
            case _:
                pass
    return found
