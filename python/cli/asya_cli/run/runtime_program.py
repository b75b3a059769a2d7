"""The runtime as a program without a compilation: a script has no cached bytecode, and its file is long. Called by `session`, `pair`.

One run compiles it once for all of its actors, 50 ms of CPU less for each. Knows the runtime's file, and nothing of actors.
"""

import marshal
import os
import sys
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from typing import Final

from asya_core.wire.errors import Bug

__all__ = ["RuntimeProgram"]

_SOURCE_FOLLOWS: Final = bytes(12)
"""Behind the magic number of a ``.pyc``: no flags, no time, no size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeProgram:
    """Where the runtime is.

    Attributes:
        file: its source.
        compiled: descriptor of its bytecode in memory, in the form in which the runtime itself starts its supervisor; None where there is
            no such memory (not Linux).
    """

    file: str
    compiled: int | None

    @classmethod
    def find(cls) -> "RuntimeProgram":
        """That which is installed beside this command. Raises Bug ``no_runtime``."""
        spec = find_spec("asya_runtime")
        if spec is None or spec.origin is None or not isinstance(spec.loader, InspectLoader):
            raise Bug("no_runtime", "The module asya_runtime is not installed beside asya_cli", "install asya again")
        if not hasattr(os, "memfd_create"):
            return cls(file=spec.origin, compiled=None)
        code = spec.loader.get_code("asya_runtime")
        descriptor = os.memfd_create("asya_runtime.pyc")
        with open(descriptor, "wb", closefd=False) as file:
            file.write(MAGIC_NUMBER + _SOURCE_FOLLOWS + marshal.dumps(code))
        return cls(file=spec.origin, compiled=descriptor)

    def command(self, python: Path | None, *, is_supervised: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The command line, and the descriptors that its process inherits.

        Args:
            python: another interpreter than this command's, which may not understand its bytecode.
            is_supervised: whether the runtime starts the handler in a process of its own; one that does not keeps its command line.
        """
        if python is None and is_supervised and self.compiled is not None:
            return (sys.executable, f"/proc/self/fd/{self.compiled}", self.file), (self.compiled,)
        return (str(python or sys.executable), self.file), ()

    def close(self) -> None:
        """Let go of the bytecode; runtimes that have started do not need it."""
        if self.compiled is not None:
            os.close(self.compiled)
