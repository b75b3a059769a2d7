"""The passes, in order. Each is a function of one value that returns a new one; the verifier runs after each.

`PASSES` works on routers, after `drop_unreachable` (on statements) and `split_routers` (statements → routers).
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

__all__ = ["PASSES", "drop_unreachable", "split_routers"]

Pass = Callable[[Program, Options, Reporter], Program]

PASSES: Final[tuple[Pass, ...]] = (scope_actions, name_routers, resolve_names, share_joins)
