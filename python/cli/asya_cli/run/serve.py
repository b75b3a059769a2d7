"""``asya run TARGET --serve``: actors stay up, restart when their files change, and drain on Ctrl-C. Called by the command."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from asya_cli.output import Talk
from asya_cli.run import control
from asya_cli.run.gateway import LocalGateway
from asya_cli.run.gather import Ended, Gathering
from asya_cli.run.hops import Hop
from asya_cli.run.lines import Lines
from asya_cli.run.one_shot import failure_of, store_ended
from asya_cli.run.pair import Refusal
from asya_cli.run.post import Post
from asya_cli.run.project import Project
from asya_cli.run.reload import Reloader
from asya_cli.run.session import RunOptions, Session, check_not_served, empty_state, served_namespace, state_folder
from asya_cli.run.watch import fault_of
from asya_core.wire.errors import AsyaError
from asya_core.wire.names import is_end_actor

__all__ = ["serve"]

_LAST_HOP_SECONDS: Final = 1.0
"""The line of the last hop is written a moment after its envelope is there."""


_LAST_REPORTS_SECONDS: Final = 5.0
"""How long final reports may take to reach the gateway at the end."""


class Server:
    """What is up: pairs, post and those who attached. Hears the processes."""

    def __init__(self, project: Project, options: RunOptions, *, talk: Talk, folder: Path) -> None:
        self.project = project
        self.talk = talk
        self.options = options
        self.folder = folder
        self.lines = Lines(talk, list(project.actors), only=options.only, least="info")
        self.session: Session | None = None
        self.post: Post | None = None
        self.gateway: LocalGateway | None = None
        self._deaths: dict[str, int] = {}
        self._followers: dict[str, _Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited: set[str] | None = set(project.actors)

    # ------------------------------------------------------------------------------------------------------------ listener

    def runtime_line(self, actor: str, text: str) -> None:
        self.lines.handler(actor, text)

    def sidecar_line(self, actor: str, line: Mapping[str, Any] | str) -> None:
        self.lines.sidecar(actor, line)

    def ready(self, actor: str) -> None:
        self.talk.done(f"{actor} is ready")
        self._settled(actor)

    def hop(self, hop: Hop) -> None:
        for follower in self._followers.values():
            follower.hop(hop)

    def refused(self, actor: str, refusal: Refusal) -> None:
        self.talk.error(fault_of(actor, refusal))
        self.talk.warning(f"{actor} waits for its file to change; messages wait in its queue")
        self._settled(actor)

    def died(self, actor: str, part: str, code: int, last_line: str) -> None:
        count = self._deaths[f"{actor} {part}"] = self._deaths.get(f"{actor} {part}", 0) + 1
        delay = 0.0 if count == 1 else min(30.0, 2.0 ** (count - 2))
        self.talk.warning(
            f"The {part} of {actor} ended unexpectedly (exit code {code}); starting another" + (f" in {delay:g} s" if delay else "")
        )
        self.spawn(self._start_again(actor, part, delay))

    # ------------------------------------------------------------------------------------------------------------ envelopes

    def ended(self, ended: Ended, whole: Mapping[str, Any]) -> None:
        """An envelope is in an end queue."""
        store_ended(self.folder, ended, whole)
        if self.gateway is not None:
            self.gateway.report(whole)
        if ended.error is None:
            self.talk.done(f"{ended.id} succeeded")
        else:
            self.talk.error(failure_of([ended], 1))  # the runtime has printed the traceback
        for follower in list(self._followers.values()):
            follower.ended(ended)

    async def attached(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one ``--attach``."""
        follower: _Follower | None = None
        try:
            envelope = json.loads(await reader.readline())["envelope"]
            follower = self._followers[envelope["id"]] = _Follower(envelope["id"], writer)
            assert self.post is not None
            await self.post.send(envelope)
            gone: asyncio.Future[Any] = asyncio.ensure_future(reader.read())
            await asyncio.wait([gone, follower.complete], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if follower.complete.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_HOP_SECONDS):
                        await follower.heard.wait()
                writer.write(control.line_of({"ended": list(follower.gathering.ended.values())}))
                await writer.drain()
        except AsyaError as error:
            writer.write(control.fault_line(error))
        except (ValueError, KeyError, TypeError, OSError):
            pass  # one who does not speak our language, or left
        finally:
            if follower is not None:
                self._followers.pop(follower.gathering.root, None)
            writer.close()

    def spawn(self, work: Any) -> None:
        """Run `work` beside the rest; it is cancelled at the end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what runs beside."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _settled(self, actor: str) -> None:
        if self._awaited is not None:
            self._awaited.discard(actor)
            if not self._awaited:
                self._awaited = None
                self.talk.done(f"Serving {', '.join(self.project.actors)}; send with --attach --input, stop with Ctrl-C")
                if self.gateway is not None:
                    self.talk.done(f"Gateway at {self.gateway.url}, MCP at {self.gateway.url}/mcp; try: asya mcp list")

    async def _start_again(self, actor: str, part: str, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        pair = self.session.pairs.get(actor) if self.session is not None else None
        if pair is not None:
            await (pair.start_runtime() if part == "runtime" else pair.start_sidecar())


class _Follower:
    """One who attached, and the envelope that is followed."""

    def __init__(self, root: str, writer: asyncio.StreamWriter) -> None:
        self.gathering = Gathering(root)
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = asyncio.Event()
        self._last_hops: set[str] = set()
        self._writer = writer

    def hop(self, hop: Hop) -> None:
        if hop.envelope_id == self.gathering.root or hop.envelope_id.startswith(self.gathering.root + "."):
            self._writer.write(control.line_of({"hop": hop}))
            if any(is_end_actor(name) for name in hop.next):
                self._last_hops.add(hop.envelope_id)
            self._check()

    def ended(self, ended: Ended) -> None:
        if self.gathering.takes(ended) and self.gathering.is_complete and not self.complete.done():
            self.complete.set_result(None)
        self._check()

    def _check(self) -> None:
        if self.complete.done() and all(self._last_hops & {each.id, each.parent_id} for each in self.gathering.ended.values()):
            self.heard.set()


async def serve(load: Callable[[], Project], *, options: RunOptions, talk: Talk) -> None:
    """Keep the actors of the project up until a signal comes. Raises Refused ``already_served``, Unavailable, RemoteFault."""
    project = load()
    await (empty_state(project) if options.fresh else check_not_served(project))
    folder = state_folder(project)
    state_file = folder / control.STATE_FILE
    server = Server(project, options, talk=talk, folder=folder)
    namespace = served_namespace(project.directory)
    async with Session(options, namespace=namespace, folder=folder, listener=server, comes_again=True, tell=talk.info) as session:
        server.session = session
        server.post = post = Post(session.broker, namespace, server.ended)
        reloader = Reloader(lambda: _renewed(load, server), server.project, session, talk)
        door: asyncio.AbstractServer | None = None
        try:
            await session.declare(project.actors)
            await post.open()
            if options.gateway_port is not None:
                server.gateway = await _gateway(project, options.gateway_port, session, folder=folder, talk=talk)
            socket = session.directory / "control.sock"
            door = await asyncio.start_unix_server(server.attached, socket, limit=control.MAX_LINE_BYTES)
            state_file.write_text(json.dumps({"pid": os.getpid(), "socket": str(socket)}) + "\n", encoding="utf-8")
            server.spawn(reloader.run())
            await session.start(project.actors.values())
            await session.interrupted.wait()
            talk.info("Draining; Ctrl-C again ends at once")
        finally:
            state_file.unlink(missing_ok=True)
            if door is not None:
                door.close()
            await server.stop()
            await asyncio.gather(*(pair.stop() for pair in session.pairs.values()))
            if server.gateway is not None:
                await server.gateway.drain(_LAST_REPORTS_SECONDS)
            await post.close()
            if server.gateway is not None:
                await server.gateway.stop()
    talk.done("Stopped")


async def _gateway(project: Project, port: int, session: Session, *, folder: Path, talk: Talk) -> LocalGateway:
    gateway = LocalGateway(folder, session.directory, port=port, talk=talk)
    place = session.place
    await gateway.start(project, namespace=session.namespace, broker=place.broker, parent_fd=place.parent_fd)
    session.report_to(gateway.environment())
    return gateway


def _renewed(load: Callable[[], Project], server: Server) -> Project:
    project = load()
    if server.gateway is not None:
        server.gateway.write_tools(project)
    return project
