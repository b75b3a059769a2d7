"""The flow compiler: one Python function in, routers, diagram and values out. Standard library only, no I/O.

done = compile_source(text, "flow.py", Options())
if isinstance(done, list): print each with render(diagnostic, Source.of(text, "flow.py"))
else: write done.artifacts
"""

from asya_flowc.codes import CODES
from asya_flowc.diagnostics import Diagnostic, Severity, render
from asya_flowc.ir import Flow, Program
from asya_flowc.ir_text import print_form
from asya_flowc.options import Image, Options
from asya_flowc.parse import UnreadableSource, decode
from asya_flowc.passes import PASSES
from asya_flowc.pipeline import Compilation, RouterInfo, compile_source
from asya_flowc.source import Source, Span

__all__ = [
    "CODES",
    "PASSES",
    "Compilation",
    "Diagnostic",
    "Flow",
    "Image",
    "Options",
    "Program",
    "RouterInfo",
    "Severity",
    "Source",
    "Span",
    "UnreadableSource",
    "compile_source",
    "decode",
    "print_form",
    "render",
]
