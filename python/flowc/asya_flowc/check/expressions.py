"""Expressions inside of routers: names they may read (E209, E302, E303, E307), calls they may not hold (E204, E412), and W310."""

import ast
from typing import Final

from asya_flowc.check.context import Context, Readable
from asya_flowc.forms import dotted, is_actor_call
from asya_flowc.scope import BUILTINS, FORBIDDEN_BUILTINS, names_bound_by_target

__all__ = ["UNSTEADY_BUILTINS", "UNSTEADY_METHODS", "UNSTEADY_MODULES", "check_expression"]

UNSTEADY_MODULES: Final = frozenset(("time", "random", "uuid", "secrets", "os"))
UNSTEADY_BUILTINS: Final = frozenset(("hash", "id"))
UNSTEADY_METHODS: Final = frozenset(("now", "utcnow", "today"))


def check_expression(context: Context, node: ast.expr, readable: Readable) -> None:
    """Report what a router cannot evaluate in `node`; adds the locals that it binds to `readable`."""
    _Expression(context, readable).visit(node, frozenset())


class _Expression:
    def __init__(self, context: Context, readable: Readable) -> None:
        self.context = context
        self.scope = context.scope
        self.readable = readable

    def visit(self, node: ast.AST, inner: frozenset[str]) -> None:
        """`inner`: names bound inside of the expression around `node`."""
        match node:
            case ast.Name(ctx=ast.Load()):
                self.name(node, inner)
            case ast.Await():
                self.context.report.add("E412", node, f"'{self.context.quote(node)}' awaits")
            case ast.Yield() | ast.YieldFrom():
                self.context.report.add("E401", node, f"'{self.context.quote(node)}' yields")
            case ast.NamedExpr():
                self.walrus(node, inner)
            case ast.Call() if is_actor_call(self.scope, node, hidden=inner):
                self.context.report.add("E204", node, f"the handler '{self.context.quote(node.func)}' is called inside of an expression")
            case ast.Lambda(args=args, body=body):
                for default in (*args.defaults, *(one for one in args.kw_defaults if one is not None)):
                    self.visit(default, inner)
                own = (
                    *args.posonlyargs,
                    *args.args,
                    *args.kwonlyargs,
                    *([args.vararg] if args.vararg else []),
                    *([args.kwarg] if args.kwarg else []),
                )
                self.visit(body, inner | {one.arg for one in own})
            case ast.ListComp(elt=elt) | ast.SetComp(elt=elt) | ast.GeneratorExp(elt=elt):
                self.comprehension(node, node.generators, (elt,), inner)
            case ast.DictComp(key=key, value=value):
                self.comprehension(node, node.generators, (key, value), inner)
            case _:
                if isinstance(node, ast.Attribute):
                    self.unsteady_method(node, inner)
                for child in ast.iter_child_nodes(node):
                    self.visit(child, inner)

    def walrus(self, node: ast.NamedExpr, inner: frozenset[str]) -> None:
        name = node.target.id
        if is_actor_call(self.scope, node.value, hidden=inner):
            self.context.report.add("E203", node, f"'{self.context.quote(node)}' binds the result of an actor call inside of an expression")
            return
        self.visit(node.value, inner)
        if name == self.scope.param:
            self.context.report.add("E301", node, f"'{self.context.quote(node)}' binds the payload inside of an expression")
        elif name in self.scope.loop_names:
            self.context.report.add("E307", node, f"the loop variable '{name}' is assigned")
        else:
            self.readable.bound.add(name)

    def comprehension(
        self, node: ast.expr, generators: list[ast.comprehension], results: tuple[ast.expr, ...], inner: frozenset[str]
    ) -> None:
        for one in generators:
            if one.is_async:
                self.context.report.add("E412", one.target, f"'{self.context.quote(node)}' is asynchronous")
            self.visit(one.iter, inner)
            inner = inner | {name.id for name in names_bound_by_target(one.target)}
            self.visit(one.target, inner)
            for condition in one.ifs:
                self.visit(condition, inner)
        for result in results:
            self.visit(result, inner)

    def name(self, node: ast.Name, inner: frozenset[str]) -> None:
        name, scope, add = node.id, self.scope, self.context.report.add
        if name in inner or name == scope.param or name in self.readable.loop_names:
            return
        if name in scope.instances:
            add("E209", node, f"the instance '{name}' is used in an expression")
        elif name in scope.loop_names:
            add("E307", node, f"the loop variable '{name}' is read outside of its loop")
        elif name in scope.locals:
            if name not in self.readable.bound:
                add("E302", node, f"the local '{name}' is not bound in this router")
        elif scope.module.carries_import(name):
            if scope.module.imports[name].module.partition(".")[0] in UNSTEADY_MODULES:
                add("W310", node, f"'{name}' may give another value for a redelivered envelope")
        elif name in scope.module.constants:
            return
        elif name in scope.module.imports:
            add("E303", node, f"'{name}' comes from a module outside of the standard library")
        elif name in scope.module.names:
            add("E303", node, f"'{name}' is defined in this file and is neither a constant nor a handler called with the payload")
        elif name in FORBIDDEN_BUILTINS:
            add("E303", node, f"the builtin '{name}' has no place in a router")
        elif name in BUILTINS:
            if name in UNSTEADY_BUILTINS:
                add("W310", node, f"'{name}' may give another value for a redelivered envelope")
        else:
            add("E303", node, f"the name '{name}' is unknown")

    def unsteady_method(self, node: ast.Attribute, inner: frozenset[str]) -> None:
        parts = dotted(node)
        if parts is None or node.attr not in UNSTEADY_METHODS or parts[0] in inner:
            return
        found = self.scope.module.imports.get(parts[0])
        if found is not None and found.module == "datetime":
            self.context.report.add("W310", node, f"'{'.'.join(parts)}' may give another value for a redelivered envelope")
