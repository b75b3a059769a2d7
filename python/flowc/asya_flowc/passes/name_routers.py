"""Names routers by flow, line and kind: ``start_F``, ``router_F_line_N_KIND``, ``end_F``; the same line and kind again: ``_2``, ``_3``."""

from dataclasses import replace

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Program, Router, RouterKind
from asya_flowc.options import Options

__all__ = ["name_routers"]


def name_routers(program: Program, options: Options, report: Reporter) -> Program:
    """The program with a name on every router. N is the line of the first mutation (`seq`) or of the keyword."""
    taken: dict[str, int] = {}

    def name(router: Router) -> str:
        if router.kind in (RouterKind.START, RouterKind.END):
            return f"{router.kind}_{program.flow.name}"
        base = f"router_{program.flow.name}_line_{router.span.line}_{router.kind}"
        taken[base] = taken.get(base, 0) + 1
        return base if taken[base] == 1 else f"{base}_{taken[base]}"

    return replace(program, routers=tuple(replace(one, name=name(one)) for one in program.routers))
