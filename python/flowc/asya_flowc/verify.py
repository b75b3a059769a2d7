"""Invariants of a program, checked after each pass. A violation is a defect of the compiler: `BrokenInvariant` becomes E901.

The tail invariant: a chain is handlers, then at most one router, last. Circles go only through a loop's own router (E505).
"""

from asya_flowc.ir import HandlerUse, Program, RouterKind, RouterUse

__all__ = ["BrokenInvariant", "circle", "verify"]


class BrokenInvariant(Exception):
    """A pass made a program that breaks a rule; the message says which."""


def verify(program: Program) -> None:
    """Raises BrokenInvariant if `program` breaks a rule that holds after every pass."""
    known = {one.key for one in program.flow.handlers}
    for index, router in enumerate(program.routers):
        _require(router.number == index, f"router {index} is numbered {router.number}")
        for arm in router.arms:
            steps = program.flat(arm.chain) if len(program.joins) < 2 else arm.chain.steps
            for step in steps[:-1]:
                _require(isinstance(step, HandlerUse), f"a chain of router {index} goes on behind a router")
            for step in steps:
                if isinstance(step, HandlerUse):
                    _require(step.handler in known, f"handler {step.handler} is unknown")
                else:
                    _require(0 <= step.router < len(program.routers), f"router {step.router} is unknown")
    for index, join in enumerate(program.joins):
        _require(join.join is None or join.join < index, f"join {index} ends in a later one")
    _require(program.routers[0].kind is RouterKind.START and program.routers[-1].kind is RouterKind.END, "start or end is misplaced")
    reached = _reached(program)
    for router in program.routers[:-1]:
        _require(router.number in reached, f"router {router.number} ({router.kind}, line {router.span.line}) is never reached")
    names = [one.name for one in program.routers if one.name]
    _require(len(names) == len(set(names)), "two routers have one name")


def circle(program: Program) -> int | None:
    """The number of a router from which a circle leads back without passing a loop; None if there is none."""
    state = [0] * len(program.routers)  # 0 new, 1 on the way, 2 done
    for root in range(len(program.routers)):
        todo = [(root, False)]
        while todo:
            number, is_left = todo.pop()
            if is_left:
                state[number] = 2
                continue
            if state[number]:
                continue
            state[number] = 1
            todo.append((number, True))
            for arm in program.routers[number].arms:
                last = program.last(arm.chain)
                if not isinstance(last, RouterUse):
                    continue
                target = program.routers[last.router]
                if target.kind in (RouterKind.WHILE, RouterKind.FOR) and target.number in program.routers[number].scopes:
                    continue
                if state[target.number] == 1:
                    return target.number
                todo.append((target.number, False))
    return None


def _reached(program: Program) -> set[int]:
    reached: set[int] = set()
    todo = [0]
    while todo:
        number = todo.pop()
        if number in reached:
            continue
        reached.add(number)
        for arm in program.routers[number].arms:
            last = program.last(arm.chain)
            if isinstance(last, RouterUse):
                todo.append(last.router)
    return reached


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise BrokenInvariant(sentence)
