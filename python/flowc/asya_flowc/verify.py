"""Invariants of a program, checked after each pass. A violation is a defect of the compiler: `BrokenInvariant` becomes E901.

The tail invariant: a chain is handlers, then at most one router, last. Circles go only through a loop's own router (E505).
"""

from asya_flowc.ir import Arm, Chain, HandlerUse, Program, Router, RouterKind, RouterUse

__all__ = ["BrokenInvariant", "circle", "verify"]


class BrokenInvariant(Exception):
    """A pass made a program that breaks a rule; the message says which."""


def verify(program: Program) -> None:
    """Raises BrokenInvariant if `program` breaks a rule that holds after every pass, or one of the passes behind it."""
    known = {one.key for one in program.flow.handlers}
    ends = program.routers[0].kind is RouterKind.START and program.routers[-1].kind is RouterKind.END
    _require(ends, "start or end is misplaced")
    for index, join in enumerate(program.joins):
        _check_chain(program, join, known, f"join {index}")
        _require(join.join is None or join.join < index, f"join {index} ends in a later one")
    for index, router in enumerate(program.routers):
        _require(router.number == index, f"router {index} is numbered {router.number}")
        for arm in router.arms:
            _check_chain(program, arm.chain, known, f"router {index}")
            if router.name and router.kind is not RouterKind.END:  # named after the scope actions
                _check_actions(program, router, arm)
    reached = _reached(program)
    for router in program.routers[:-1]:
        _require(router.number in reached, f"router {router.number} ({router.kind}, line {router.span.line}) is never reached")
    names = [one.name for one in program.routers if one.name]
    _require(len(names) == len(set(names)), "two routers have one name")
    _require(all(name.isidentifier() for name in names), "a router's name is no name of a function")


def _check_chain(program: Program, chain: Chain, known: set[str], where: str) -> None:
    for index, step in enumerate(chain.steps):
        if isinstance(step, HandlerUse):
            _require(step.handler in known, f"{where}: handler {step.handler} is unknown")
        else:
            _require(0 <= step.router < len(program.routers), f"{where}: router {step.router} is unknown")
            _require(index == len(chain.steps) - 1 and chain.join is None, f"{where}: a chain goes on behind a router")


def _check_actions(program: Program, router: Router, arm: Arm) -> None:
    """A way out of the flow pops its frame; any other drops the state of each loop that it leaves or enters, and of no other."""
    last = program.last(arm.chain)
    leaves = not isinstance(last, RouterUse) or program.routers[last.router].kind is RouterKind.END
    inside = set[int]() if leaves or not isinstance(last, RouterUse) else set(program.routers[last.router].scopes)
    changed = {one for one in inside ^ set(router.scopes) if program.has_state(one)}
    if leaves or router.kind is RouterKind.START:
        changed = set()
    _require(arm.exits == (leaves and program.uses_state), f"router {router.number}, {arm.label}: the flow's frame is popped wrongly")
    _require(set(arm.drops) == changed, f"router {router.number}, {arm.label}: the state of a loop is left behind or lost")


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
