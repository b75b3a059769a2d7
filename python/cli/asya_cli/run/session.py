"""One run: its folders, its broker, its pairs, their end. Called by `one_shot` and `serve`; both decide what is done with it."""

import asyncio
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final

from asya_cli.errors import Interrupted
from asya_cli.run import control
from asya_cli.run.broker import Broker, EmbeddedBroker, RabbitBroker, SqsBroker
from asya_cli.run.pair import Listener, Pair, Place
from asya_cli.run.project import Actor, Project
from asya_cli.run.runtime_program import RuntimeProgram
from asya_core.transports.base import Mismatch
from asya_core.wire.errors import AsyaError, Refused, RemoteFault

__all__ = ["STATE", "RunOptions", "Session", "check_not_served", "empty_state", "served_namespace", "state_folder"]

STATE: Final = Path(".asya") / "run"


async def empty_state(project: Project) -> None:
    """Drop everything in ``.asya/run``. Raises Refused ``already_served`` while someone serves from there."""
    await check_not_served(project)
    shutil.rmtree(project.directory / STATE, ignore_errors=True)


async def check_not_served(project: Project) -> None:
    """Raise Refused ``already_served`` if a ``--serve`` of this project is up."""
    file = project.directory / STATE / control.STATE_FILE
    connection = await control.connect(file)
    if connection is not None:
        connection[1].close()
        pid = (control.read_state(file) or {}).get("pid")
        raise Refused("already_served", f"{project.directory} is served already by process {pid}", "stop that one, or use --attach")


def served_namespace(directory: Path) -> str:
    """The namespace of ``--serve`` of the project in `directory`, which is resolved. Always the same: its queues are found again."""
    return f"run-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line says about a run, beside its target and input.

    Attributes:
        transport: ``embedded``, ``rabbitmq`` or ``sqs``.
        broker_url: of the last two; None with ``sqs`` is AWS.
        grace_seconds: to finish calls after Ctrl-C.
        timeout_seconds: for one envelope.
        keep: leave queues, results and errors in ``.asya/run``.
        fresh: empty ``.asya/run`` first.
        trace: print the table of hops.
        only: actors whose lines are shown; empty: all.
        extra: variables for every handler.
        gateway_port: port of the gateway of ``--serve --gateway``, 0 for any free one; None: no gateway.
    """

    transport: str = "embedded"
    broker_url: str | None = None
    grace_seconds: float = 30.0
    timeout_seconds: float = 3600.0
    keep: bool = False
    fresh: bool = False
    trace: bool = False
    only: frozenset[str] = frozenset()
    extra: Mapping[str, str] = field(default_factory=dict)
    gateway_port: int | None = None


def state_folder(project: Project, *parts: str) -> Path:
    """``.asya/run/…`` of the project, made if missing, ignored by git. Raises RemoteFault ``bad_state``."""
    folder = project.directory.joinpath(STATE, *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = project.directory / STATE.parts[0] / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise RemoteFault(
            "bad_state", f"State folder {folder} cannot be made: {error.strerror}", "make the project's folder writable"
        ) from error
    return folder


class Session:
    """Async context: on leaving it every process is stopped, queues of a real broker are removed if empty, temporary folders are gone.

    Args:
        options: see `RunOptions`.
        namespace: of all queues; nobody else's.
        folder: where the queue file is kept; None: a temporary one.
        listener: hears the processes.
        comes_again: whether a later run has the same namespace.
        tell: hears the line on queues that stay since one cannot be sure that they are empty, or could not make them again at once.

    Attributes:
        is_at_rest: whether every envelope that was sent has ended; whoever sends says so.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        namespace: str,
        folder: Path | None,
        listener: Listener,
        comes_again: bool = False,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.options = options
        self.namespace = namespace
        self._folder = folder
        self._listener = listener
        self._comes_again = comes_again
        self._tell = tell
        self.is_at_rest = True
        self._declared: set[str] = set()
        self.pairs: dict[str, Pair] = {}
        self.interrupted = asyncio.Event()
        self._signal = signal.SIGINT

    async def __aenter__(self) -> "Session":
        # Unix sockets allow 107 bytes of path: not below the project's folder, which may be deep.
        self.directory = Path(tempfile.mkdtemp(prefix="asya-"))
        try:
            self.broker: Broker = self._make_broker()
            to_broker, runtime = self.broker.environment(), RuntimeProgram.find()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)  # a password may be there already
            raise
        read_end, self._write_end = os.pipe()
        self._place = Place(
            directory=self.directory,
            namespace=self.namespace,
            broker=to_broker,
            runtime=runtime,
            parent_fd=read_end,
            grace_seconds=self.options.grace_seconds,
            surroundings=os.environ,
            extra=self.options.extra,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.gather(*(pair.stop() for pair in self.pairs.values()))
        self._place.runtime.close()
        os.close(self._place.parent_fd)
        os.close(self._write_end)
        if self.broker.is_exact or (self.is_at_rest and not self._comes_again):
            with suppress(AsyaError):  # the run's own outcome matters more; what stays is in a namespace of its own
                await asyncio.to_thread(self.broker.remove, self.namespace, sorted(self._declared))
        elif self._declared:
            self._tell(self.broker.kept(self.namespace))
        await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    @property
    def place(self) -> Place:
        """What all processes of the run share."""
        return self._place

    def report_to(self, settings: Mapping[str, str]) -> None:
        """Let sidecars that start from now on report to the gateway that these settings name."""
        self._place = replace(self._place, broker={**self._place.broker, **settings})

    async def declare(self, actors: Iterable[str]) -> None:
        """Make the queues of `actors`. Raises Unavailable, Refused."""
        names = sorted(actors)
        self._declared |= set(names)
        try:
            await asyncio.to_thread(self.broker.declare, self.namespace, names)
        except Mismatch as mismatch:
            raise Refused("queue_mismatch", str(mismatch), "run with --fresh") from mismatch

    async def start(self, actors: Iterable[Actor]) -> None:
        """Start the pairs of `actors`."""
        for actor in actors:
            pair = Pair(actor, self._place, self._listener)
            self.pairs[pair.name] = pair
            await pair.start()

    async def stop_pair(self, name: str) -> None:
        """Let one pair finish and end."""
        pair = self.pairs.pop(name, None)
        if pair is not None:
            await pair.stop()

    def check_interrupted(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.interrupted.is_set():
            is_term = self._signal == signal.SIGTERM
            raise Interrupted("interrupted", f"Interrupted by {self._signal.name}", "calls that ran were finished", terminated=is_term)

    def _make_broker(self) -> Broker:
        if self.options.transport == "embedded":
            return EmbeddedBroker(path=(self._folder or self.directory) / "queues.db")
        if self.options.transport == "sqs":
            return SqsBroker(endpoint=self.options.broker_url, surroundings=os.environ)
        if self.options.broker_url is None:
            raise RemoteFault("usage", "--transport rabbitmq needs a broker", "give --broker-url amqp://user:password@host:port/vhost")
        return RabbitBroker(url=self.options.broker_url, password_file=self.directory / "broker-password")

    def _on_signal(self, number: signal.Signals) -> None:
        if self.interrupted.is_set():
            for pair in self.pairs.values():
                pair.kill()
        self._signal = number
        self.interrupted.set()
