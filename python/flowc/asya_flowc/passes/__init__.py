"""The passes, in order. Each is a function of one value that returns a new one; the verifier runs after each.

Statements: `drop_unreachable`. Statements → routers: `split_routers`, which also folds mutations into the router of an `if`.
Routers: `ROUTER_PASSES`.
"""

from collections.abc import Callable
from typing import Final

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Program
from asya_flowc.options import Options
from asya_flowc.passes.drop_unreachable import drop_unreachable
from asya_flowc.passes.name_routers import name_routers
from asya_flowc.passes.resolve_names import resolve_names
from asya_flowc.passes.scope_actions import scope_actions
from asya_flowc.passes.share_joins import share_joins
from asya_flowc.passes.split_routers import split_routers

__all__ = ["PASSES", "ROUTER_PASSES", "drop_unreachable", "split_routers"]

RouterPass = Callable[[Program, Options, Reporter], Program]

ROUTER_PASSES: Final[dict[str, RouterPass]] = {
    "scope_actions": scope_actions,
    "name_routers": name_routers,
    "resolve_names": resolve_names,
    "share_joins": share_joins,
}
PASSES: Final = ("lower", "drop_unreachable", "split_routers", *ROUTER_PASSES)
"""The names of all that makes or changes an intermediate form, in order: what `--print-after` takes."""
