"""What the command says: marks and sentences on stderr, data on stdout.

Called by every command. Knows neither what is said nor why.
"""

import json
import os
import sys
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TextIO

from asya_core.wire.errors import AsyaError

__all__ = ["Format", "Mark", "Talk", "compact_json", "one_line", "pretty_json"]


class Format(StrEnum):
    """How data is written on stdout."""

    TEXT = "text"
    JSON = "json"


class Mark(StrEnum):
    """The mark at the head of a sentence."""

    DONE = "[+]"
    INFO = "[.]"
    WARNING = "[!]"
    ERROR = "[-]"


_COLOURS: Final = {Mark.DONE: "32", Mark.INFO: "2", Mark.WARNING: "33", Mark.ERROR: "31"}
_PREFIX_COLOURS: Final = ("36", "35", "34", "33", "32", "96", "95", "94")


@dataclass(slots=True, kw_only=True)
class Talk:
    """Speaks to the user. Lines of several threads do not mix.

    Attributes:
        format: how data is written.
        quiet: only warnings and errors.
        verbose: also what is normally left out.
        colour: use colours; None: if stderr is a terminal and NO_COLOR is not set.
        stream: where the talk goes; None: stderr as it is when something is said.
    """

    format: Format = Format.TEXT
    quiet: bool = False
    verbose: bool = False
    colour: bool | None = None
    stream: TextIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def done(self, text: str) -> None:
        """Something is finished."""
        if not self.quiet:
            self._say(Mark.DONE, text)

    def info(self, text: str) -> None:
        """Good to know."""
        if not self.quiet:
            self._say(Mark.INFO, text)

    def detail(self, text: str) -> None:
        """Good to know for those who asked for more."""
        if self.verbose and not self.quiet:
            self._say(Mark.INFO, text)

    def warning(self, text: str) -> None:
        """Not wrong, but perhaps not meant."""
        self._say(Mark.WARNING, text)

    def error(self, error: AsyaError) -> None:
        """What went wrong: one line, and a second one with the hint."""
        self._say(Mark.ERROR, one_line(error.message))
        if error.hint:
            self.line(f"    hint: {one_line(error.hint)}")

    def prefixed(self, prefix: str, width: int, text: str, *, ordinal: int = 0) -> None:
        """One line of a process, ``prefix | text``; `ordinal` picks the prefix's colour."""
        head = prefix.ljust(width)
        if self._coloured():
            head = f"\x1b[{_PREFIX_COLOURS[ordinal % len(_PREFIX_COLOURS)]}m{head}\x1b[0m"
        self.line(f"{head} | {text}")

    def line(self, text: str) -> None:
        """A bare line on stderr."""
        stream = self.stream or sys.stderr
        with self._lock:
            try:
                stream.write(text.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8") + "\n")
                stream.flush()
            except (BrokenPipeError, ValueError):
                self.quiet = True

    def data(self, text: str) -> None:
        """Data on stdout, as UTF-8 whatever the locale says."""
        with self._lock:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode() + b"\n")
            sys.stdout.buffer.flush()

    def _say(self, mark: Mark, text: str) -> None:
        head = f"\x1b[{_COLOURS[mark]}m{mark}\x1b[0m" if self._coloured() else str(mark)
        self.line(f"{head} {text}")

    def _coloured(self) -> bool:
        if self.colour is not None:
            return self.colour
        stream = self.stream or sys.stderr
        return not os.environ.get("NO_COLOR") and stream.isatty()


def one_line(text: str) -> str:
    """`text` with line breaks as spaces, so that one error is one line."""
    return " ".join(text.split("\n")).strip()


def pretty_json(value: Any) -> str:
    """`value` as JSON for people: indented by two, no ASCII escapes."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def compact_json(value: Any) -> str:
    """`value` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
