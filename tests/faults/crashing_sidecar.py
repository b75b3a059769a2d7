"""A sidecar that kills itself at a chosen point: ``CRASH_AT=WHEN:EFFECT:N``. The product has no such switch.

WHEN is ``before`` or ``after`` the N-th performing of that effect in this process (bytes may still be in buffers), or ``soon``: 3 ms later,
when the bytes have most likely left.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from asya_core.ops.logs import Level, LineWriter, Log
from asya_sidecar.app import Sidecar
from asya_sidecar.effects import Effect
from asya_sidecar.settings import read_sidecar_settings

Perform = Callable[[list[Effect]], None]


def die() -> None:
    """As hard as can be."""
    os.kill(os.getpid(), signal.SIGKILL)


def crashing(point: str) -> Callable[[Perform], Perform]:
    """What wraps the performing of effects."""
    when, effect_name, number = point.split(":")
    left = int(number)

    def wrap(perform: Perform) -> Perform:
        def performing(effects: list[Effect]) -> None:
            nonlocal left
            for effect in effects:
                hit = False
                if type(effect).__name__ == effect_name:
                    left -= 1
                    hit = left == 0
                if hit and when == "before":
                    die()
                perform([effect])
                if hit and when == "after":
                    die()
                if hit and when == "soon":
                    asyncio.get_running_loop().call_later(0.003, die)

        return performing

    return wrap


def main() -> int:
    """As `asya_sidecar.__main__`, with the crash point."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("ASYA_")}
    settings = read_sidecar_settings(environment)
    log = Log(LineWriter(), Level.INFO, {"actor": settings.actor})
    return asyncio.run(Sidecar(settings, log, wrap=crashing(os.environ["CRASH_AT"])).run())


if __name__ == "__main__":
    sys.exit(main())
