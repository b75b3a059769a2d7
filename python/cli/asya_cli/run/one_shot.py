"""``asya run TARGET --input …``: one envelope from the first actor to an end queue, and what became of it.

Called by `asya_cli.commands.run`. The processes live as long as the envelope.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asya_cli.errors import Failed, TimedOut
from asya_cli.output import Format, Talk, compact_json, pretty_json
from asya_cli.run.gather import Ended, Gathering
from asya_cli.run.hops import Hop, hop_line, in_order, trace_table
from asya_cli.run.lines import Lines
from asya_cli.run.pair import Refusal
from asya_cli.run.post import Post, new_envelope
from asya_cli.run.project import Project
from asya_cli.run.route import reachable
from asya_cli.run.session import RunOptions, Session, empty_state, state_folder
from asya_core.wire.errors import AsyaError, Bug, RemoteFault
from asya_core.wire.names import split_entry

__all__ = ["failure_of", "fault_of", "one_shot", "report", "show_traceback", "store_ended"]


class _Watch:
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


async def one_shot(project: Project, route: tuple[str, ...], payload: Any, *, options: RunOptions, talk: Talk) -> None:
    """Run one envelope; print its final payload.

    Raises Failed if it ended in error-end, RemoteFault if a handler does not load, TimedOut, Interrupted, Unavailable, Refused.
    """
    names = reachable(route, project.specs)
    envelope = new_envelope(payload, route)
    if options.fresh:
        await empty_state(project)
    folder = state_folder(project, envelope["id"]) if options.keep else None
    gathering = Gathering(envelope["id"])
    lines = Lines(talk, list(names), only=options.only, least="info" if talk.verbose else "warning")
    watch = _Watch(talk, lines, {split_entry(entry)[0] for entry in route}, tells_hops=not options.trace)

    def on_end(ended: Ended, whole: Mapping[str, Any]) -> None:
        if folder is not None:
            store_ended(folder, ended, whole)
        if gathering.takes(ended) and gathering.is_complete:
            watch.changed.set()

    namespace = f"run-{os.urandom(4).hex()}"
    async with Session(options, namespace=namespace, folder=folder, listener=watch) as session:
        post = Post(session.broker, namespace, on_end)
        try:
            await session.declare(names)
            starting = asyncio.create_task(session.start(project.actors[name] for name in names))
            await post.open()
            await starting
            deadline = time.monotonic() + options.timeout_seconds
            await _until(session, watch, lambda: not watch.awaited, deadline, envelope["id"])
            talk.info(f"Envelope ID: {envelope['id']}")
            started_at = time.time()
            await post.send(envelope)
            await _until(session, watch, lambda: gathering.is_complete, deadline, envelope["id"])
        finally:
            await post.close()
    report(gathering, watch.hops, options=options, talk=talk, started_at=started_at, lines=lines)


async def _until(session: Session, watch: _Watch, is_true: Any, deadline: float, envelope_id: str) -> None:
    interrupted = asyncio.create_task(session.interrupted.wait())
    try:
        while not is_true():
            watch.changed.clear()
            changed = asyncio.create_task(watch.changed.wait())
            done, _ = await asyncio.wait(
                {interrupted, changed}, timeout=max(0.0, deadline - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
            )
            changed.cancel()
            session.check_interrupted()
            if watch.fault is not None:
                raise watch.fault
            if not done:
                where = f"; not loaded yet: {', '.join(sorted(watch.awaited))}" if watch.awaited else ""
                raise TimedOut("timed_out", f"Envelope {envelope_id} did not end within --timeout{where}", "give more --timeout")
    finally:
        interrupted.cancel()


def report(gathering: Gathering, hops: Sequence[Hop], *, options: RunOptions, talk: Talk, started_at: float, lines: Lines | None) -> None:
    """Print how the envelope ended: table of hops, final payload. Raises Failed if any part of it failed."""
    hops = in_order(hops)
    if options.trace:
        for line in trace_table(hops, started_at=started_at):
            talk.line(line)
    failed = gathering.failed
    document: dict[str, Any] = {"id": gathering.root, "status": "failed" if failed else "succeeded"}
    if failed:
        document["errors"] = [dict(each.error or {}) | {"envelope_id": each.id} for each in failed]
    else:
        document["payload"] = gathering.result()
        took_ms = (max((hop.at for hop in hops), default=time.time()) - started_at) * 1000
        talk.done(f"Done in {max(0.0, took_ms):.1f} ms, {len(hops)} hops")
    if talk.format is Format.JSON:
        talk.data(compact_json(document | {"hops": [hop.as_json() for hop in hops]}))
    elif not failed:
        talk.data(pretty_json(document["payload"]))
    if failed:
        for each in failed:
            error = each.error or {}
            show_traceback(talk, lines, str(error.get("actor")), error.get("traceback") or "")
        raise failure_of(failed, len(gathering.ended))


def failure_of(failed: list[Ended], total: int) -> Failed:
    """The error for envelopes that failed, of `total` that ended."""
    first, error = failed[0], failed[0].error or {}
    kind = str(error.get("type") or error.get("code") or "error")
    more = f" ({len(failed)} of {total} failed)" if total > 1 else ""
    attempt = f", attempt {error['attempt']}" if error.get("attempt", 1) != 1 else ""
    message = str(error.get("message") or "no message")
    return Failed("failed", f"{kind} in {error.get('actor')}: {message} (envelope {first.id}{attempt}){more}", _hint(error))


def _hint(error: Mapping[str, Any]) -> str:
    match error.get("code"):
        case "handler_error":
            return "the handler raised; its traceback is on stderr"
        case "timeout":
            return "the handler took longer than timeout of its values file"
        case "unroutable":
            return "the handler names an actor that has no values file"
        case code:
            return f"error code {code}: see docs/reference"


def fault_of(actor: str, refusal: Refusal) -> RemoteFault:
    """The error for a runtime that did not start."""
    return RemoteFault("handler_refused", f"Actor {actor}: {refusal.message}", refusal.hint or "correct the handler or its values file")


def show_traceback(talk: Talk, lines: Lines | None, actor: str, text: str) -> None:
    """Print `text` on stderr, unless its lines were shown as they came."""
    if text.strip() and not (lines is not None and lines.has_shown(actor, text)):
        talk.line(text.rstrip())


def store_ended(folder: Path, ended: Ended, whole: Mapping[str, Any]) -> None:
    """Keep an envelope that ended as ``results/<id>.json`` or ``errors/<id>.json``, as the end actors do."""
    place = folder / ("results" if ended.error is None else "errors")
    place.mkdir(exist_ok=True)
    file = place / f"{ended.id.replace(':', '_')}.json"
    file.write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
