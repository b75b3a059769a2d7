"""What to run: actors and default route, from a directory or values files.

Called by `asya_cli.commands.run` and again on reload. Reads files; starts nothing.

A directory has ``actors/*.yaml`` (values of the chart asya-actor, the stem is the actor's name) and perhaps ``asya.yaml``::

    run:
      route: [clean-text, tokenize]     # of `asya run` without --route
      path: src                         # where the handlers are imported from, beside this file; default: the directory itself
      python: .venv/bin/python          # runs the handlers; default: the Python of asya

Values files given one by one belong to the directory above ``actors/``, or to the one they are in.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asya_cli.errors import nearest
from asya_cli.run import values, yaml_text
from asya_cli.run.actor import ActorSpec, actor_spec
from asya_cli.run.route import check_route, parse_route
from asya_cli.run.tools import read_tools_folder
from asya_core.wire.errors import RemoteFault

__all__ = [
    "Actor",
    "Project",
    "ProjectFile",
    "assigned",
    "changes_of",
    "check_changes",
    "check_target",
    "load",
    "project_file",
    "read_actor",
    "shown_path",
]

PROJECT_FILE: Final = "asya.yaml"
_SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One actor to run.

    Attributes:
        spec: from its values.
        file: the values file.
        root: directory that handlers are imported from; the working directory of the runtime.
        python: the interpreter that runs them; None: this one.
    """

    spec: ActorSpec
    file: Path
    root: Path
    python: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All that may run together.

    Attributes:
        directory: where ``.asya/run`` is kept.
        actors: by name, in the order of their files.
        route: the default route; empty if there is none.
        files: values and project files that were read.
        tools: values of the gateway by file name, as they were written; empty if the project defines none.
    """

    directory: Path
    actors: Mapping[str, Actor]
    route: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def specs(self) -> dict[str, ActorSpec]:
        """The actors' specs by name."""
        return {name: actor.spec for name, actor in self.actors.items()}

    def chosen_route(self, option: str | None) -> tuple[str, ...]:
        """The route to take: ``--route``, else the only actor, else ``run.route`` of asya.yaml. Raises RemoteFault ``bad_route``."""
        if option is not None:
            entries, source = parse_route(option), "--route"
        elif self.route:
            entries, source = self.route, str(shown_path(self.directory / PROJECT_FILE))
        elif len(self.actors) == 1:
            return tuple(self.actors)
        else:
            names = ", ".join(self.actors)
            raise RemoteFault(
                "bad_route",
                f"No route is given, and there are {len(self.actors)} actors: {names}",
                "give --route A,B or run.route in asya.yaml",
            )
        check_route(entries, self.actors, source=source)
        return entries


def load(targets: Sequence[str], settings: Sequence[str] = ()) -> Project:
    """Read and check everything that `targets` name.

    Args:
        targets: one directory, or values files.
        settings: ``ACTOR.KEY=VALUE`` of ``--set``, in order.

    Raises RemoteFault with file, line and column for whatever is not right.
    """
    paths = [Path(target) for target in targets]
    for path in paths:
        check_target(path, alone=len(paths) == 1)
    is_directory = paths[0].is_dir()
    files = _values_files(paths[0]) if is_directory else paths
    changes = changes_of(settings)
    projects = {directory: project_file(directory) for directory in dict.fromkeys(_home(file) for file in files)}
    actors: dict[str, Actor] = {}
    for file in files:
        actor = read_actor(file, changes, projects[_home(file)])
        if actor.spec.name in actors:
            raise RemoteFault(
                "bad_values",
                f"{shown_path(file)}: actor {actor.spec.name} is also that of {shown_path(actors[actor.spec.name].file)}",
                "rename one of them",
            )
        actors[actor.spec.name] = actor
    check_changes(changes, actors)
    home = paths[0].resolve() if is_directory else _home(files[0])
    settings_of_home = projects.get(home) or project_file(home)
    read = [file.resolve() for file in files] + [directory / PROJECT_FILE for directory in projects if (directory / PROJECT_FILE).is_file()]
    route = settings_of_home.route if len(projects) == 1 else ()
    return Project(directory=home, actors=actors, route=route, files=tuple(read), tools=read_tools_folder(home) if is_directory else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """What ``asya.yaml`` says; without one, its defaults."""

    route: tuple[str, ...] = ()
    path: Path
    python: Path | None = None


def check_target(path: Path, *, alone: bool) -> None:
    """Raise RemoteFault ``bad_target`` unless `path` is a values file, or a directory and `alone`."""
    if not path.exists():
        raise RemoteFault("bad_target", f"Target {path} does not exist", "name a directory with actors/*.yaml, or values files")
    if path.is_dir():
        if not alone:
            raise RemoteFault(
                "bad_target", f"Target {path} is a directory beside other targets", "give one directory, or values files only"
            )
    elif path.suffix not in _SUFFIXES:
        raise RemoteFault("bad_target", f"Target {path} is no values file", "values files end in .yaml or .yml, a flow in .py")


def _values_files(directory: Path) -> list[Path]:
    folder = directory / "actors"
    files = (
        sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith(".")) if folder.is_dir() else []
    )
    if not files:
        raise RemoteFault(
            "bad_target",
            f"Directory {directory} has no actors/*.yaml",
            "put one values file per actor there; a file's name is the actor's name",
        )
    return files


