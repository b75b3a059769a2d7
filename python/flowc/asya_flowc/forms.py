"""Recognises the forms of the language in syntax: payload places, replacements, instances, callees.

Pure questions about one node, answered for checks and lowering alike, so that the two cannot disagree. Reports nothing.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from asya_flowc.scope import BUILTINS, ModuleScope, is_library, names_bound_by_target

__all__ = [
    "MUTATING_METHODS", "Callee", "ClassRef", "FlowScope", "HandlerRef", "RefusedCallee", "actor_calls", "dotted", "flow_scope",
    "is_actor_call", "is_nothing", "is_payload_place", "is_replacement", "mutation_receiver", "place_root_key", "resolve_callee",
    "resolve_class",
]  # fmt: skip

MUTATING_METHODS: Final = frozenset(
    ["update", "append", "pop", "popitem", "setdefault", "clear", "extend", "insert", "remove", "sort", "reverse", "add", "discard"]
)
_RECEIVER_METHODS: Final = frozenset(("get", "setdefault"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRef:
    """A class named in the flow: its text with aliases replaced, its full path if known, its definition if in this file."""

    text: tuple[str, ...]
    path: str | None
    node: ast.ClassDef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRef:
    """A handler named in the flow. `path` is None when it is neither imported nor defined here."""

    text: tuple[str, ...]
    path: str | None
    in_file: bool = False
    owner: ClassRef | None = None

    @property
    def key(self) -> str:
        """What makes two mentions the same handler."""
        return self.path or ".".join(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCallee:
    """Why a callee is no handler: a code and the message for it, in which ``{callee}`` stands for the callee as written."""

    code: str
    message: str


Callee = HandlerRef | RefusedCallee


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowScope:
    """The names inside the flow function."""

    stem: str
    module: ModuleScope
    function: ast.FunctionDef | ast.AsyncFunctionDef
    param: str
    locals: frozenset[str] = frozenset()
    """Names assigned anywhere in the function, loop variables included, instances and the parameter not."""
    loop_names: frozenset[str] = frozenset()
    instances: Mapping[str, ClassRef] = field(default_factory=dict)


def flow_scope(stem: str, module: ModuleScope, function: ast.FunctionDef | ast.AsyncFunctionDef) -> FlowScope:
    """The scope of `function`, whose only parameter is the payload."""
    param = (function.args.posonlyargs + function.args.args)[0].arg
    bound: set[str] = set()
    loop_names: set[str] = set()
    bindings: list[tuple[str, ast.Call]] = []
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                bound.add(name)
                bindings.append((name, call))
            case ast.Assign(targets=targets):
                bound.update(one.id for target in targets for one in names_bound_by_target(target))
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name))
            ):
                bound.add(name)
            case ast.For(target=target):
                names = {one.id for one in names_bound_by_target(target)}
                bound |= names
                loop_names |= names
            case _:
                pass
    bound.discard(param)
    bare = FlowScope(stem=stem, module=module, function=function, param=param)
    instances = {name: cls for name, call in bindings if name != param and (cls := resolve_class(bare, call.func)) is not None}
    return FlowScope(
        stem=stem, module=module, function=function, param=param,
        locals=frozenset(bound - set(instances)), loop_names=frozenset(loop_names), instances=instances,
    )  # fmt: skip


def dotted(node: ast.expr) -> tuple[str, ...] | None:
    """``a.b.c`` as its parts; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(node.id)
    return tuple(reversed(parts))


def resolve_class(scope: FlowScope, node: ast.expr) -> ClassRef | None:
    """The class that `node` names: defined here, imported or unknown with a capital; None if it is none."""
    parts = dotted(node)
    if parts is None or parts[0] == scope.param or parts[0] in scope.locals or parts[0] in scope.instances:
        return None
    module, root = scope.module, parts[0]
    if root in module.classes:
        return ClassRef(text=parts, path=".".join((scope.stem, *parts)), node=module.classes[root] if len(parts) == 1 else None)
    if not parts[-1][:1].isupper() and not (root in module.imports and len(parts) == 1 and module.imports[root].name[:1].isupper()):
        return None
    if root in module.imports:
        found = module.imports[root]
        if is_library(found.module) and not found.is_relative:
            return None
        if len(parts) == 1 and not found.name[:1].isupper():
            return None
        text = (found.name or found.module, *parts[1:])
        return ClassRef(text=tuple(".".join(text).split(".")), path=None if found.is_relative else ".".join((found.path, *parts[1:])))
    if root in module.names or (len(parts) == 1 and root in BUILTINS):
        return None
    return ClassRef(text=parts, path=None)


