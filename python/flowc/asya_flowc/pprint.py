"""The intermediate form as stable text, for golden files and for reports. One line a node; indentation is nesting."""

from collections.abc import Iterator

from asya_flowc.ir import Branch, Call, Chain, Exit, Flow, HandlerUse, Jump, Loop, LoopKind, Mutate, Program, Statement

__all__ = ["print_flow", "print_program"]


def print_flow(flow: Flow) -> str:
    """The statement form of `flow`."""
    return "\n".join([f"flow {flow.name}({flow.param})", *(f"  {line}" for line in _block(flow.body))]) + "\n"


def _block(statements: tuple[Statement, ...]) -> Iterator[str]:
    for one in statements:
        line = one.span.line
        match one:
            case Call():
                yield f"call {one.handler} @{line}"
            case Mutate():
                yield f"mutate @{line}: {one.code}"
            case Exit():
                yield f"exit @{line}" + (" implicit" if one.is_implicit else "")
            case Jump():
                yield f"{one.kind} @{line}"
            case Branch():
                yield f"if @{line}: {one.test}"
                yield from (f"  {inner}" for inner in _block(one.then))
                if one.orelse:
                    yield "else"
                    yield from (f"  {inner}" for inner in _block(one.orelse))
            case Loop():
                head = f"for {one.target} in" if one.kind is LoopKind.FOR else "while"
                yield f"{head} @{line}: {one.expression}"
                yield from (f"  {inner}" for inner in _block(one.body))
                if one.orelse:
                    yield "else"
                    yield from (f"  {inner}" for inner in _block(one.orelse))


def print_program(program: Program) -> str:
    """The router form of `program`: each router with scopes, body and arms, then the shared joins."""
    lines: list[str] = []
    for router in program.routers:
        scopes = f" in {' '.join(str(one) for one in router.scopes)}" if router.scopes else ""
        lines.append(f"router {router.number} {router.kind} @{router.span.line}{scopes} {router.name}".rstrip())
        lines += [f"  do {one.code}" for one in router.body]
        if router.expression:
            lines.append(f"  test {f'{router.target} in ' if router.target else ''}{router.expression}")
        for arm in router.arms:
            actions = "".join(f" drop {one}" for one in arm.drops) + (" leave" if arm.exits else "")
            lines.append(f"  {arm.label} -> {_chain(arm.chain)}{actions}")
    lines += [f"join {index} -> {_chain(join)}" for index, join in enumerate(program.joins)]
    return "\n".join(lines) + "\n"


def _chain(chain: Chain) -> str:
    steps = [one.handler if isinstance(one, HandlerUse) else f"#{one.router}" for one in chain.steps]
    return " ".join(steps + ([f"join{chain.join}"] if chain.join is not None else [])) or "nothing"
