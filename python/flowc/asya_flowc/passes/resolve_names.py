"""Gives each handler its actor and the name that routers resolve, each router its actor; refuses clashes (E501, E502, E507, E604).

Two handlers ``m1.clean`` and ``m2.clean``, both called as ``clean``, become ``m1.clean`` and ``m2.clean``; a single one stays ``clean``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from asya_flowc.diagnostics import Reporter
from asya_flowc.ir import Handler, Program, RouterKind
from asya_flowc.names import actor_of_handler, actor_of_router, is_actor, variable_of_actor
from asya_flowc.options import Options
from asya_flowc.runtime_text import find_actors
from asya_flowc.source import Span

__all__ = ["MAX_NAMES", "resolve_names", "variables"]

MAX_NAMES: Final = 450
"""Distinct names that one router's environment may map."""
_RESERVED: Final = frozenset(
    [
        "dict",
        "len",
        "list",
        "isinstance",
        "range",
        "ValueError",
        "TypeError",
        "RuntimeError",
        "str",
        "int",
        "float",
        "bool",
        "tuple",
        "type",
        "sorted",
        "print",
        "min",
        "max",
    ]
)
"""Builtins that generated code uses at module level; a constant of such a name would change it."""


def variables(program: Program) -> dict[str, str]:
    """``ASYA_HANDLER_*`` of every handler and every router but start: the environment that each router gets."""
    pairs = [(one.actor, one.mapped_path) for one in program.flow.handlers]
    pairs += [(one.actor, f"routers.{one.name}") for one in program.routers if one.kind is not RouterKind.START]
    return {variable_of_actor(actor): path for actor, path in pairs}


def resolve_names(program: Program, options: Options, report: Reporter) -> Program:
    """The program with every name and actor filled in; clashes are reported and leave the names as they are."""
    routers = tuple(replace(one, actor=actor_of_router(one.name)) for one in program.routers)
    handlers = [_actor(one, options.actors, report) for one in program.flow.handlers]
    program = replace(program, routers=routers, flow=replace(program.flow, handlers=tuple(handlers)))
    _check_names(program, report)
    if report.has_errors():
        return program
    mappings = sorted((_actor_of_variable(name), path) for name, path in variables(program).items())
    named = tuple(replace(one, name=_shortest(one, mappings, report)) for one in handlers)
    return replace(program, flow=replace(program.flow, handlers=named))


def _actor_of_variable(name: str) -> str:
    return name.removeprefix("ASYA_HANDLER_").lower().replace("_", "-")


def _actor(handler: Handler, actors: Mapping[str, str] | None, report: Reporter) -> Handler:
    default = actor_of_handler(handler.text, is_method=handler.is_method)
    text = ".".join(handler.text)
    if actors is None:
        if handler.path is None:
            report.add("W508", handler.span, f"the module of handler '{text}' is unknown; its variable holds the bare name")
        if not is_actor(default):
            report.add("E502", handler.span, f"handler '{text}' gives the actor name '{default}', which is not legal")
        return replace(handler, actor=default, mapped_path=handler.path or text)
    mappings = sorted(actors.items())
    for wanted in (handler.path, text):
        found = find_actors(wanted, mappings) if wanted else []
        if len(found) == 1:
            return replace(handler, actor=found[0][0], mapped_path=found[0][1])
        if found:
            several = ", ".join(f"{actor} ({path})" for actor, path in found)
            report.add(
                "E507", handler.span, f"several actors run '{text}': {several}", write="one values file for this handler, or its full path"
            )
            return handler
    if default in actors:
        return replace(handler, actor=default, mapped_path=actors[default])
    report.add("E507", handler.span, f"no values file runs '{handler.path or text}' or is called '{default}'")
    return handler


def _check_names(program: Program, report: Reporter) -> None:
    owner: dict[str, tuple[str, Span]] = {}
    for router in program.routers:
        text = f"router '{router.name}'"
        if len(router.name) > len(router.actor) and router.kind is RouterKind.START:
            report.add("W506", router.span, f"names of the flow '{program.flow.name}' are shortened: {router.actor}")
        owner.setdefault(router.actor, (text, router.span))
    for handler in program.flow.handlers:
        if not handler.actor:
            continue
        text = f"handler '{'.'.join(handler.text)}'"
        if handler.actor in owner:
            report.add("E501", handler.span, f"{text} and {owner[handler.actor][0]} are both the actor '{handler.actor}'")
        owner.setdefault(handler.actor, (text, handler.span))
    routers = {router.name for router in program.routers}
    generated = routers | {"resolve", f"folded_{program.flow.name}", "main"}
    for statement in program.flow.carried:
        name = statement.split(" = ")[0] if " = " in statement else statement.split()[-1].partition(".")[0]
        if name in generated or name.startswith("_asya_") or name in _RESERVED:
            report.add(
                "E501", program.flow.span, f"'{name}' of this file is also a name of the generated module", write="another name for it"
            )
    for name in sorted(program.flow.used_names):
        if name.startswith("_asya_"):
            report.add("E501", program.flow.span, f"'{name}' begins like the names of the generated module", write="another name for it")
    count = len(program.flow.handlers) + len(program.routers) - 1
    if count > MAX_NAMES:
        report.add("E604", program.flow.span, f"the flow has {count} names of handlers and routers")


def _shortest(handler: Handler, mappings: list[tuple[str, str]], report: Reporter) -> str:
    """The text as called, or the shortest longer suffix of the path that one actor alone answers."""
    text = ".".join(handler.text)
    parts = handler.mapped_path.split(".")
    longer = [".".join(parts[-count:]) for count in range(len(handler.text) + 1, len(parts) + 1)]
    for name in (text, *longer):
        if [actor for actor, _ in find_actors(name, mappings)] == [handler.actor]:
            return name
    report.add("E501", handler.span, f"no name tells handler '{text}' from others")
    return text
