"""The phases in order: parse → select → check → lower → passes → verify → emit → self-check. The compiler's one entry.

Called by the package's public face. Text in, artifacts or diagnostics out; reads and writes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from asya_flowc.check import check_flow
from asya_flowc.diagnostics import Diagnostic, Reporter, sort_diagnostics
from asya_flowc.emit.dot import dot_text
from asya_flowc.emit.graph import flow_json, graph_of
from asya_flowc.emit.python import routers_text
from asya_flowc.emit.tools import tools_file
from asya_flowc.emit.values import MAX_SOURCE_BYTES, stub_files, values_files
from asya_flowc.ir import Branch, Call, Flow, Loop, Program
from asya_flowc.ir_text import print_form
from asya_flowc.lower import lower
from asya_flowc.options import Options
from asya_flowc.parse import compiles_as_python, parse
from asya_flowc.passes import ROUTER_PASSES, drop_unreachable, split_routers
from asya_flowc.passes.resolve_names import variables
from asya_flowc.scope import module_scope
from asya_flowc.select import select_flow, warn_without_handlers
from asya_flowc.selfcheck import check_routers
from asya_flowc.source import Source, Span
from asya_flowc.verify import BrokenInvariant, circle, verify

__all__ = ["Compilation", "RouterInfo", "Watch", "compile_source", "environment_of"]

Watch = Callable[[str, Flow | Program], None]
"""Called with the name of a pass and what came out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterInfo:
    """A generated actor: its function in ``routers.py``, its actor name, and its kind (start, seq, if, while, for, end)."""

    name: str
    actor: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """A compiled flow. `artifacts` maps a path relative to the output folder to UTF-8 text, ``flow.json`` last.

    `entry` is the actor to start an envelope at; `environment` the ``ASYA_HANDLER_*`` variables of a router; `handlers` maps a user
    handler's actor to its path.
    """

    flow: str
    entry: str
    artifacts: Mapping[str, str]
    warnings: tuple[Diagnostic, ...]
    routers: tuple[RouterInfo, ...]
    handlers: Mapping[str, str]
    environment: Mapping[str, str]
    program: Program


def compile_source(text: str, path: str, options: Options | None = None, *, watch: Watch | None = None) -> Compilation | list[Diagnostic]:
    """Compile the flow in `text`. `path` names the file in diagnostics and gives the module's name; ``-`` is standard input.

    `watch` is called with the name and the outcome of each of `PASSES`. Returns the compilation, or all diagnostics, sorted, at least
    one of them an error. Never raises for bad input.
    """
    options = options or Options()
    source = Source.of(text, path)
    report = Reporter(source)
    done: Compilation | None = None
    try:
        done = _run(source, options, report, watch or _unwatched)
    except RecursionError:
        report.add("E003", Span(1, 1, 1, 1), "an expression or block of this file is nested too deeply")
    if done is None or report.has_errors():
        return sort_diagnostics(report.found)
    return done


def _unwatched(name: str, form: Flow | Program) -> None:
    """Nobody looks at the intermediate forms."""


def _run(source: Source, options: Options, report: Reporter, watch: Watch) -> Compilation | None:
    tree = parse(source, report)
    if tree is None:
        return None
    scope = select_flow(tree, module_scope(tree), source, report, named=options.flow)
    if scope is None:
        return None
    for name in sorted(options.subflows):
        report.add("E413", source.span(scope.function), f"--subflow {name}: sub-flows cannot be compiled yet")
    check_flow(scope, report, options)
    if options.flow is None:
        warn_without_handlers(scope, report)
    if report.has_errors() or not compiles_as_python(tree, source, report):
        return None
    flow = lower(scope, source)
    watch("lower", flow)
    flow = drop_unreachable(flow, report)
    watch("drop_unreachable", flow)
    _warn_repeated(flow, options, report)
    return _routed(flow, source, options, report, watch)


def _routed(flow: Flow, source: Source, options: Options, report: Reporter, watch: Watch) -> Compilation | None:
    form: Flow | Program = flow
    try:
        program = form = split_routers(flow, skips_end=options.end_router == "skip", max_iterations=options.max_iterations)
        verify(program)
        watch("split_routers", program)
        for name, change in ROUTER_PASSES.items():
            program = form = change(program, options, report)
            verify(program)
            watch(name, program)
        if options.infinite_loop_check and (number := circle(program)) is not None:
            report.add("E505", program.routers[number].span, f"from router '{program.routers[number].name}' a circle leads back to it")
        return None if report.has_errors() else _emit(program, source, options, report)
    except BrokenInvariant as error:
        write = f"a report with this file and the form that it had:\n{print_form(form)}"
        report.add("E901", flow.span, f"the output failed its check: {error}", write=write)
        return None


def _warn_repeated(flow: Flow, options: Options, report: Reporter) -> None:
    if not options.infinite_loop_check:
        return
    seen: dict[str, int] = {}
    todo = list(reversed(flow.body))
    while todo:
        one = todo.pop()
        if isinstance(one, Call):
            if one.handler in seen:
                report.add("W504", one.span, f"handler '{one.handler}' is used in line {seen[one.handler]} already")
            seen.setdefault(one.handler, one.span.line)
        elif isinstance(one, Branch):
            todo.extend(reversed((*one.then, *one.orelse)))
        elif isinstance(one, Loop):
            todo.extend(reversed((*one.body, *one.orelse)))


def _emit(program: Program, source: Source, options: Options, report: Reporter) -> Compilation | None:
    name = options.source_name or ("standard input" if source.path == "-" else PurePath(source.path).name)
    text = routers_text(program, options, source_name=name)
    if text != routers_text(program, options, source_name=name):
        raise BrokenInvariant("routers.py differs when it is made twice")
    check_routers(text, program, report)
    if options.image is None and len(text.encode()) > MAX_SOURCE_BYTES:
        report.add("E601", program.flow.span, f"routers.py has {len(text.encode())} bytes")
        return None
    graph = graph_of(program)
    artifacts = {"routers.py": text, "flow.dot": dot_text(graph, title=program.flow.name, width=options.plot_width)}
    artifacts |= values_files(program, options, source_name=name, routers_text=text)
    artifacts[f"tools/{program.flow.name}.yaml"] = tools_file(program, graph, source, source_name=name)
    if options.stubs:
        for handler in program.flow.handlers:
            if handler.path is None and handler.actor not in (options.actors or {}):
                report.add("E602", handler.span, f"the module of handler '{'.'.join(handler.text)}' is unknown")
        artifacts |= stub_files(program, options, source_name=name, flow_text=source.text, flow_file=f"{source.stem}.py")
    warnings = sort_diagnostics(report.found)
    artifacts["flow.json"] = flow_json(program, graph, options, source_name=name, warnings=warnings, files=artifacts)
    return Compilation(
        flow=program.flow.name,
        entry=program.routers[0].actor,
        artifacts=artifacts,
        warnings=tuple(warnings),
        routers=tuple(RouterInfo(name=one.name, actor=one.actor, kind=str(one.kind)) for one in program.routers),
        handlers={one.actor: one.mapped_path for one in program.flow.handlers},
        environment=environment_of(program, options),
        program=program,
    )


def environment_of(program: Program, options: Options) -> dict[str, str]:
    """The variables of a router of `program`: of the one actor that runs them all if they are folded."""
    found = variables(program)
    if options.routers == "folded":
        routers = {f"routers.{one.name}" for one in program.routers}
        found = {name: path for name, path in found.items() if path not in routers} | {"ASYA_FLOW_ACTOR": program.routers[0].actor}
    return found
