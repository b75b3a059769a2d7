"""Syntax → statements of the intermediate form. Called by the pipeline for a flow that the checks have accepted; reports nothing."""

import ast
from dataclasses import dataclass, field

from asya_flowc.forms import FlowScope, HandlerRef, actor_calls, is_nothing, is_replacement
from asya_flowc.ir import Branch, Call, Exit, Flow, Handler, Jump, JumpKind, Loop, LoopKind, Mutate, Statement
from asya_flowc.source import Source

__all__ = ["lower"]


def lower(scope: FlowScope, source: Source) -> Flow:
    """The flow in intermediate form; handlers in order of their first call, names and actors still empty."""
    work = _Lowering(scope=scope, source=source)
    function = scope.function
    body = [*work.block(function.body), Exit(span=source.span(function.body[-1]), is_implicit=True)]
    return Flow(
        name=function.name,
        param=scope.param,
        span=source.span(function),
        doc=ast.get_docstring(function) or "",
        handlers=tuple(work.handlers.values()),
        carried=tuple(_carried(scope, work.names, source)),
        used_names=frozenset(work.names | {scope.param}),
        body=tuple(body),
    )


def _carried(scope: FlowScope, names: set[str], source: Source) -> list[str]:
    """Statements for the imports and constants among `names`, and the constants that those need; imports first, each in file order."""
    module = scope.module
    todo = [name for name in names if name not in scope.locals and name != scope.param]
    wanted: set[str] = set()
    while todo:
        name = todo.pop()
        if name in wanted:
            continue
        if module.carries_import(name):
            wanted.add(name)
        elif name in module.constants:
            wanted.add(name)
            value = module.constants[name].value
            assert value is not None
            todo.extend(one.id for one in ast.walk(value) if isinstance(one, ast.Name))
    imports: list[str] = []
    for name, found in module.imports.items():
        if name in wanted:
            alias = next(one for one in found.node.names if (one.asname or one.name.partition(".")[0]) == name)
            node = ast.Import(names=[alias]) if isinstance(found.node, ast.Import) else ast.ImportFrom(found.module, [alias], 0)
            imports.append(ast.unparse(node))
    constants: list[str] = []
    for name, statement in module.constants.items():
        if name in wanted:
            assert statement.value is not None
            constants.append(f"{name} = {source.printed(statement.value)}")
    return imports + constants


@dataclass(slots=True)
class _Lowering:
    scope: FlowScope
    source: Source
    handlers: dict[str, Handler] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def block(self, statements: list[ast.stmt]) -> list[Statement]:
        found: list[Statement] = []
        for statement in statements:
            found.extend(self.statement(statement))
        return found

    def statement(self, node: ast.stmt) -> list[Statement]:
        span = self.source.span(node)
        if is_nothing(node):
            return []
        match node:
            case ast.If():
                return [
                    Branch(span=span, test=self.text(node.test), then=tuple(self.block(node.body)), orelse=tuple(self.block(node.orelse)))
                ]
            case ast.While():
                endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
                return [self.loop(node, LoopKind.WHILE, expression=self.text(node.test), target="", is_endless=endless)]
            case ast.For():
                return [self.loop(node, LoopKind.FOR, expression=self.text(node.iter), target=self.text(node.target), is_endless=False)]
            case ast.Break():
                return [Jump(span=span, kind=JumpKind.BREAK)]
            case ast.Continue():
                return [Jump(span=span, kind=JumpKind.CONTINUE)]
            case ast.Return(value=value):
                assert value is not None
                return [*self.bind_payload(node, value), Exit(span=span)]
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == self.scope.param:
                return self.bind_payload(node, value)
            case ast.Assign(targets=[ast.Name(id=name)]) if name in self.scope.instances:
                return []
            case ast.AnnAssign(target=target, value=value):
                assert value is not None
                return [Mutate(span=span, code=f"{self.text(target)} = {self.text(value)}")]
            case _:
                return [Mutate(span=span, code=self.text(node))]

    def bind_payload(self, node: ast.stmt, value: ast.expr) -> list[Statement]:
        span = self.source.span(node)
        if isinstance(value, ast.Name):
            return []
        if is_replacement(self.scope, value):
            return [Mutate(span=span, code=f"{self.scope.param} = {self.text(value)}")]
        return [Call(span=span, handler=self.handler(ref, call)) for ref, call in actor_calls(self.scope, value)]

    def handler(self, ref: HandlerRef, call: ast.Call) -> str:
        known = self.handlers.get(ref.key)
        if known is None or len(ref.text) < len(known.text):
            first = known.span if known else self.source.span(call.func)
            self.handlers[ref.key] = Handler(
                key=ref.key, text=ref.text, path=ref.path, in_file=ref.in_file, is_method=ref.owner is not None, span=first
            )
        return ref.key

    def loop(self, node: ast.While | ast.For, kind: LoopKind, *, expression: str, target: str, is_endless: bool) -> Loop:
        return Loop(
            span=self.source.span(node), kind=kind, expression=expression, target=target, is_endless=is_endless,
            body=tuple(self.block(node.body)), orelse=tuple(self.block(node.orelse)),
        )  # fmt: skip

    def text(self, node: ast.expr | ast.stmt) -> str:
        """The node printed on its own; its names are noted. A lambda's parameters hide nothing outside it and need not be."""
        self.names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        return self.source.printed(node)
