"""Says for each insertion which loops' state it removes and whether it leaves the flow (scope rule).

Scopes left: dropped, innermost first. Scopes entered: cleared, so that a loop begins anew whatever cut through it before.
Start begins with an empty state.
"""

from dataclasses import replace

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Arm, Program, Router, RouterKind, RouterUse
from asya_flowc.options import Options

__all__ = ["scope_actions"]


def scope_actions(program: Program, options: Options, report: Reporter) -> Program:
    """The program with `drops` and `exits` set on every arm."""
    if not program.uses_state:
        return program
    return replace(program, routers=tuple(replace(one, arms=tuple(_arm(program, one, arm) for arm in one.arms)) for one in program.routers))


def _arm(program: Program, router: Router, arm: Arm) -> Arm:
    if router.kind is RouterKind.END:
        return arm
    last = program.last(arm.chain)
    target = program.router(last.router) if isinstance(last, RouterUse) else None
    exits = target is None or target.kind is RouterKind.END
    inside = () if target is None else target.scopes
    left = [one for one in reversed(router.scopes) if one not in inside]
    entered = [one for one in inside if one not in router.scopes]
    drops = tuple(one for one in (*left, *entered) if program.has_state(one))
    return replace(arm, exits=exits, drops=() if exits or router.kind is RouterKind.START else drops)
