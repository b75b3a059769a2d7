"""The tools of a project, for the gateway of ``--serve --gateway``: what stands in ``tools/*.yaml``, or one per actor.

Pure but for reading. Called by `project`, `flow_target` and `gateway`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asya_core.wire.errors import RemoteFault

__all__ = ["made_tools", "read_tools_folder"]


def read_tools_folder(directory: Path) -> dict[str, str]:
    """``tools/*.yaml`` of `directory` by name; empty if there is no such folder. Raises RemoteFault ``bad_target``."""
    folder = directory / "tools"
    if not folder.is_dir():
        return {}
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml") and not file.name.startswith("."))
        return {file.name: file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteFault("bad_target", f"Tools in {folder} cannot be read: {error}", "check the files") from error


def made_tools(name: str, actors: Iterable[str], route: Sequence[str]) -> dict[str, str]:
    """Tools for a project that defines none: one for each actor, and one for the project's route, named `name`.

    They take any object. JSON is YAML, so that is how it is written.
    """
    tools: dict[str, Mapping[str, Any]] = {actor: {"description": f"Calls the actor {actor}", "actor": actor} for actor in actors}
    if len(route) > 1 and name not in tools:
        tools[name] = {"description": f"Calls {', '.join(route)} in turn", "route": list(route)}
    return {"actors.yaml": json.dumps({"tools": tools}, indent=2)}
