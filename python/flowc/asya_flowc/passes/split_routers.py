"""Statements → routers, from the last statement to the first over the chain that follows.

Before: ``mutate; branch(test, [call a], []); call b; exit``.
After: router ``if`` (body: the mutation; true: a + join; false: join), join: b, end.

A chain is handlers, then at most one router, which inserts what follows when it runs.
"""

from dataclasses import dataclass, field

from asya_flowc.ir import (
    Arm,
    Branch,
    Call,
    Chain,
    Exit,
    Flow,
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

__all__ = ["split_routers"]


def split_routers(flow: Flow, *, skips_end: bool, max_iterations: int) -> Program:
    """The routers of `flow`, numbered by position; start is 0, end the last. Names, actors and scope actions are still empty."""
    work = _Splitting()
    start = work.reserve()
    end = work.reserve()
    exit_chain = Chain() if skips_end else Chain(steps=(RouterUse(router=end),))
    first = work.block(flow.body, _Around(after=exit_chain, exit=exit_chain))
    head = Span(flow.span.line, flow.span.column, flow.span.line, flow.span.column)
    work.routers[start] = Router(number=start, kind=RouterKind.START, span=head, arms=(Arm(label="next", chain=first),))
    work.routers[end] = Router(number=end, kind=RouterKind.END, span=head, arms=(Arm(label="next", chain=Chain()),))
    return _renumbered(work, flow, skips_end=skips_end, max_iterations=max_iterations)


def _renumbered(work: "_Splitting", flow: Flow, *, skips_end: bool, max_iterations: int) -> Program:
    """Routers in source order, so that numbers, names and files do not depend on the order of construction."""
    inner = sorted(
        work.routers.values(), key=lambda one: (one.kind is RouterKind.END, one.kind is not RouterKind.START, one.span, one.number)
    )
    number = {router.number: index for index, router in enumerate(inner)}

    def step(one: Step) -> Step:
        return RouterUse(router=number[one.router]) if isinstance(one, RouterUse) else one

    def chain(one: Chain) -> Chain:
        return Chain(steps=tuple(step(each) for each in one.steps), join=one.join)

    routers = tuple(
        Router(
            number=number[one.number], kind=one.kind, span=one.span, scopes=tuple(number[each] for each in one.scopes), body=one.body,
            expression=one.expression, target=one.target, arms=tuple(Arm(label=arm.label, chain=chain(arm.chain)) for arm in one.arms),
        )
        for one in inner
    )  # fmt: skip
    return Program(
        flow=flow, routers=routers, joins=tuple(chain(one) for one in work.joins), skips_end=skips_end, max_iterations=max_iterations
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """Where a block stands: what follows it, what leaves the flow, and the innermost loop."""

    after: Chain
    exit: Chain
    scopes: tuple[int, ...] = ()
    broken: Chain | None = None
    continued: Chain | None = None


@dataclass(slots=True)
class _Splitting:
    routers: dict[int, Router] = field(default_factory=dict)
    joins: list[Chain] = field(default_factory=list)
    reserved: int = 0
    uses: int = 0

    def reserve(self) -> int:
        self.reserved += 1
        return self.reserved - 1

    def share(self, chain: Chain) -> Chain:
        """A chain that several arms end in: a join, unless it is one already."""
        if not chain.steps:
            return chain
        self.joins.append(chain)
        return Chain(join=len(self.joins) - 1)

    def block(self, statements: tuple[Statement, ...], around: _Around) -> Chain:
        backwards: list[Step] = []  # own steps of the chain that follows, last first
        join = around.after.join
        backwards.extend(reversed(around.after.steps))
        index = len(statements)
        while index > 0:
            index -= 1
            statement = statements[index]
            if isinstance(statement, Call):
                self.uses += 1
                backwards.append(HandlerUse(handler=statement.handler, use=self.uses, span=statement.span))
                continue
            following = Chain(steps=tuple(reversed(backwards)), join=join)
            match statement:
                case Exit():
                    chain = around.exit
                case Jump(kind=kind):
                    found = around.broken if kind is JumpKind.BREAK else around.continued
                    assert found is not None
                    chain = found
                case Mutate():
                    first = _run_start(statements, index + 1)
                    chain = self.seq(statements[first : index + 1], following, around)
                    index = first
                case Branch():
                    first = _run_start(statements, index)
                    chain = self.branch(statement, statements[first:index], following, around)
                    index = first
                case _:
                    chain = self.loop(statement, following, around)
            backwards, join = list(reversed(chain.steps)), chain.join
        return Chain(steps=tuple(reversed(backwards)), join=join)

    def seq(self, run: tuple[Statement, ...], following: Chain, around: _Around) -> Chain:
        number = self.reserve()
        self.routers[number] = Router(
            number=number, kind=RouterKind.SEQ, span=run[0].span, scopes=around.scopes, body=_mutations(run),
            arms=(Arm(label="next", chain=following),),
        )  # fmt: skip
        return Chain(steps=(RouterUse(router=number),))

    def branch(self, branch: Branch, run: tuple[Statement, ...], following: Chain, around: _Around) -> Chain:
        number = self.reserve()
        inner = _Around(
            after=self.share(following), exit=around.exit, scopes=around.scopes, broken=around.broken, continued=around.continued
        )
        arms = (
            Arm(label="true", chain=self.block(branch.then, inner)),
            Arm(label="false", chain=self.block(branch.orelse, inner)),
        )
        self.routers[number] = Router(
            number=number,
            kind=RouterKind.IF,
            span=branch.span,
            scopes=around.scopes,
            body=_mutations(run),
            expression=branch.test,
            arms=arms,
        )
        return Chain(steps=(RouterUse(router=number),))

    def loop(self, loop: Loop, following: Chain, around: _Around) -> Chain:
        number = self.reserve()
        again = Chain(steps=(RouterUse(router=number),))
        after = self.share(following)
        scopes = (*around.scopes, number)
        body = self.block(loop.body, _Around(after=again, exit=around.exit, scopes=scopes, broken=after, continued=again))
        done = self.block(
            loop.orelse, _Around(after=after, exit=around.exit, scopes=around.scopes, broken=around.broken, continued=around.continued)
        )
        kind = RouterKind.FOR if loop.kind is LoopKind.FOR else RouterKind.WHILE
        self.routers[number] = Router(
            number=number, kind=kind, span=loop.span, scopes=scopes, expression=loop.expression, target=loop.target,
            arms=(Arm(label="body", chain=body), Arm(label="done", chain=done)),
        )  # fmt: skip
        return again


def _run_start(statements: tuple[Statement, ...], end: int) -> int:
    """The index at which the run of mutations that ends before `end` begins."""
    while end > 0 and isinstance(statements[end - 1], Mutate):
        end -= 1
    return end


def _mutations(run: tuple[Statement, ...]) -> tuple[Mutate, ...]:
    return tuple(one for one in run if isinstance(one, Mutate))
