"""The intermediate form as text, printed and read: for golden files, `--print-after` and reports of defects.

One line a node; two blanks of indentation are one level of nesting; the further lines of an expression of several lines begin with ``|``.
What is printed reads back equal, spans included, so that a report can be compiled on from any pass. Knows no rule of the language.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from asya_flowc.ir import (
    Arm,
    Branch,
    Call,
    Chain,
    Exit,
    Flow,
    Handler,
    HandlerUse,
    Jump,
    JumpKind,
    Loop,
    LoopKind,
    Mutate,
    Program,
    Router,
    RouterKind,
    RouterUse,
    Statement,
    Step,
)  # fmt: skip
from asya_flowc.source import Span

__all__ = ["print_flow", "print_form", "print_program", "print_routers", "read_flow", "read_program"]

_T = TypeVar("_T")


def print_flow(flow: Flow) -> str:
    """The statement form of `flow`."""
    lines = [f"flow {flow.name}({flow.param}) {_span(flow.span)}"]
    if flow.doc:
        lines.append(f"  doc {json.dumps(flow.doc)}")
    lines += [f"  handler {_handler(one)}" for one in flow.handlers]
    lines += [f"  carry {_code(one, 2)}" for one in flow.carried]
    lines.append(f"  use {' '.join(sorted(flow.used_names))}")
    lines.append("  body")
    lines += _block(flow.body, 2)
    return "\n".join(lines) + "\n"


def print_routers(program: Program) -> str:
    """The routers of `program`, then the joins that they share."""
    lines = [f"program bound {program.max_iterations}{' skips-end' if program.skips_end else ''}"]
    for router in program.routers:
        lines.append(f"router {router.number} {router.kind} {_span(router.span)}")
        if router.name:
            lines.append(f"  name {router.name}")
        if router.actor:
            lines.append(f"  actor {router.actor}")
        if router.scopes:
            lines.append(f"  in {' '.join(map(str, router.scopes))}")
        lines += [f"  do {_span(one.span)}: {_code(one.code, 1)}" for one in router.body]
        if router.expression:
            lines.append(
                f"  each {router.target} in {_code(router.expression, 1)}" if router.target else f"  test {_code(router.expression, 1)}"
            )
        for arm in router.arms:
            actions = (f" drop {' '.join(map(str, arm.drops))}" if arm.drops else "") + (" leave" if arm.exits else "")
            lines.append(f"  {arm.label} -> {_chain(arm.chain)}{actions}")
    lines += [f"join {index} -> {_chain(join)}" for index, join in enumerate(program.joins)]
    return "\n".join(lines) + "\n"


def print_program(program: Program) -> str:
    """The flow that `program` was made of, then its routers."""
    return print_flow(program.flow) + print_routers(program)


def print_form(form: Flow | Program) -> str:
    """Either form."""
    return print_flow(form) if isinstance(form, Flow) else print_program(form)


def read_flow(text: str) -> Flow:
    """The flow that `print_flow` printed. Raises ValueError naming the line."""
    (head, *rest) = _tree(text) or [_Line(number=1, text="")]
    if rest:
        raise ValueError(f"line {rest[0].number}: {rest[0].text!r} stands behind the flow")
    return head.read(_flow)


def read_program(text: str) -> Program:
    """The program that `print_program` printed. Raises ValueError naming the line."""
    lines = _tree(text)
    if len(lines) < 2:
        raise ValueError("line 1: a program has a flow and routers")
    head, program, *rest = lines
    return program.read(lambda line: _program(line, head.read(_flow), rest))


def _span(span: Span) -> str:
    end = str(span.end_column) if span.end_line == span.line else f"{span.end_line}:{span.end_column}"
    return f"@{span.line}:{span.column}-{end}"


def _code(code: str, level: int) -> str:
    """`code` behind a keyword at `level`, its further lines marked."""
    return code.replace("\n", "\n" + "  " * level + "| ")


def _handler(handler: Handler) -> str:
    marks = [("unknown", handler.path is None), ("in-file", handler.in_file), ("method", handler.is_method)]
    given = [("name", handler.name), ("actor", handler.actor), ("mapped", handler.mapped_path)]
    parts = [handler.key, ".".join(handler.text), _span(handler.span), *(word for word, is_set in marks if is_set)]
    return " ".join([*parts, *(f"{word}={value}" for word, value in given if value)])


def _block(statements: tuple[Statement, ...], level: int) -> Iterator[str]:
    pad = "  " * level
    for one in statements:
        where = _span(one.span)
        match one:
            case Call():
                yield f"{pad}call {one.handler} {where}"
            case Mutate():
                yield f"{pad}mutate {where}: {_code(one.code, level)}"
            case Exit():
                yield f"{pad}exit {where}" + (" implicit" if one.is_implicit else "")
            case Jump():
                yield f"{pad}{one.kind} {where}"
            case Branch():
                yield f"{pad}if {where}: {_code(one.test, level)}"
                yield from _arms(one.then, one.orelse, level)
            case _:
                head = f"{one.target} in " if one.kind is LoopKind.FOR else ""
                yield f"{pad}{one.kind} {where}{' endless' if one.is_endless else ''}: {head}{_code(one.expression, level)}"
                yield from _arms(one.body, one.orelse, level)


def _arms(body: tuple[Statement, ...], orelse: tuple[Statement, ...], level: int) -> Iterator[str]:
    yield from _block(body, level + 1)
    if orelse:
        yield "  " * level + "else"
        yield from _block(orelse, level + 1)


def _chain(chain: Chain) -> str:
    steps = [f"{one.handler}:{one.use}{_span(one.span)}" if isinstance(one, HandlerUse) else f"#{one.router}" for one in chain.steps]
    return " ".join(steps + ([f"join{chain.join}"] if chain.join is not None else [])) or "nothing"


@dataclass(slots=True, kw_only=True)
class _Line:
    """One line with the lines nested below it."""

    number: int
    text: str
    below: "list[_Line]" = field(default_factory=list)

    @property
    def word(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def rest(self) -> str:
        return self.text.partition(" ")[2]

    def read(self, reader: "Callable[[_Line], _T]") -> _T:
        """What `reader` makes of the line; what it stumbles over becomes a ValueError that names the line."""
        try:
            return reader(self)
        except (IndexError, KeyError, ValueError) as error:
            if str(error).startswith("line "):
                raise
            raise ValueError(f"line {self.number}: {self.text!r} is no line of the intermediate form: {error}") from error


def _tree(text: str) -> list[_Line]:
    top: list[_Line] = []
    levels = [top]
    for number, line in enumerate(text.split("\n"), start=1):
        body = line.lstrip(" ")
        if not body:
            continue
        if body.startswith("|"):
            _last(levels).text += "\n" + body[2:]
            continue
        level = (len(line) - len(body)) // 2
        if level >= len(levels):
            raise ValueError(f"line {number}: {body!r} is nested below nothing")
        new = _Line(number=number, text=body)
        levels[level].append(new)
        levels[level + 1 :] = [new.below]
    return top


def _last(levels: list[list[_Line]]) -> _Line:
    """The line before; levels end with its own empty list of nested lines."""
    if len(levels) < 2:
        raise ValueError("line 1: nothing goes on here")
    return levels[-2][-1]


def _read_span(text: str) -> Span:
    start, _, end = text.removeprefix("@").partition("-")
    line, column = (int(part) for part in start.split(":"))
    *end_line, end_column = (int(part) for part in end.split(":"))
    return Span(line, column, end_line[0] if end_line else line, end_column)


def _placed(text: str) -> tuple[Span, str]:
    """``@span: code`` and ``@span word``: the span and the rest."""
    where, _, rest = text.partition(" ")
    return _read_span(where.removesuffix(":")), rest


def _flow(line: _Line) -> Flow:
    name, _, rest = line.rest.partition("(")
    param, _, where = rest.partition(") ")
    flow = Flow(
        name=name, param=param, span=_read_span(where), doc="", handlers=(), carried=(), used_names=frozenset(), body=()
    )  # fmt: skip
    for one in line.below:
        match one.word:
            case "doc":
                flow = replace(flow, doc=json.loads(one.rest))
            case "handler":
                flow = replace(flow, handlers=(*flow.handlers, one.read(_read_handler)))
            case "carry":
                flow = replace(flow, carried=(*flow.carried, one.rest))
            case "use":
                flow = replace(flow, used_names=frozenset(one.rest.split()))
            case "body":
                flow = replace(flow, body=_read_block(one.below))
            case _:
                raise ValueError(f"line {one.number}: {one.text!r} is no part of a flow")
    return flow


def _read_handler(line: _Line) -> Handler:
    key, text, where, *marks = line.rest.split()
    given = dict(mark.split("=") for mark in marks if "=" in mark)
    return Handler(
        key=key, text=tuple(text.split(".")), path=None if "unknown" in marks else key, in_file="in-file" in marks,
        is_method="method" in marks, span=_read_span(where), name=given.get("name", ""), actor=given.get("actor", ""),
        mapped_path=given.get("mapped", ""),
    )  # fmt: skip


def _read_block(lines: list[_Line]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for index, line in enumerate(lines):
        if line.word != "else":
            follower = lines[index + 1] if index + 1 < len(lines) else None
            orelse = follower.below if follower is not None and follower.word == "else" else []
            found.append(line.read(lambda one, orelse=orelse: _statement(one, orelse)))  # type: ignore[misc]
    return tuple(found)


def _statement(line: _Line, orelse: list[_Line]) -> Statement:
    if line.word == "call":
        handler, where = line.rest.split()
        return Call(span=_read_span(where), handler=handler)
    span, rest = _placed(line.rest)
    match line.word:
        case "mutate":
            return Mutate(span=span, code=rest)
        case "exit":
            return Exit(span=span, is_implicit=rest == "implicit")
        case "break" | "continue":
            return Jump(span=span, kind=JumpKind(line.word))
        case "if":
            return Branch(span=span, test=rest, then=_read_block(line.below), orelse=_read_block(orelse))
        case _:
            kind = LoopKind(line.word)
    endless = rest.startswith("endless: ")
    expression, target = rest.removeprefix("endless: "), ""
    if kind is LoopKind.FOR:
        target, _, expression = expression.partition(" in ")
    return Loop(
        span=span, kind=kind, expression=expression, target=target, is_endless=endless, body=_read_block(line.below),
        orelse=_read_block(orelse),
    )  # fmt: skip


def _program(line: _Line, flow: Flow, rest: list[_Line]) -> Program:
    bound, *marks = line.rest.removeprefix("bound ").split()
    return Program(
        flow=flow, routers=tuple(one.read(_router) for one in rest if one.word == "router"),
        joins=tuple(_arm(one.rest.partition(" -> ")[2]).chain for one in rest if one.word == "join"),
        skips_end="skips-end" in marks, max_iterations=int(bound),
    )  # fmt: skip


def _router(line: _Line) -> Router:
    number, kind, where = line.rest.split()
    router = Router(number=int(number), kind=RouterKind(kind), span=_read_span(where))
    for one in line.below:
        match one.word:
            case "name":
                router = replace(router, name=one.rest)
            case "actor":
                router = replace(router, actor=one.rest)
            case "in":
                router = replace(router, scopes=tuple(int(each) for each in one.rest.split()))
            case "do":
                span, code = _placed(one.rest)
                router = replace(router, body=(*router.body, Mutate(span=span, code=code)))
            case "test":
                router = replace(router, expression=one.rest)
            case "each":
                target, _, expression = one.rest.partition(" in ")
                router = replace(router, target=target, expression=expression)
            case label:
                router = replace(router, arms=(*router.arms, replace(_arm(one.rest.removeprefix("-> ")), label=label)))
    return router


def _arm(text: str) -> Arm:
    steps: list[Step] = []
    join: int | None = None
    drops: list[int] = []
    exits = False
    for word in text.split():
        if word.startswith("#"):
            steps.append(RouterUse(router=int(word[1:])))
        elif "@" in word:
            use, _, where = word.partition("@")
            handler, _, number = use.rpartition(":")
            steps.append(HandlerUse(handler=handler, use=int(number), span=_read_span(where)))
        elif word.startswith("join"):
            join = int(word.removeprefix("join"))
        elif word == "leave":
            exits = True
        elif word not in ("nothing", "drop"):
            drops.append(int(word))
    return Arm(label="", chain=Chain(steps=tuple(steps), join=join), drops=tuple(drops), exits=exits)
