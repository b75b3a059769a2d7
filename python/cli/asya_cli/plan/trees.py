"""Reads the actors of a folder of values files, of one file, or of either in a Git revision (``REV:PATH``).

Called by `asya_cli.commands.plan`. A folder is what `asya flow compile` writes (``values/``, ``tools/``), a project (``actors/``), or one
that holds the values files itself; other files in it are not looked at.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from asya_cli.plan.compare import ActorValues
from asya_cli.run import values, yaml_text
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_actor

__all__ = ["Tree", "read_tree"]

_SUFFIXES: Final = (".yaml", ".yml")
_PLACES: Final[tuple[str, ...]] = ("values", "values/_handlers", "actors")
"""Folders below the given one that hold values files; without any of them it holds them itself."""
_OTHERS: Final = ("asya.yaml", "kustomization.yaml", "kustomization.yml", "Chart.yaml")
"""Files that often lie beside values files and are none."""
_GIT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What one side of a comparison has.

    Attributes:
        name: as it was given.
        actors: by name; those with ``enabled: false`` are not there.
        edges: which actors the messages of each go to, from the graphs of the flows.
    """

    name: str
    actors: Mapping[str, ActorValues]
    edges: Mapping[str, frozenset[str]] = field(default_factory=dict)


def read_tree(given: str) -> Tree:
    """The actors at `given`. Raises RemoteFault ``bad_target``, ``bad_yaml``, ``bad_values``, one line naming the file."""
    texts = _texts(given)
    folders = {str(PurePosixPath(name).parent) for name in texts}
    places = [place for place in _PLACES if place in folders] or ["."]
    edges, codes = _graphs({name: text for name, text in texts.items() if PurePosixPath(name).parent.name == "tools"}, given)
    actors: dict[str, ActorValues] = {}
    for name, text in sorted(texts.items()):
        if str(PurePosixPath(name).parent) not in places:
            continue
        actor = _actor(PurePosixPath(name).stem, text, f"{given}/{name}" if len(texts) > 1 or name != Path(given).name else given, codes)
        if actor is None:
            continue
        if actor.name in actors:
            raise RemoteFault("bad_values", f"{actor.file}: actor {actor.name} is also that of {actors[actor.name].file}", "rename one")
        actors[actor.name] = actor
    if not actors:
        raise RemoteFault("bad_target", f"{given} has no values files of actors", "name a folder with values/, actors/ or *.yaml in it")
    return Tree(name=given, actors=actors, edges=edges)


def _actor(stem: str, text: str, file: str, codes: Mapping[str, tuple[str, ...]]) -> ActorValues | None:
    found = dict(values.read(text, file=file).value)
    name = found.get("actorName") or stem
    if not isinstance(name, str) or not is_actor(name):
        raise RemoteFault(
            "bad_values", f"{file}: {name!r} is no actor's name", "a file's name is the actor's: lower-case letters, digits, dashes"
        )
    if found.get("enabled") is False:
        return None
    return ActorValues(name=name, values=found, file=file, code=codes.get(name, ()))


def _graphs(texts: Mapping[str, str], given: str) -> tuple[dict[str, frozenset[str]], dict[str, tuple[str, ...]]]:
    """Edges between actors, and what each router does, from the flows in values of the gateway."""
    edges: dict[str, set[str]] = {}
    codes: dict[str, tuple[str, ...]] = {}
    for name, text in texts.items():
        document = yaml_text.parse(text, file=f"{given}/{name}").value
        flows = document.get("flows") if isinstance(document, dict) else None
        for flow in flows.values() if isinstance(flows, dict) else ():
            graph = flow.get("graph") if isinstance(flow, dict) else None
            if not isinstance(graph, dict):
                continue
            actors = {}
            for node in _objects(graph.get("nodes")):
                actors[node.get("id")] = str(node.get("actor"))
                if node.get("kind") != "handler" and node.get("code"):
                    codes[str(node.get("actor"))] = (str(node.get("kind")), *map(str, node["code"]))
            for edge in _objects(graph.get("edges")):
                source, target = actors.get(edge.get("from")), actors.get(edge.get("to"))
                if source and target:
                    edges.setdefault(source, set()).add(target)
    return {source: frozenset(targets) for source, targets in edges.items()}, codes


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


# --------------------------------------------------------------------------------------------------------------------- where


def _texts(given: str) -> dict[str, str]:
    """Texts of the YAML files, by path below what was given."""
    path = Path(given)
    if path.is_file():
        return {path.name: _read(path)}
    if path.is_dir():
        files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return {file.relative_to(path).as_posix(): _read(file) for file in sorted(files) if _is_wanted(file.name)}
    revision, colon, inside = given.partition(":")
    if not colon:
        raise RemoteFault("bad_target", f"There is no file or folder {given}", "name one, or a Git revision as REV:PATH")
    return _texts_of_git(given, revision, inside or ".")


def _is_wanted(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not name.startswith(".") and name not in _OTHERS


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RemoteFault("bad_yaml", f"{file} cannot be read: {reason}", "check the file and its permissions") from error


def _texts_of_git(given: str, revision: str, inside: str) -> dict[str, str]:
    if revision.startswith("-") or inside.startswith("/"):
        raise RemoteFault("bad_target", f"{given} is no Git revision with a path below the working directory", "write REV:PATH")
    path = PurePosixPath(inside)
    listed = _git(given, "ls-tree", "-r", "-z", "--name-only", "--end-of-options", revision, "--", f"./{path}").decode("utf-8", "replace")
    names = [name for name in listed.split("\0") if name and _is_wanted(PurePosixPath(name).name)]
    if not names:
        raise RemoteFault("bad_target", f"Git revision {revision} has no values files at {inside}", "check revision and path: REV:PATH")
    found = {}
    for name in names:
        below = PurePosixPath(name).relative_to(path) if PurePosixPath(name) != path else PurePosixPath(path.name)
        body = _git(given, "cat-file", "blob", f"{revision}:./{name}")
        try:
            found[below.as_posix()] = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RemoteFault("bad_yaml", f"{given}/{below} cannot be read: it is not UTF-8", "save the file as UTF-8") from error
    return found


def _git(given: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=_GIT_SECONDS, check=False)
    except FileNotFoundError as error:
        raise RemoteFault(
            "bad_target", f"{given} is no file or folder, and git is not installed", "install git, or name a folder"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RemoteFault("bad_target", f"git did not answer for {given} in {_GIT_SECONDS} s", "try again, or name a folder") from error
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RemoteFault("bad_target", f"{given} is no file or folder, and git says: {reason[-1] if reason else 'no'}", "write REV:PATH")
    return done.stdout
