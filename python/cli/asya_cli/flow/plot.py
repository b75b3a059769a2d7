"""``flow.png`` from ``flow.dot`` by Graphviz's ``dot``. Called by `asya_cli.commands.flow`. Knows no flow."""

import shutil
import subprocess
from typing import Final

__all__ = ["PlotFailed", "png_of"]

_SECONDS: Final = 120


class PlotFailed(Exception):
    """No picture could be made; the text is one sentence with what to do."""


def png_of(dot_text: str) -> bytes:
    """The picture. Raises PlotFailed if ``dot`` is missing, fails or takes longer than two minutes."""
    program = shutil.which("dot")
    if program is None:
        raise PlotFailed("no flow.png: Graphviz's dot is not on the PATH; install the package graphviz")
    try:
        done = subprocess.run([program, "-Tpng"], input=dot_text.encode(), capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PlotFailed(f"no flow.png: dot took longer than {_SECONDS} s; draw flow.dot with another tool") from None
    except OSError as error:
        raise PlotFailed(f"no flow.png: {program} cannot be started: {error.strerror}; install the package graphviz") from error
    if done.returncode != 0 or not done.stdout.startswith(b"\x89PNG"):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PlotFailed(f"no flow.png: dot failed with exit code {done.returncode}: {said[0] if said else 'without a word'}")
    return done.stdout
