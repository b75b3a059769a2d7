"""What a compilation reads: the flow's file and, with ``--actors``, the values files of its handlers. Called by `asya_cli.commands.flow`.

Reads files; compiles and writes nothing.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from asya_cli.errors import Failed
from asya_cli.run import yaml_text
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_actor
from asya_flowc import UnreadableSource, decode

__all__ = ["STDIN", "check_module_name", "read_actors", "read_source"]

STDIN: Final = "-"
_SUFFIXES: Final = (".yaml", ".yml")


def read_source(file: str) -> str:
    """The text of the flow's file; ``-`` is standard input. Raises Failed ``unreadable``."""
    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except IsADirectoryError as error:
        raise Failed("unreadable", f"{file}: FLOW001 this is a folder", "name the Python file that holds the flow") from error
    except OSError as error:
        raise Failed("unreadable", f"{file} cannot be read: {error.strerror}", "name the Python file that holds the flow") from error
    try:
        return decode(data)
    except UnreadableSource as error:
        raise Failed("unreadable", f"{file}: FLOW001 {error.reason}", "save the file as UTF-8") from error


def check_module_name(handlers: Iterable[str], file: str) -> None:
    """Raise Failed ``bad_name`` if one of the `handlers` is defined in `file`, whose name no ``import`` can say."""
    stem = Path(file).stem
    inside = [path for path in handlers if path.startswith(f"{stem}.")]
    if inside and not stem.isidentifier():
        name = re.sub(r"\W", "_", stem)
        raise Failed(
            "bad_name", f"{file} holds handlers and its name is no module name: {inside[0]} cannot be imported", f"name it {name}.py"
        )


def read_actors(folder: str) -> dict[str, str]:
    """Actor → full handler path, from the values files of the chart asya-actor in `folder`.

    The name is ``actorName`` or the file's stem. A file without ``handler`` (values that several releases share) names no actor.
    Raises Failed ``bad_actors`` naming the file.
    """
    place = Path(folder)
    try:
        files = sorted(file for file in place.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith("."))
    except OSError as error:
        raise Failed("bad_actors", f"--actors {folder} cannot be read: {error.strerror}", "name a folder of values files") from error
    if not files:
        raise Failed("bad_actors", f"--actors {folder} has no values files", "put one *.yaml per actor there; its name is the actor's")
    found: dict[str, str] = {}
    for file in files:
        values = _values(file)
        handler = values.get("handler")
        if handler is None:
            continue
        if not isinstance(handler, str) or not all(part.isidentifier() for part in handler.split(".")):
            raise Failed("bad_actors", f"{file}: handler {handler!r} is no dotted path", "write module.function or module.Class.method")
        name = values.get("actorName") or file.stem
        if not isinstance(name, str) or not is_actor(name):
            raise Failed("bad_actors", f"{file}: actor name {name!r} is not legal", "name the file with a-z, 0-9 and dashes, at most 53")
        if name in found:
            raise Failed("bad_actors", f"{file}: actor {name} has another values file in {folder}", "rename one of them")
        found[name] = handler
    return found


def _values(file: Path) -> dict[str, Any]:
    try:
        document = yaml_text.parse(file.read_text(encoding="utf-8"), file=str(file)).value
    except OSError as error:
        raise Failed("bad_actors", f"{file} cannot be read: {error.strerror}", "check its permissions") from error
    except UnicodeDecodeError as error:
        raise Failed("bad_actors", f"{file}: byte {error.start} is not UTF-8", "save the file as UTF-8") from error
    except RemoteFault as error:
        raise Failed("bad_actors", error.message, error.hint) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Failed("bad_actors", f"{file} is no mapping", "write KEY: VALUE lines")
    return document
