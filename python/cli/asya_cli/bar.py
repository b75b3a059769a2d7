"""The bar of a call: 16 cells on a terminal, one finished line elsewhere. Called by `asya_cli.commands.mcp`; the only rich beside tables.

::

    Processing: 100% |████████████████| , succeeded
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

__all__ = ["Bar", "line", "shown_bar"]

_CELLS: Final = 16
_FULL: Final = "█"
_PARTS: Final = " ▏▎▍▌▋▊▉"


def line(percent: float, status: str) -> str:
    """The bar as text.

    Args:
        percent: 0 to 100.
        status: the word at the end.
    """
    eighths = int(max(0.0, min(100.0, percent)) / 100 * _CELLS * 8)
    whole, part = divmod(eighths, 8)
    cells = _FULL * whole + (_PARTS[part] if part else "")
    return f"Processing: {percent:3.0f}% |{cells.ljust(_CELLS)}| , {status}"


class Bar(Protocol):
    """What a call tells of its progress."""

    def move(self, percent: float, status: str) -> None:
        """Now so far, and so it stands."""
        ...


class _Silent:
    """Remembers the last line, for those who read a log: it is written once, at the end."""

    def __init__(self) -> None:
        self.last = line(0, "pending")

    def move(self, percent: float, status: str) -> None:
        """See `Bar.move`."""
        self.last = line(percent, status)


@contextmanager
def shown_bar(*, quiet: bool, colour: bool | None) -> Iterator[Bar]:
    """A bar on stderr while inside; without a terminal only its last state is written, without control characters."""
    if quiet or not sys.stderr.isatty():
        bar = _Silent()
        try:
            yield bar
        finally:
            if not quiet:
                sys.stderr.write(bar.last + "\n")
                sys.stderr.flush()
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Column(ProgressColumn):
        """Draws exactly `line`."""

        max_refresh = None

        def render(self, task: Task) -> Text:
            return Text(line(task.completed, str(task.fields["status"])), no_wrap=True)

    console = Console(file=sys.stderr, no_color=colour is False, highlight=False)
    with Progress(Column(), console=console, refresh_per_second=10) as progress:
        task = progress.add_task("", total=100, status="pending")

        class Drawn:
            """The bar on the terminal."""

            def move(self, percent: float, status: str) -> None:
                """See `Bar.move`."""
                progress.update(task, completed=percent, status=status)

        yield Drawn()
