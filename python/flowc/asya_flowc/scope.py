"""What the names of the user's module stand for: functions, classes, imports, constants.

Built once per file by the pipeline; read by selection, checks and lowering. Looks at the top level only and evaluates nothing.
"""

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["BUILTINS", "FORBIDDEN_BUILTINS", "Import", "ModuleScope", "is_library", "module_scope", "names_bound_by_target"]

FORBIDDEN_BUILTINS: Final = frozenset(
    [
        "eval",
        "exec",
        "compile",
        "globals",
        "locals",
        "vars",
        "open",
        "input",
        "print",
        "breakpoint",
        "exit",
        "quit",
        "__import__",
        "super",
        "help",
        "dir",
    ]
)
BUILTINS: Final = frozenset(name for name in dir(builtins) if not name.startswith("_"))
_LITERAL: Final = (
    ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr,
    ast.FormattedValue, ast.Name, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name. ``from m import a as b``: module "m", name "a", alias "b". ``import m.n as b``: module "m.n", name ""."""

    module: str
    name: str
    alias: str
    node: ast.Import | ast.ImportFrom
    is_relative: bool = False

    @property
    def path(self) -> str:
        """What the bound name is, as a dotted path; ``import m.n`` binds ``m``."""
        return f"{self.module}.{self.name}" if self.name else self.module


def is_library(module: str) -> bool:
    """Whether `module` belongs to the standard library of Python."""
    return module.partition(".")[0] in sys.stdlib_module_names


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleScope:
    """The names bound at the top level of a module."""

    functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]
    classes: Mapping[str, ast.ClassDef]
    imports: Mapping[str, Import]
    constants: Mapping[str, ast.Assign | ast.AnnAssign]
    """Names assigned exactly once, to literals or operators over such; their statements are carried into the routers."""
    objects: frozenset[str]
    """Other names bound at the top level: results of calls, names bound more than once, loop targets."""

    @property
    def names(self) -> frozenset[str]:
        """Every name of the module."""
        return frozenset((*self.functions, *self.classes, *self.imports, *self.constants, *self.objects))

    def carries_import(self, name: str) -> bool:
        """Whether `name` is a top-level import of the standard library, which the routers may import as well."""
        found = self.imports.get(name)
        return found is not None and not found.is_relative and is_library(found.module)


def names_bound_by_target(target: ast.expr) -> Iterator[ast.Name]:
    """The plain names that an assignment target binds, in order."""
    todo = [target]
    while todo:
        node = todo.pop()
        match node:
            case ast.Name():
                yield node
            case ast.Tuple() | ast.List():
                todo.extend(reversed(node.elts))
            case ast.Starred():
                todo.append(node.value)
            case _:
                pass


def module_scope(tree: ast.Module) -> ModuleScope:
    """The scope of `tree`. A name bound twice is known (no unknown name) but is neither constant nor carried import."""
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    classes: dict[str, ast.ClassDef] = {}
    imports: dict[str, Import] = {}
    assigned: dict[str, ast.Assign | ast.AnnAssign] = {}
    others: set[str] = set()
    counts: dict[str, int] = {}

    def note(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    for statement, is_top in _module_statements(tree):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                functions[statement.name] = statement
                note(statement.name)
            case ast.ClassDef():
                classes[statement.name] = statement
                note(statement.name)
            case ast.Import() | ast.ImportFrom():
                for one in _imports_of(statement):
                    imports[one.alias] = one
                    note(one.alias)
                    if not is_top:
                        others.add(one.alias)
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if isinstance(statement, ast.AnnAssign) and statement.value is None:
                    continue
                for target in targets:
                    for bound in names_bound_by_target(target):
                        note(bound.id)
                        if is_top and len(targets) == 1 and isinstance(target, ast.Name):
                            assigned[bound.id] = statement
                        else:
                            others.add(bound.id)
            case ast.AugAssign(target=ast.Name(id=name)):
                counts[name] = counts.get(name, 0) + 2
                others.add(name)
            case ast.For() | ast.AsyncFor():
                for bound in names_bound_by_target(statement.target):
                    others.add(bound.id)
                    note(bound.id)
            case _:
                pass
    for node in ast.walk(tree):  # what `global` makes assignable elsewhere is no constant
        if isinstance(node, ast.Global):
            for name in node.names:
                counts[name] = counts.get(name, 0) + 2
                others.add(name)
    once = {name for name, count in counts.items() if count == 1}
    constants = _constants({name: node for name, node in assigned.items() if name in once})
    rest = (others | set(assigned)) - set(constants)
    return ModuleScope(
        functions=functions,
        classes=classes,
        imports={name: one for name, one in imports.items() if counts[name] == 1},
        constants=constants,
        objects=frozenset((rest | {name for name in imports if counts[name] > 1}) - set(functions) - set(classes)),
    )


def _module_statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Statements that run when the module is imported, outside of functions and classes; with whether they stand at the top."""
    todo: list[tuple[ast.stmt, bool]] = [(one, True) for one in reversed(tree.body)]
    while todo:
        statement, is_top = todo.pop()
        if is_top or not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement, is_top
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inner: list[ast.stmt] = []
        for field in ("body", "orelse", "finalbody"):
            inner.extend(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            inner.extend(handler.body)
        todo.extend((one, False) for one in reversed(inner))


def _imports_of(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield Import(module=alias.name, name="", alias=alias.asname, node=node)
            else:
                yield Import(module=alias.name.partition(".")[0], name="", alias=alias.name.partition(".")[0], node=node)
        return
    if node.module == "__future__":
        return
    for alias in node.names:
        if alias.name != "*":
            yield Import(module=node.module or "", name=alias.name, alias=alias.asname or alias.name, node=node, is_relative=node.level > 0)


def _constants(candidates: dict[str, ast.Assign | ast.AnnAssign]) -> dict[str, ast.Assign | ast.AnnAssign]:
    """Those candidates that are made of literals and of other constants assigned before them."""
    found: dict[str, ast.Assign | ast.AnnAssign] = {}
    for name, node in candidates.items():
        assert node.value is not None
        inner = list(ast.walk(node.value))
        if all(isinstance(one, _LITERAL) for one in inner) and all(one.id in found for one in inner if isinstance(one, ast.Name)):
            found[name] = node
    return found
