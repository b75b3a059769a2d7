"""The two processes of one actor, runtime and sidecar, as they are in its pod. Called by `session`.

Tells a listener what it sees; decides nothing about the run.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from asya_cli.run.child import Child
from asya_cli.run.environment import basic_environment, runtime_environment, sidecar_environment
from asya_cli.run.hops import Hop, hop_of
from asya_cli.run.project import Actor
from asya_cli.run.runtime_program import RuntimeProgram
from asya_core.wire.errors import Bug

__all__ = ["Listener", "Pair", "Place", "Refusal"]

RUNTIME_PREFIX: Final = "asya-runtime: "
EXIT_REFUSED: Final = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What all actors of a run share.

    Attributes:
        directory: a short path of the run's own; sockets are below it.
        namespace: of all queues.
        broker: settings of a sidecar that reach the broker.
        runtime: what a runtime's process runs.
        parent_fd: read end of a pipe whose other end this command holds: its end of file ends every process.
        grace_seconds: time to finish calls on Ctrl-C.
        surroundings: the environment of this command.
        extra: variables given to every handler by ``--env``.
    """

    directory: Path
    namespace: str
    broker: Mapping[str, str]
    runtime: RuntimeProgram
    parent_fd: int
    grace_seconds: float
    surroundings: Mapping[str, str]
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A runtime that did not start.

    Attributes:
        message: the sentence that the runtime ends with.
        hint: its remedy.
        traceback: lines of stderr above it, the user's traceback if there is one.
        code: exit code.
    """

    message: str
    hint: str
    traceback: tuple[str, ...]
    code: int


class Listener(Protocol):
    """Hears what a pair's processes do; called in the loop's thread."""

    def runtime_line(self, actor: str, text: str) -> None:
        """The handler, or the runtime, wrote a line."""
        ...

    def sidecar_line(self, actor: str, line: Mapping[str, Any] | str) -> None:
        """The sidecar logged an event, or wrote something that is no JSON."""
        ...

    def ready(self, actor: str) -> None:
        """The handler is loaded and the sidecar knows."""
        ...

    def hop(self, hop: Hop) -> None:
        """A delivery was settled."""
        ...

    def refused(self, actor: str, refusal: Refusal) -> None:
        """The runtime ended before its handler was loaded."""
        ...

    def died(self, actor: str, part: str, code: int, last_line: str) -> None:
        """A process ended that should not have."""
        ...


class Pair:
    """Runtime and sidecar of one actor.

    Args:
        actor: what to run.
        place: where.
        listener: who is told.
    """

    def __init__(self, actor: Actor, place: Place, listener: Listener) -> None:
        self.actor = actor
        self.name = actor.spec.name
        self._place = place
        self._listener = listener
        self._folder = place.directory / self.name
        self._runtime: Child | None = None
        self._sidecar: Child | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._restarting = False
        self._withheld: list[str] = []
        self.is_ready = False

    async def start(self) -> None:
        """Start both. Raises RemoteFault ``variable_missing``, Bug if a process cannot be started."""
        self._folder.mkdir(mode=0o770, exist_ok=True)
        self._write_source()
        await self.start_runtime()
        await self._start_sidecar()

    async def start_runtime(self) -> None:
        """Start the runtime alone."""
        place, spec = self._place, self.actor.spec
        environment = basic_environment(place.surroundings) | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | dict(place.extra)
        environment |= runtime_environment(spec, place.surroundings)
        environment |= {"ASYA_SOCKET": str(self._folder / "runtime.sock"), "ASYA_PARENT_FD": str(place.parent_fd)}
        if spec.files:
            environment["ASYA_SOURCE_PATH"] = str(self._folder / "source")
        is_supervised = "ASYA_SUPERVISE" not in environment  # given by --env
        command, inherited = place.runtime.command(self.actor.python, is_supervised=is_supervised)
        self._withheld = []
        self._runtime = await self._child(command, environment, self.actor.root, inherited=inherited, on_line=self._on_runtime_line)
        self._watch(self._runtime, "runtime")

    async def restart_runtime(self) -> None:
        """Let the runtime finish its call and end, then start a new one. Its sidecar waits for it."""
        self._write_source()
        self._restarting = True
        try:
            if self._runtime is not None:
                await _end(self._runtime, self._place.grace_seconds)
            self.is_ready = False
            await self.start_runtime()
        finally:
            self._restarting = False

    async def start_sidecar(self) -> None:
        """Start the sidecar again after it died."""
        await self._start_sidecar()

    async def stop(self) -> None:
        """Finish what runs, within the grace period; then end both."""
        self._is_stopping = True
        await asyncio.gather(*(_end(child, self._place.grace_seconds) for child in (self._runtime, self._sidecar) if child is not None))
        await asyncio.gather(*self._watchers, return_exceptions=True)

    def kill(self) -> None:
        """End both at once."""
        self._is_stopping = True
        for child in (self._runtime, self._sidecar):
            if child is not None:
                child.kill()

    async def _start_sidecar(self) -> None:
        place = self._place
        environment = basic_environment(place.surroundings) | sidecar_environment(self.actor.spec, place.surroundings) | dict(place.broker)
        environment |= {
            "ASYA_NAMESPACE": place.namespace,
            "ASYA_SOCKET": str(self._folder / "runtime.sock"),
            "ASYA_HEALTH_LISTEN": "off",
            "ASYA_GRACE": f"{place.grace_seconds + 5:.0f}s",
            "ASYA_PARENT_FD": str(place.parent_fd),
        }
        # -P: a file of the project named like a module of ours is not imported instead of it.
        self._sidecar = await self._child(
            (sys.executable, "-P", "-m", "asya_sidecar"), environment, self._folder, on_line=self._on_sidecar_line
        )
        self._watch(self._sidecar, "sidecar")

    async def _child(
        self, command: tuple[str, ...], environment: dict[str, str], directory: Path, *, inherited: tuple[int, ...] = (), on_line: Any
    ) -> Child:
        inherited = (self._place.parent_fd, *inherited)
        try:
            return await Child.start(command, environment=environment, directory=directory, inherited=inherited, on_line=on_line)
        except OSError as error:
            raise Bug("not_started", f"{command[0]} cannot be started: {error.strerror}", "check run.python of asya.yaml") from error

    def _write_source(self) -> None:
        for path, text in self.actor.spec.files.items():
            file = self._folder / "source" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def _watch(self, child: Child, part: str) -> None:
        task = asyncio.create_task(self._until_end(child, part))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _until_end(self, child: Child, part: str) -> None:
        code = await child.wait()
        if part == "runtime":
            if code in (0, None) or self._restarting or self._is_stopping:
                self._flush_withheld()
            if self._is_stopping or self._restarting:
                return
            if not self.is_ready:
                self._listener.refused(self.name, refusal_of(list(child.tail), code))
                return
            self.is_ready = False
        elif self._is_stopping:
            return
        self._flush_withheld()
        self._listener.died(self.name, part, code, child.tail[-1] if child.tail else "")

    def _on_runtime_line(self, line: str, is_stderr: bool) -> None:
        if is_stderr and not self.is_ready and line.startswith(RUNTIME_PREFIX):
            self._withheld.append(line)  # shown as an error of ours if it is the reason of a refusal
        else:
            self._listener.runtime_line(self.name, line)

    def _flush_withheld(self) -> None:
        withheld, self._withheld = self._withheld, []
        for line in withheld:
            self._listener.runtime_line(self.name, line.removeprefix(RUNTIME_PREFIX))

    def _on_sidecar_line(self, text: str, is_stderr: bool) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or "event" not in line:
            self._listener.sidecar_line(self.name, text)
            return
        if line["event"] == "runtime ready":
            self.is_ready = True
            self._flush_withheld()
            self._listener.ready(self.name)
        if line["event"] == "runtime left" and (self._is_stopping or self._restarting):
            return  # as it should be
        if line["event"] == "delivery":
            self._listener.hop(hop_of(line))
        self._listener.sidecar_line(self.name, line)


def refusal_of(lines: list[str], code: int) -> Refusal:
    """The refusal that a runtime's last lines of stderr tell."""
    last = next((index for index in range(len(lines) - 1, -1, -1) if lines[index].startswith(RUNTIME_PREFIX)), None)
    if last is None or code != EXIT_REFUSED:
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return Refusal(
            message=f"the process {how} while it loaded the handler", hint="see its lines above", traceback=tuple(lines), code=code
        )
    sentence = lines[last].removeprefix(RUNTIME_PREFIX)
    message, _, hint = sentence.rpartition("; ")
    return Refusal(message=message or sentence, hint=hint if message else "", traceback=tuple(lines[:last]), code=code)


async def _end(child: Child, grace_seconds: float) -> None:
    child.terminate()
    try:
        async with asyncio.timeout(grace_seconds + 5):
            await asyncio.shield(asyncio.ensure_future(child.wait()))
    except TimeoutError:
        child.kill()
        await child.wait()
