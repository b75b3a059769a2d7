"""What one run hears from its processes, and what it waits for. Called by `one_shot` and `serve`; starts and ends nothing."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from asya_cli.errors import Failed
from asya_cli.output import Talk
from asya_cli.run.hops import Hop, hop_line
from asya_cli.run.lines import Lines
from asya_cli.run.pair import Refusal
from asya_core.wire.errors import AsyaError, Bug, RemoteFault

__all__ = ["Watch", "fault_of", "show_traceback"]


class Watch:
    """Hears the processes, keeps what the report needs, and wakes the run when something decides it."""

    def __init__(self, talk: Talk, lines: Lines, awaited: set[str], *, tells_hops: bool) -> None:
        self.talk = talk
        self.lines = lines
        self.awaited = set(awaited)
        self.hops: list[Hop] = []
        self.fault: AsyaError | None = None
        self.changed = asyncio.Event()
        self._tells_hops = tells_hops

    def runtime_line(self, actor: str, text: str) -> None:
        self.lines.handler(actor, text)

    def sidecar_line(self, actor: str, line: Mapping[str, Any] | str) -> None:
        if isinstance(line, str) or line["event"] != "delivery":
            self.lines.sidecar(actor, line)

    def ready(self, actor: str) -> None:
        self.talk.detail(f"{actor} is ready")
        self.awaited.discard(actor)
        self.changed.set()

    def hop(self, hop: Hop) -> None:
        self.hops.append(hop)
        if self._tells_hops:
            self.talk.info(hop_line(hop))

    def refused(self, actor: str, refusal: Refusal) -> None:
        if self.fault is None:
            show_traceback(self.talk, self.lines, actor, "\n".join(refusal.traceback))
            self.fault = fault_of(actor, refusal)
        self.changed.set()

    def died(self, actor: str, part: str, code: int, last_line: str) -> None:
        if self.fault is None:
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            message = f"The {part} of {actor} ended unexpectedly ({how})"
            if part == "runtime":
                self.fault = Failed("process_died", message, "look for its last lines above; a signal 9 may mean that memory is short")
            else:
                self.fault = Bug("process_died", message, "its last lines are above; please report it")
        self.changed.set()

    async def until(self, is_true: Callable[[], bool], *, interrupted: asyncio.Event, deadline: float) -> None:
        """Wait until `is_true`, looked at now and after each change, or until `interrupted`.

        What came before the call counts. Raises the fault of a process, TimeoutError at `deadline` (of `time.monotonic`).
        """
        signalled = asyncio.create_task(interrupted.wait())
        try:
            while True:
                self.changed.clear()  # before looking: else what came in between wakes nobody
                if is_true() or interrupted.is_set():
                    return
                if self.fault is not None:
                    raise self.fault
                changed = asyncio.create_task(self.changed.wait())
                seconds = max(0.0, deadline - time.monotonic())
                done, _ = await asyncio.wait({signalled, changed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if not done:
                    raise TimeoutError
        finally:
            signalled.cancel()


def fault_of(actor: str, refusal: Refusal) -> RemoteFault:
    """The error for a runtime that did not start."""
    return RemoteFault("handler_refused", f"Actor {actor}: {refusal.message}", refusal.hint or "correct the handler or its values file")


def show_traceback(talk: Talk, lines: Lines | None, actor: str, text: str) -> None:
    """Print `text` on stderr, unless its lines were shown as they came."""
    if text.strip() and not (lines is not None and lines.has_shown(actor, text)):
        talk.line(text.rstrip())
