"""The runtime's command line, such that it starts in half the time: its file is compiled once per test process. Called by harnesses.

What is started so is the process that the runtime itself restarts as. The runtime's own tests start its file.
"""

import functools
from collections.abc import Mapping

from asya_cli.run.runtime_program import RuntimeProgram

__all__ = ["runtime_command"]


@functools.cache
def _program() -> RuntimeProgram:
    return RuntimeProgram.find()


def runtime_command(settings: Mapping[str, str]) -> tuple[list[str], tuple[int, ...]]:
    """The command line of a runtime that gets these settings, and the descriptors that it inherits."""
    command, inherited = _program().command(None, is_supervised=settings.get("ASYA_SUPERVISE") != "0")
    return list(command), inherited
