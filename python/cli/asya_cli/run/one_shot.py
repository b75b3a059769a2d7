"""``asya run TARGET --input …``: one envelope from the first actor to an end queue, and what became of it.

Called by `asya_cli.commands.run`. The processes live as long as the envelope.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asya_cli.errors import Failed, TimedOut
from asya_cli.output import Format, Talk, compact_json, pretty_json
from asya_cli.run.gather import Ended, Gathering
from asya_cli.run.hops import Hop, in_order, trace_table
from asya_cli.run.lines import Lines
from asya_cli.run.post import Post, new_envelope
from asya_cli.run.project import Project
from asya_cli.run.route import reachable
from asya_cli.run.session import RunOptions, Session, empty_state, state_folder
from asya_cli.run.watch import Watch, show_traceback
from asya_core.wire.names import split_entry

__all__ = ["failure_of", "one_shot", "report", "store_ended"]


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
    watch = Watch(talk, lines, {split_entry(entry)[0] for entry in route}, tells_hops=not options.trace)

    def on_end(ended: Ended, whole: Mapping[str, Any]) -> None:
        if folder is not None:
            store_ended(folder, ended, whole)
        if gathering.takes(ended) and gathering.is_complete:
            watch.changed.set()

    namespace = f"run-{os.urandom(4).hex()}"
    async with Session(options, namespace=namespace, folder=folder, listener=watch, tell=talk.warning) as session:
        post = Post(session.broker, namespace, on_end)
        try:
            await session.declare(names)
            starting = asyncio.create_task(session.start(project.actors[name] for name in names))
            try:
                await post.open()
                await starting
            finally:
                starting.cancel()
                await asyncio.wait({starting})  # no pair is started any more when the session ends those that were
            deadline = time.monotonic() + options.timeout_seconds
            await _until(session, watch, lambda: not watch.awaited, deadline, envelope["id"])
            talk.info(f"Envelope ID: {envelope['id']}")
            started_at = time.time()
            session.is_at_rest = False
            await post.send(envelope)
            await _until(session, watch, lambda: gathering.is_complete, deadline, envelope["id"])
            session.is_at_rest = True
        finally:
            await post.close()
    report(gathering, watch.hops, options=options, talk=talk, started_at=started_at, lines=lines)


async def _until(session: Session, watch: Watch, is_true: Callable[[], bool], deadline: float, envelope_id: str) -> None:
    try:
        await watch.until(is_true, interrupted=session.interrupted, deadline=deadline)
    except TimeoutError:
        where = f"; not loaded yet: {', '.join(sorted(watch.awaited))}" if watch.awaited else ""
        raise TimedOut("timed_out", f"Envelope {envelope_id} did not end within --timeout{where}", "give more --timeout") from None
    session.check_interrupted()


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


def store_ended(folder: Path, ended: Ended, whole: Mapping[str, Any]) -> None:
    """Keep an envelope that ended as ``results/<id>.json`` or ``errors/<id>.json``, as the end actors do."""
    place = folder / ("results" if ended.error is None else "errors")
    place.mkdir(exist_ok=True)
    file = place / f"{ended.id.replace(':', '_')}.json"
    file.write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
