"""``asya run TARGET --attach --input …``: sends one envelope through the actors that ``--serve`` keeps up. Called by the command."""

import asyncio
import json
import time
from typing import Any

from asya_cli.errors import Interrupted, TimedOut
from asya_cli.output import Talk
from asya_cli.run import control
from asya_cli.run.gather import Gathering
from asya_cli.run.hops import Hop, hop_line
from asya_cli.run.one_shot import report
from asya_cli.run.post import new_envelope
from asya_cli.run.project import Project
from asya_cli.run.session import STATE, RunOptions
from asya_core.wire.errors import Unavailable

__all__ = ["attach"]


async def attach(project: Project, route: tuple[str, ...], payload: Any, *, options: RunOptions, talk: Talk) -> None:
    """Send one envelope, print its final payload. Raises as `one_shot`, and Unavailable ``not_served``."""
    file = project.directory / STATE / control.STATE_FILE
    connection = await control.connect(file)
    if connection is None:
        raise Unavailable("not_served", f"Nobody serves {project.directory}", "start asya run TARGET --serve in another terminal")
    reader, writer = connection
    envelope = new_envelope(payload, route)
    talk.info(f"Envelope ID: {envelope['id']}")
    started_at = time.time()
    hops: list[Hop] = []
    try:
        writer.write(control.line_of({"envelope": envelope}))
        async with asyncio.timeout(options.timeout_seconds):
            gathering = await _follow(reader, Gathering(envelope["id"]), hops, options=options, talk=talk)
    except TimeoutError:
        raise TimedOut(
            "timed_out", f"Envelope {envelope['id']} did not end within --timeout; it goes on", "see .asya/run/results"
        ) from None
    except asyncio.CancelledError:
        raise Interrupted(
            "interrupted", f"Interrupted; envelope {envelope['id']} goes on", "its result will be in .asya/run/results"
        ) from None
    finally:
        writer.close()
    report(gathering, hops, options=options, talk=talk, started_at=started_at, lines=None)


async def _follow(reader: asyncio.StreamReader, gathering: Gathering, hops: list[Hop], *, options: RunOptions, talk: Talk) -> Gathering:
    while line := await reader.readline():
        message = json.loads(line)
        if "hop" in message:
            hops.append(control.hop_of_line(message["hop"]))
            if not options.trace:
                talk.info(hop_line(hops[-1]))
        elif "fault" in message:
            raise control.to_error(message["fault"])
        else:
            for ended in message["ended"]:
                gathering.takes(control.ended_of(ended))
            return gathering
    raise Unavailable("not_served", f"The one who serves ended; envelope {gathering.root} waits there", "start --serve again")
