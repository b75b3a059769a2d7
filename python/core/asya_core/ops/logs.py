"""Logs: JSON lines on standard error, one event per line, with keys bound to the logger.

Called by every process. A line is ``{"ts", "level", "event", …bound keys, …keys}``; the event is constant text, what varies is in keys.
Never logged: payloads, tokens, URLs with credentials (the caller's duty; nothing here looks into values).

Inside a running loop, lines gather and are written together at the end of the tick: a write per line would cost more than the line
(≤ 8 µs each, docs/reference/sidecar.md). A line that cannot be written (full disk, closed pipe) is dropped and counted, never an error.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

__all__ = ["Level", "LineWriter", "Log", "StandardLogs"]

_MAX_GATHERED_BYTES: Final = 262_144
"""Written at once when so much has gathered, end of the tick or not: bounds memory."""


class Level(IntEnum):
    """How much a line matters; values as in `logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class LineWriter:
    """Gathers lines and writes them to a file descriptor.

    Args:
        descriptor: where to; standard error by default.
        clock: wall clock in seconds.
    """

    def __init__(self, descriptor: int = 2, clock: Callable[[], float] = time.time) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._lines: list[bytes] = []
        self._bytes = 0
        self._second = -1
        self._second_text = ""
        self.dropped = 0
        """Lines that could not be written so far."""

    def timestamp(self) -> str:
        """Now, as ``2026-01-01T00:00:00.123Z``."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"

    def add(self, line: bytes) -> None:
        """Write `line`, which has no newline yet: at the end of the loop's tick, or at once outside a loop."""
        if not self._lines:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self._write([line, b""])
                return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > _MAX_GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        lines, self._lines, self._bytes = self._lines, [], 0
        if lines:
            lines.append(b"")
            self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        data = memoryview(b"\n".join(lines))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # full disk, closed pipe: the process goes on without its log
            self.dropped += len(lines) - 1


_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class Log:
    """Writes events with bound keys.

    Args:
        writer: where lines go; shared by all loggers of a process.
        level: lines below it are not written.
        bound: keys of every line, JSON values.
    """

    def __init__(self, writer: LineWriter, level: Level = Level.INFO, bound: Mapping[str, Any] | None = None) -> None:
        self._writer = writer
        self._level = level
        self._bound = dict(bound or {})

    def bind(self, **keys: Any) -> "Log":
        """A logger with more bound keys."""
        return Log(self._writer, self._level, {**self._bound, **keys})

    def is_enabled(self, level: Level) -> bool:
        """Whether lines of `level` are written."""
        return level >= self._level

    def debug(self, event: str, **keys: Any) -> None:
        """A line for those who look for a fault."""
        if self._level <= Level.DEBUG:
            self.line("debug", event, keys)

    def info(self, event: str, **keys: Any) -> None:
        """A line about a change that is worth knowing."""
        if self._level <= Level.INFO:
            self.line("info", event, keys)

    def warning(self, event: str, **keys: Any) -> None:
        """A line about something that may need a person."""
        if self._level <= Level.WARNING:
            self.line("warning", event, keys)

    def error(self, event: str, **keys: Any) -> None:
        """A line about something that was given up."""
        self.line("error", event, keys)

    def line(self, level: str, event: str, keys: Mapping[str, Any]) -> None:
        """Write one line whatever the level. `keys` are JSON values; others are shown as their text, unpaired surrogates replaced."""
        fields = {"ts": self._writer.timestamp(), "level": level, "event": event, **self._bound, **keys}
        try:
            line = _encode(fields)
        except (UnicodeEncodeError, TypeError):
            line = _encode({str(key): _printable(value) for key, value in fields.items()})
        self._writer.add(line)


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


class StandardLogs(logging.Handler):
    """Sends what libraries log by `logging` through a `Log`: event ``log``, keys ``logger`` and ``message``.

    Args:
        log: where to.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; called by `logging`."""
        keys = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            keys["exception"] = logging.Formatter().formatException(record.exc_info)
        name = "error" if record.levelno >= Level.ERROR else "warning" if record.levelno >= Level.WARNING else "info"
        if self._log.is_enabled(Level(min(max(record.levelno // 10 * 10, 10), 40))):
            self._log.line(name, "log", keys)
