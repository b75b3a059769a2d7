"""The checks: what a flow may hold. One construct a module; all run, all findings of a flow are reported together.

Called by the pipeline between selection and lowering. They read syntax only; what they accept, lowering takes without asking.
"""

from asya_flowc.check.context import Context
from asya_flowc.check.instances import check_instances
from asya_flowc.check.sharing import check_sharing
from asya_flowc.check.statements import check_block
from asya_flowc.diagnostics import Reporter
from asya_flowc.forms import FlowScope
from asya_flowc.options import Options

__all__ = ["check_flow"]


def check_flow(scope: FlowScope, report: Reporter, options: Options) -> None:
    """Report all that is wrong with the flow's body."""
    context = Context(scope=scope, report=report, options=options)
    check_instances(context)
    check_block(context, scope.function.body, loop_names=frozenset(), in_loop=False)
    check_sharing(context)
