"""``asya run FLOW.py [VALUES…]``: a flow's routers and handlers as actors, compiled in memory. Called by `asya_cli.commands.run`.

Routers are what ``asya flow compile`` would write, read like any values file. Handlers come from the values files that are given, else from
the path that the flow's file gives them: defined in it, or imported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from asya_cli.errors import Failed
from asya_cli.flow.sources import check_module_name, read_source
from asya_cli.flow.told import count_of, show
from asya_cli.output import Talk
from asya_cli.run import values
from asya_cli.run.actor import actor_spec
from asya_cli.run.project import Actor, Project, ProjectFile, assigned, changes_of, check_changes, check_target, project_file, read_actor
from asya_core.wire.errors import RemoteFault
from asya_flowc import Compilation, Options, compile_source

__all__ = ["load_flow"]


def load_flow(targets: Sequence[str], settings: Sequence[str], *, flow: str | None, talk: Talk) -> Project:
    """Compile the flow among `targets` and read the values files beside it; the route is the flow's entry.

    Raises Failed ``rejected``, its diagnostics shown before, RemoteFault for targets and values that are not right.
    """
    flows = [target for target in targets if target.endswith(".py")]
    if len(flows) > 1:
        raise RemoteFault("bad_target", f"Targets {' and '.join(flows)} are both flows", "run one at a time")
    shown, file = flows[0], Path(flows[0])
    if not file.is_file():
        raise RemoteFault("bad_target", f"Target {shown} does not exist or is no file", "name the Python file that holds the flow")
    changes = changes_of(settings)
    home = file.resolve().parent
    beside = project_file(home)
    given = _given([Path(target) for target in targets if target not in flows], changes, beside)
    text = read_source(shown)
    done = _compiled(text, shown, flow=flow, given=given, talk=talk)
    actors = _routers(done, changes, shown, file, beside) | (given or _handlers(done, changes, text, file, beside))
    check_changes(changes, actors)
    files = (file.resolve(), *(actor.file for actor in given.values()))
    tools = {PurePosixPath(name).name: text for name, text in done.artifacts.items() if name.startswith("tools/")}
    return Project(directory=home, actors=actors, route=(done.entry,), files=files, tools=tools)


def _given(files: Sequence[Path], changes: Mapping[str, list[tuple[str, str]]], beside: ProjectFile) -> dict[str, Actor]:
    for file in files:
        check_target(file, alone=False)
    return {actor.spec.name: actor for actor in (read_actor(file, changes, beside) for file in files)}


def _compiled(text: str, shown: str, *, flow: str | None, given: Mapping[str, Actor], talk: Talk) -> Compilation:
    known = {name: actor.spec.handler for name, actor in given.items()}
    done = compile_source(text, shown, Options(flow=flow, actors=known or None))
    if isinstance(done, list):
        show(talk, done, text, shown)
        raise Failed("rejected", f"{shown}: the flow is refused: {count_of(done)}", "correct what is listed above")
    check_module_name(done.handlers.values(), shown)
    for actor, path in done.handlers.items():
        if "." not in path:
            raise Failed(
                "handler_unknown",
                f"{shown}: handler {path} is neither imported nor defined in the file",
                f"import it there, or give the values file of {actor} as a further TARGET",
            )
    show(talk, done.warnings, text, shown)
    return done


def _routers(
    done: Compilation, changes: Mapping[str, list[tuple[str, str]]], shown: str, file: Path, beside: ProjectFile
) -> dict[str, Actor]:
    found = {}
    for router in done.routers:
        where = f"{shown} (router {router.name})"
        read = values.read(done.artifacts[str(PurePosixPath("values", f"{router.actor}.yaml"))], file=where).value
        found[router.actor] = _actor(router.actor, assigned(read, changes, release=router.actor), where, file, beside)
    return found


def _handlers(
    done: Compilation, changes: Mapping[str, list[tuple[str, str]]], text: str, file: Path, beside: ProjectFile
) -> dict[str, Actor]:
    found = {}
    for name, path in done.handlers.items():
        read: dict[str, Any] = {"handler": path}
        if path.startswith(f"{file.stem}.") and beside.path != file.resolve().parent:
            read["source"] = {"files": {file.name: text}}  # run.path leads elsewhere; the flow's own file must be found too
        found[name] = _actor(name, assigned(read, changes, release=name), f"handler {path}", file, beside)
    return found


def _actor(name: str, read: Mapping[str, Any], where: str, file: Path, beside: ProjectFile) -> Actor:
    return Actor(spec=actor_spec(read, release=name, file=where), file=file.resolve(), root=beside.path, python=beside.python)
