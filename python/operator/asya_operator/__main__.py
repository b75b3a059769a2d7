"""``python -m asya_operator run | check | settings``: reads the settings, runs the operator or the checks of ``helm test``, exits.

Exit codes: 0 stopped, or all checks passed; 1 leadership lost, or a check failed; 2 wrong arguments; 70 a broken invariant of ours (the
log has it); 78 refused settings (one line on standard error).
"""

import asyncio
import logging
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from asya_core.ops.clock import SystemClock
from asya_core.ops.logs import Level, LineWriter, Log, StandardLogs
from asya_core.ops.settings import EXIT_REFUSED_SETTINGS, print_settings, read_settings
from asya_core.wire.errors import RemoteFault
from asya_operator.app import LostLeadership, Operator
from asya_operator.check import run_checks
from asya_operator.settings import OperatorSettings, ProcessSettings, parse_settings

__all__ = ["main"]

_EXIT_USAGE = 2


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the process; gives its exit code."""
    command = arguments[0] if len(arguments) == 1 else ""
    if command not in ("run", "check", "settings"):
        sys.stderr.write(
            "usage: python -m asya_operator run | check | settings\nSettings: environment variables ASYA_OPERATOR_… and a YAML file\n"
        )
        return _EXIT_USAGE
    try:
        process = read_settings(ProcessSettings, environment)
        if command == "settings":
            sys.stdout.write(print_settings(process, environment))
            return 0
        settings = read_file(process.settings_file)
        if command == "check":
            return asyncio.run(run_checks(process, settings, sys.stdout.write))
        return _run(process, settings)
    except RemoteFault as fault:
        sys.stderr.write(f"asya-operator: {fault}\n")
        return EXIT_REFUSED_SETTINGS


def read_file(file: Path) -> OperatorSettings:
    """The settings in a YAML file. Raises RemoteFault ``bad_setting``."""
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RemoteFault(
            "bad_setting", f"Settings file {file} cannot be read: {str(error).splitlines()[0]}", "mount it, or set ASYA_OPERATOR_SETTINGS"
        ) from error
    return parse_settings(raw)


def _run(process: ProcessSettings, settings: OperatorSettings) -> int:
    try:
        runtime = process.runtime_file.read_bytes()
    except OSError as error:
        raise RemoteFault(
            "bad_setting",
            f"Runtime file {process.runtime_file} cannot be read: {error.strerror}",
            "mount it, or set ASYA_OPERATOR_RUNTIME_FILE",
        ) from error
    writer = LineWriter()
    level = Level[settings.log_level.upper()]
    log = Log(writer, level, {})
    logging.basicConfig(handlers=[StandardLogs(log)], level=max(level, Level.WARNING), force=True)
    # Two processes of one pod's name must not be taken for one: a container that was restarted is another.
    identity = f"{process.pod or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    try:
        asyncio.run(Operator(process, settings, runtime=runtime, clock=SystemClock(), log=log, identity=identity).run())
        return 0
    except LostLeadership:
        return 1
    finally:
        writer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