def resolve_callee(scope: FlowScope, node: ast.expr) -> Callee:
    """The handler that `node` names when it is called with the payload, or why it is none."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
        owner = resolve_class(scope, node.value.func)
        if owner is None:
            return RefusedCallee(code="E205", message="'{callee}' is no handler by name")
        return _method(owner, node.attr)
    parts = dotted(node)
    if parts is None:
        return RefusedCallee(code="E205", message="'{callee}' is no handler by name")
    root = parts[0]
    if root in scope.instances:
        if len(parts) == 2:
            return _method(scope.instances[root], parts[1])
        if len(parts) == 1:
            return RefusedCallee(code="E209", message=f"the instance '{root}' is called itself")
        return RefusedCallee(code="E205", message=f"'{{callee}}' is no method of the instance '{root}'")
    if root == scope.param:
        return RefusedCallee(code="E205", message="'{callee}' belongs to the payload and is no handler")
    if root in scope.locals:
        return RefusedCallee(code="E205", message=f"'{root}' is a local and no handler by name")
    if (called := resolve_class(scope, node)) is not None and called.path is not None:
        return RefusedCallee(code="E207", message=f"the class '{'.'.join(called.text)}' is built with the payload as an argument")
    if isinstance(node, ast.Attribute) and (owner := resolve_class(scope, node.value)) is not None:
        return _method(owner, node.attr)
    return _named(scope, parts)


def _method(owner: ClassRef, name: str) -> HandlerRef:
    return HandlerRef(
        text=(*owner.text, name), path=f"{owner.path}.{name}" if owner.path else None, in_file=owner.node is not None, owner=owner
    )


def _named(scope: FlowScope, parts: tuple[str, ...]) -> Callee:
    module, root, text = scope.module, parts[0], ".".join(parts)
    if root in module.imports:
        found = module.imports[root]
        if is_library(found.module) and not found.is_relative:
            return RefusedCallee(code="E206", message=f"'{text}' is a function of the standard library and no handler")
        if len(parts) == 1 and not found.name:
            return RefusedCallee(code="E205", message=f"'{text}' is a module and no handler")
        name = ".".join((found.name or found.module, *parts[1:]))
        return HandlerRef(text=tuple(name.split(".")), path=None if found.is_relative else ".".join((found.path, *parts[1:])))
    if (root in module.functions and len(parts) > 1) or root in module.constants:
        return RefusedCallee(code="E205", message=f"'{text}' is no handler")
    if root in module.functions or root in module.objects:
        return HandlerRef(text=parts, path=f"{scope.stem}.{text}", in_file=True)
    if root in BUILTINS:
        return RefusedCallee(code="E206", message=f"'{text}' is a builtin and no handler")
    return HandlerRef(text=parts, path=None)


def is_actor_call(scope: FlowScope, node: ast.expr, *, hidden: frozenset[str] = frozenset()) -> bool:
    """Whether `node` calls a handler with the payload among the arguments; `hidden` are names bound inside the expression."""
    if isinstance(node, ast.Await):
        node = node.value
    if not isinstance(node, ast.Call):
        return False
    root: ast.expr = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id in hidden:
        return False
    given = [one.value if isinstance(one, ast.Starred) else one for one in node.args] + [one.value for one in node.keywords]
    if not any((isinstance(one, ast.Name) and one.id == scope.param) or is_actor_call(scope, one, hidden=hidden) for one in given):
        return False
    return isinstance(resolve_callee(scope, node.func), HandlerRef)


def actor_calls(scope: FlowScope, node: ast.expr) -> list[tuple[HandlerRef, ast.Call]]:
    """The handlers of ``a(b(p))``, innermost first; only for what the checks have accepted."""
    found: list[tuple[HandlerRef, ast.Call]] = []
    while isinstance(node, ast.Call):
        callee = resolve_callee(scope, node.func)
        assert isinstance(callee, HandlerRef)
        found.append((callee, node))
        node = node.args[0]
    found.reverse()
    return found


def is_payload_place(scope: FlowScope, node: ast.expr) -> bool:
    """``p[…]`` at any depth, and tuples of such."""
    if isinstance(node, ast.Tuple | ast.List):
        return bool(node.elts) and all(is_payload_place(scope, one) for one in node.elts)
    if isinstance(node, ast.Starred):
        return is_payload_place(scope, node.value)
    if not isinstance(node, ast.Subscript):
        return False
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id == scope.param


def place_root_key(scope: FlowScope, node: ast.expr) -> tuple[str | None, int] | None:
    """Of ``p["a"][1]``: its first key if that is a constant string, and the depth (2). None if not rooted in the payload."""
    depth, key = 0, None
    while True:
        if isinstance(node, ast.Subscript):
            depth += 1
            index = node.slice
            key = index.value if isinstance(index, ast.Constant) and isinstance(index.value, str) else None
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RECEIVER_METHODS and node.args:
            depth += 1
            first = node.args[0]
            key = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            node = node.func.value
        else:
            break
    return (key, depth) if isinstance(node, ast.Name) and node.id == scope.param else None


def mutation_receiver(scope: FlowScope, node: ast.expr) -> ast.expr | None:
    """Of ``p["l"].append(e)``: the place ``p["l"]``; None if `node` is no call that changes the payload in place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING_METHODS:
        return node.func.value if place_root_key(scope, node.func.value) is not None else None
    return None


def is_replacement(scope: FlowScope, node: ast.expr) -> bool:
    """``{…}``, a dict comprehension, ``p | e``, ``dict(…)``, ``p.copy()``, ``p``: what may be bound to the payload anew."""
    match node:
        case ast.Dict() | ast.DictComp():
            return True
        case ast.Name(id=name):
            return name == scope.param
        case ast.BinOp(left=left, op=ast.BitOr()):
            return is_replacement(scope, left)
        case ast.Call(func=ast.Name(id="dict")):
            return "dict" not in scope.module.names and "dict" not in scope.locals and scope.param != "dict"
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="copy"), args=[], keywords=[]):
            return name == scope.param
        case _:
            return False


def is_nothing(node: ast.stmt) -> bool:
    """``pass``, a docstring or ``...``: a statement that does nothing."""
    match node:
        case ast.Pass():
            return True
        case ast.Expr(value=ast.Constant(value=value)):
            return isinstance(value, str) or value is ...
        case _:
            return False