def _home(file: Path) -> Path:
    folder = file.resolve().parent
    return folder.parent if folder.name == "actors" else folder


def read_actor(file: Path, changes: Mapping[str, list[tuple[str, str]]], project: ProjectFile) -> Actor:
    """The actor of a values file, with `changes` of ``--set`` made. Raises RemoteFault."""
    shown = str(shown_path(file))
    document = values.read(text_of(file), file=shown)
    changed = assigned(document.value, changes, release=file.stem)
    spec = actor_spec(changed, release=file.stem, file=shown)
    return Actor(spec=spec, file=file.resolve(), root=project.path, python=project.python)


def assigned(read: Mapping[str, Any], changes: Mapping[str, list[tuple[str, str]]], *, release: str) -> Mapping[str, Any]:
    """The values with `changes` of ``--set`` made, checked anew. Raises RemoteFault ``bad_set``, ``bad_values``."""
    name = read.get("actorName") or release
    for key, text in changes.get(name, ()):
        read = values.assign(read, key, text)
        values.check(yaml_text.Document(read, {}), file=f"--set {name}.{key}")
    return read


def changes_of(settings: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """``ACTOR.KEY=VALUE`` by actor. Raises RemoteFault ``bad_set``."""
    changes: dict[str, list[tuple[str, str]]] = {}
    for setting in settings:
        left, equals, text = setting.partition("=")
        name, dot, key = left.partition(".")
        if not (equals and dot and name and key):
            raise RemoteFault("bad_set", f"--set {setting!r} is not ACTOR.KEY=VALUE", "write for instance judge.env.THRESHOLD=0.9")
        changes.setdefault(name, []).append((key, text))
    return changes


def check_changes(changes: Iterable[str], actors: Iterable[str]) -> None:
    """Raise RemoteFault ``bad_set`` for a name of ``--set`` that is none of `actors`."""
    known = set(actors)
    for name in changes:
        if name not in known:
            raise RemoteFault("bad_set", f"--set names actor {name!r}, which is not among the values files", nearest(name, known))


def project_file(directory: Path) -> ProjectFile:
    """What ``asya.yaml`` of `directory` says. Raises RemoteFault ``bad_project``."""
    file = directory / PROJECT_FILE
    if not file.is_file():
        return ProjectFile(path=directory)
    shown = str(shown_path(file))
    document = yaml_text.parse(text_of(file), file=shown)
    top = _section(document.value, (), ("run", "mcp"), document, shown)
    run = _section(top.get("run") or {}, ("run",), ("route", "path", "python"), document, shown)
    route = run.get("route") or []
    if not isinstance(route, list) or not all(isinstance(entry, str) for entry in route):
        raise RemoteFault(
            "bad_project", f"{shown}{document.place(('run', 'route'))}: run.route is no list of actors", "write [first, second]"
        )
    for key in ("path", "python"):
        if not isinstance(run.get(key, ""), str):
            raise RemoteFault(
                "bad_project", f"{shown}{document.place(('run', key))}: run.{key} is no path", "write a path beside this file"
            )
    path = directory / (run.get("path") or ".")
    if not path.is_dir():
        raise RemoteFault(
            "bad_project", f"{shown}{document.place(('run', 'path'))}: run.path {path} is no directory", "write a path beside this file"
        )
    python = directory / run["python"] if run.get("python") else None
    if python is not None and not os.access(python, os.X_OK):
        raise RemoteFault(
            "bad_project",
            f"{shown}{document.place(('run', 'python'))}: run.python {python} is no program",
            "write the path of a python executable",
        )
    return ProjectFile(route=tuple(route), path=path.resolve(), python=python)


def _section(section: Any, path: tuple[str, ...], known: tuple[str, ...], document: yaml_text.Document, shown: str) -> dict[str, Any]:
    if not isinstance(section, dict):
        raise RemoteFault(
            "bad_project", f"{shown}{document.place(path)}: {'.'.join(path) or 'the file'} is no mapping", "write KEY: VALUE lines"
        )
    for key in section:
        if key not in known:
            name = ".".join((*path, key))
            raise RemoteFault("bad_project", f"{shown}{document.place((*path, key))}: unknown key {name}", nearest(key, known))
    return section


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RemoteFault("bad_yaml", f"{shown_path(file)}: byte {error.start} is not UTF-8", "save the file as UTF-8") from error
    except OSError as error:
        raise RemoteFault(
            "bad_yaml", f"{shown_path(file)} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error


def shown_path(path: Path) -> Path:
    """`path` as people would write it: relative to where they are, if that is shorter."""
    resolved = path.resolve()
    try:
        return resolved.relative_to(Path.cwd())
    except ValueError:
        return path
