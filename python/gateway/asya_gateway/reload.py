"""Reads the tools' files, and again when they change. Called by `app`; what they must say is decided in `tools`.

A directory is read as a whole, as a mounted ConfigMap changes as a whole. A bad file changes nothing but `Tools.problem`.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from asya_core.ops.logs import Log
from asya_core.wire.errors import RemoteFault
from asya_gateway.tools import Registry, read_tools

__all__ = ["Tools"]

_PERIOD_SECONDS: Final = 2.0
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_MAX_BYTES: Final = 16 * 1024 * 1024


class Tools:
    """The tools as they are now.

    Args:
        path: a file, or a directory of ``*.yaml``.
        log: one line per change.
        changed: told after another registry is in force.
        counted: counts reloads: ``ok`` or ``refused``.
    """

    def __init__(
        self, path: Path, *, log: Log, changed: Callable[[], None] = lambda: None, counted: Callable[[str], None] = lambda outcome: None
    ) -> None:
        self._path = path
        self._log = log
        self.changed = changed
        self._counted = counted
        self._digest = ""
        self.registry = Registry(tools={}, flows={})
        self.problem = ""
        """Why the files on disk are not in force; empty if they are."""

    def load(self) -> bool:
        """Read the files; True if another registry is in force. Raises RemoteFault ``bad_tools``."""
        texts = _texts(self._path)
        digest = hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in texts.items()).encode()).hexdigest()
        if digest == self._digest:
            return False
        self._digest = digest
        self.registry = read_tools({name: _parsed(name, text) for name, text in texts.items()})
        self.problem = ""
        return True

    async def run(self) -> None:
        """Look every 2 s, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            self.look()

    def look(self) -> None:
        """Take over what has changed; a refusal is told once and changes nothing."""
        try:
            is_new = self.load()
        except RemoteFault as fault:
            if fault.message != self.problem:
                self.problem = fault.message
                self._counted("refused")
                self._log.error("tools refused", reason=fault.message, hint=fault.hint)
            return
        if is_new:
            self._counted("ok")
            self._log.info("tools loaded", tools=len(self.registry.tools), flows=len(self.registry.flows))
            self.changed()


def _texts(path: Path) -> dict[str, str]:
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith("."))
        else:
            files = [path]
        texts = {}
        for file in files:
            if file.stat().st_size > _MAX_BYTES:
                raise RemoteFault("bad_tools", f"{file.name} is over {_MAX_BYTES} bytes", "split it")
            texts[file.name] = file.read_text(encoding="utf-8")
        return texts
    except UnicodeDecodeError as error:
        raise RemoteFault("bad_tools", f"{path}: not UTF-8: {error.reason}", "save it as UTF-8") from error
    except OSError as error:
        raise RemoteFault("bad_tools", f"Tools {path} cannot be read: {error.strerror}", "see ASYA_GATEWAY_TOOLS") from error


def _parsed(name: str, text: str) -> Any:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise RemoteFault("bad_tools", f"{name}: {' '.join(str(error).split())[:300]}", "correct the YAML") from error
    except (ValueError, RecursionError) as error:
        raise RemoteFault("bad_tools", f"{name}: {error}", "correct the YAML") from error


class _Loader(yaml.SafeLoader):
    """YAML without dates: what looks like one stays a text, as in JSON. And with all numbers of JSON: Helm writes 0.0000001 as 1e-07."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class keeps it so
        key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))
