"""Checks of this machine: Python, packages, Graphviz, the command's settings, the values of a project.

Called by `asya_cli.commands.doctor`. Starts nothing.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from asya_cli.config import Config
from asya_cli.doctor.check import Check, bad, good, guarded, skipped
from asya_core import __version__

__all__ = ["of_machine", "of_project"]

_LEAST: Final = (3, 11)
_EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "local": ("msgspec", "pika", "jsonschema", "watchfiles"),
    "gateway": ("mcp", "starlette", "uvicorn", "psycopg"),
    "storage": ("boto3",),
    "kube": ("kubernetes",),
}
"""Extra: what it brings."""


def of_machine(environment: Mapping[str, str], read: Callable[[], Config]) -> Iterator[Check]:
    """Versions, extras, Graphviz, settings.

    Args:
        environment: of the process.
        read: reads the command's settings; raises RemoteFault ``bad_config``.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _LEAST:
        yield bad("python", f"Python {version}", "install Python 3.11 or newer")
    else:
        yield good("python", f"Python {version}, asya {__version__}")
    present = [extra for extra, modules in _EXTRAS.items() if all(find_spec(module) for module in modules)]
    absent = [extra for extra in _EXTRAS if extra not in present]
    text = f"{', '.join(present) or 'none'} installed"
    if absent:
        yield skipped("extras", f"{text}; not here: {', '.join(absent)}", f"if you need them: pip install 'asya[{','.join(absent)}]'")
    else:
        yield good("extras", text)
    program = shutil.which("dot", path=environment.get("PATH"))
    if program is None:
        yield skipped("graphviz", "dot is not on the PATH; flows are compiled without a drawing", "install the package graphviz")
    else:
        yield good("graphviz", program)
    yield from guarded("settings", lambda: _settings(read()))


def _settings(config: Config) -> Iterator[Check]:
    key = f"a key from {config.token.origin}" if config.token else "no key"
    yield good("settings", f"gateway {config.url.value} ({config.url.origin}), {key}")


def of_project(folder: Path) -> Iterator[Check]:
    """``asya.yaml`` and ``actors/*.yaml`` of a folder, as `asya run` reads them; a folder without them is not looked at."""
    if not (folder / "actors").is_dir():
        yield skipped(
            "values", f"{folder if str(folder) != '.' else 'this folder'} has no actors/*.yaml", "name a project: asya doctor DIR"
        )
        return

    def look() -> Iterator[Check]:
        from asya_cli.run.project import load

        project = load([str(folder)])
        yield good(
            "values", f"{len(project.actors)} actors: {', '.join(list(project.actors)[:10])}{' …' if len(project.actors) > 10 else ''}"
        )

    if find_spec("jsonschema") is None:
        yield skipped("values", "jsonschema is not installed", "pip install 'asya[local]'")
        return
    yield from guarded("values", look)
