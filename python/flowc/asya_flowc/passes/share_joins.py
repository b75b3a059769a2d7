"""Keeps a join as a function of its own if it is long and several arms end in it; puts its steps into the arms otherwise.

So the output stays linear in the flow, and short joins stand where the reader looks for them.
"""

from dataclasses import replace
from typing import Final

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Chain, Program
from asya_flowc.options import Options

__all__ = ["SHORT_JOIN", "share_joins"]

SHORT_JOIN: Final = 8
"""Names; a join of no more is repeated in each arm."""


def share_joins(program: Program, options: Options, report: Reporter) -> Program:
    """The program whose remaining joins are longer than SHORT_JOIN and used at least twice."""
    users = [0] * len(program.joins)
    for chain in (*(arm.chain for router in program.routers for arm in router.arms), *program.joins):
        if chain.join is not None:
            users[chain.join] += 1
    kept: list[Chain] = []
    became: list[Chain] = []  # what each old join turned into; an outer join comes before those that end in it
    for index, join in enumerate(program.joins):
        whole = _inlined(join, became)
        length = len(program.flat(join))
        if length > SHORT_JOIN and users[index] > 1:
            kept.append(whole)
            became.append(Chain(join=len(kept) - 1))
        else:
            became.append(whole)
    routers = tuple(
        replace(one, arms=tuple(replace(arm, chain=_inlined(arm.chain, became)) for arm in one.arms)) for one in program.routers
    )
    return replace(program, routers=routers, joins=tuple(kept))


def _inlined(chain: Chain, became: list[Chain]) -> Chain:
    if chain.join is None:
        return chain
    rest = became[chain.join]
    return Chain(steps=chain.steps + rest.steps, join=rest.join)
