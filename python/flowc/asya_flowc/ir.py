"""The intermediate form: first statements of the flow, then routers. Frozen values with spans; expressions are source text.

Made by lowering, changed by passes, read by verifier, printer and emission. Exceptions and fan-out will be a `Region` and a `FanOut`
statement beside these and further router kinds; scopes already carry what they need.
"""

from dataclasses import dataclass
from enum import StrEnum

from asya_flowc.source import Span

__all__ = [
    "Arm", "Branch", "Call", "Chain", "Exit", "Flow", "Handler", "HandlerUse", "Jump", "JumpKind", "Loop", "LoopKind", "Mutate",
    "Program", "Router", "RouterKind", "RouterUse", "Statement", "Step",
]  # fmt: skip


class JumpKind(StrEnum):
    """How a turn of a loop is left."""

    BREAK = "break"
    CONTINUE = "continue"


class LoopKind(StrEnum):
    """The two loops."""

    WHILE = "while"
    FOR = "for"


class RouterKind(StrEnum):
    """What a router does; the last part of its name."""

    START = "start"
    SEQ = "seq"
    IF = "if"
    WHILE = "while"
    FOR = "for"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The payload goes to a handler (by its key)."""

    span: Span
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutate:
    """One statement that changes or replaces the payload, or binds a local; runs inside a router as written."""

    span: Span
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """``if``; ``elif`` is a Branch alone in `orelse`."""

    span: Span
    test: str
    then: "tuple[Statement, ...]"
    orelse: "tuple[Statement, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``while test`` or ``for target in iterable``. `is_endless`: a `while` whose test is a true constant."""

    span: Span
    kind: LoopKind
    expression: str
    target: str
    is_endless: bool
    body: "tuple[Statement, ...]"
    orelse: "tuple[Statement, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """``break`` or ``continue``."""

    span: Span
    kind: JumpKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The flow is left. `is_implicit`: by the end of its body."""

    span: Span
    is_implicit: bool = False


Statement = Call | Mutate | Branch | Loop | Jump | Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A handler of the flow. `name` is what routers resolve, `actor` runs it, `mapped_path` is the value of its variable."""

    key: str
    text: tuple[str, ...]
    path: str | None
    in_file: bool
    is_method: bool
    span: Span
    name: str = ""
    actor: str = ""
    mapped_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A checked flow. `carried` are the imports and constants that its expressions use, as statements; `used_names` every name in them."""

    name: str
    param: str
    span: Span
    doc: str
    handlers: tuple[Handler, ...]
    carried: tuple[str, ...]
    used_names: frozenset[str]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerUse:
    """A handler in a chain; `use` numbers the calls of the flow, so that shared chains show one call once."""

    handler: str
    use: int
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterUse:
    """A router in a chain, by its number."""

    router: int


Step = HandlerUse | RouterUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What an insertion puts behind the router: own steps, then the steps of a shared join (an index of `Program.joins`)."""

    steps: tuple[Step, ...] = ()
    join: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One insertion. `drops`: loops (router numbers) whose state it removes; `exits`: it leaves the flow."""

    label: str
    chain: Chain
    drops: tuple[int, ...] = ()
    exits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A generated actor. `scopes`: the loops it is in, outermost first, a loop's own router included."""

    number: int
    kind: RouterKind
    span: Span
    scopes: tuple[int, ...] = ()
    body: tuple[Mutate, ...] = ()
    expression: str = ""
    target: str = ""
    arms: tuple[Arm, ...] = ()
    name: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The routers of a flow: start first, end last, between them by position. `joins` are chains that several arms share."""

    flow: Flow
    routers: tuple[Router, ...]
    joins: tuple[Chain, ...]
    skips_end: bool
    max_iterations: int

    def router(self, number: int) -> Router:
        """The router of that number: numbers are indices."""
        return self.routers[number]

    def flat(self, chain: Chain) -> tuple[Step, ...]:
        """All steps of `chain`, joins followed."""
        steps = list(chain.steps)
        while chain.join is not None:
            chain = self.joins[chain.join]
            steps.extend(chain.steps)
        return tuple(steps)

    def last(self, chain: Chain) -> Step | None:
        """The step in which `chain` ends; None if it is empty."""
        found: Step | None = chain.steps[-1] if chain.steps else None
        while chain.join is not None:
            chain = self.joins[chain.join]
            found = chain.steps[-1] if chain.steps else found
        return found

    def has_state(self, number: int) -> bool:
        """Whether the loop of that router keeps something in the envelope."""
        router = self.routers[number]
        return router.kind is RouterKind.FOR or (router.kind is RouterKind.WHILE and self.max_iterations > 0)

    @property
    def uses_state(self) -> bool:
        """Whether the flow keeps a frame in header ``asya-flow``."""
        return any(self.has_state(router.number) for router in self.routers)
