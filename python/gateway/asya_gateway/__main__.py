"""``python -m asya_gateway [run|migrate] [--print-settings]``: reads the settings, serves.

``migrate`` brings the store's schema up to this version and ends; SQLite does that at each start.

Exit codes: 0 stopped or migrated, 2 wrong arguments, 69 the store cannot be reached now, 70 a broken invariant of ours, 78 refused
settings, tools or keys (one line on standard error).
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from asya_core.ops.logs import Level, LineWriter, Log, StandardLogs
from asya_core.ops.settings import EXIT_REFUSED_SETTINGS, print_settings
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable
from asya_gateway.app import Gateway, make_store
from asya_gateway.settings import GatewaySettings, read_gateway_settings

__all__ = ["main"]

_EXIT_USAGE = 2
_EXIT_UNAVAILABLE = 69
_EXIT_BUG = 70
_USAGE = "usage: python -m asya_gateway [run|migrate] [--print-settings]\nAll settings are environment variables ASYA_…\n"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the process; gives its exit code."""
    words = list(arguments)
    verb = words.pop(0) if words and not words[0].startswith("-") else "run"
    if verb not in ("run", "migrate") or words not in ([], ["--print-settings"]):
        sys.stderr.write(_USAGE)
        return _EXIT_USAGE
    try:
        settings = read_gateway_settings(environment)
        if words:
            sys.stdout.write(print_settings(settings, environment))
            return 0
        return _run(settings, verb)
    except AsyaError as error:
        sys.stderr.write(f"asya-gateway: {error}\n")
        match error:
            case RemoteFault() | Refused():
                return EXIT_REFUSED_SETTINGS
            case Unavailable():
                return _EXIT_UNAVAILABLE
            case _:
                return _EXIT_BUG


def _run(settings: GatewaySettings, verb: str) -> int:
    writer = LineWriter()
    level = Level[settings.log_level.upper()]
    log = Log(writer, level)
    logging.basicConfig(handlers=[StandardLogs(log)], level=max(level, Level.WARNING), force=True)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_migrate(settings, log) if verb == "migrate" else Gateway(settings, log).run())
    finally:
        writer.flush()


async def _migrate(settings: GatewaySettings, log: Log) -> int:
    store = make_store(settings, migrating=True)
    await store.open()
    await store.close()
    log.info("migrated", store=settings.store)
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
