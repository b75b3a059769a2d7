"""What the gateway does: call a tool, look at an envelope, cancel it, take the mesh's reports. Knows its ports, neither HTTP nor SQL.

Called by the HTTP edges. A call is a row first, then an answer, then a publish.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asya_core.objects import ObjectStore
from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.wire.errors import Refused, RemoteFault, Unavailable
from asya_core.wire.replay import replayed
from asya_gateway.access import Principal, Role
from asya_gateway.claims import Claims
from asya_gateway.gathering import Gathering
from asya_gateway.publisher import LEASE_MS, Publisher
from asya_gateway.reload import Tools
from asya_gateway.schema import Problem
from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row, Store, Tx
from asya_gateway.store.envelopes import Finished, NewEnvelope, Outcome, Progress, create, create_all, give_up, record_final
from asya_gateway.store.reports import Reports, Taken, take
from asya_gateway.streams import Streams
from asya_gateway.tools import Tool
from asya_gateway.traces import CallTrace, Traces
from asya_gateway.ulid import new_ulid
from asya_gateway.views import time_text

__all__ = ["ArgumentsRefused", "Listing", "Measures", "Service"]

_MAX_TOGETHER_CHARACTERS: Final = 4 * 1024 * 1024
"""Of the messages of calls that are written in one transaction."""
_MAX_TOGETHER_REPORTS: Final = 1_000
"""Of progress, in one transaction."""
_MAX_EVENTS: Final = 500
_DAY_MS: Final = 86_400_000
_MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
_REPLAY_SECONDS: Final = 3600.0
"""Deadline of a replay whose tool is no longer there."""
_MAX_SEARCHED: Final = 20_000
"""Envelopes that one search for a text looks at: it has no index."""
_LIKE: Final = re.compile(r"[\\%_]")
_ESCAPED: Final = r"\\\g<0>"
_BEAT_SECONDS: Final = 10.0
"""How often one who waits is told that the envelope still runs."""


class ArgumentsRefused(RemoteFault):
    """The arguments are not what the tool's schema wants.

    Args:
        tool: its name.
        problems: what is wrong, at most 20.
    """

    def __init__(self, tool: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        where = first.pointer or "arguments"
        super().__init__("bad_arguments", f"Arguments of {tool} are refused: {where} {first.message}{more}", "see the tool's inputSchema")
        self.tool = tool
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What of the envelopes is asked for; None is no filter. Times in milliseconds.

    Attributes:
        text: is in the id, the actor or the error, whatever its case; of the newest 20,000 that pass the other filters.
        brief: leave out results, which may be large.
    """

    status: str | None = None
    tool: str | None = None
    flow: str | None = None
    actor: str | None = None
    parent: str | None = None
    code: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    brief: bool = False
    before: tuple[int, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Where the service counts; `app` connects it to the metrics.

    Attributes:
        called: tool.
        ended: status, seconds from creation.
        reports: count of progress reports.
        late: a final report that did not count.
    """

    called: Callable[[str], None] = lambda tool: None
    ended: Callable[[str, float], None] = lambda status, seconds: None
    reports: Callable[[int], None] = lambda count: None
    late: Callable[[], None] = lambda: None


_NOT_COUNTED: Final = Measures()


class Service:
    """See the module's text.

    Args:
        store: the rows.
        tools: the tools as they are now.
        publisher: the outbox.
        streams: who waits.
        clock: for times and ids.
        log: audit lines.
        measures: where to count.
        records: where the end actors store, or None.
        claims: where large payloads wait while a reference travels.
        traces: tells spans of calls; None where tracing is off.
    """

    def __init__(
        self,
        *,
        store: Store,
        tools: Tools,
        publisher: Publisher,
        streams: Streams,
        clock: Clock,
        log: Log,
        measures: Measures = _NOT_COUNTED,
        records: ObjectStore | None = None,
        claims: Claims | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._calls = Gathering(store, create_all, weight=lambda new: len(new.message), limit=_MAX_TOGETHER_CHARACTERS)
        self._progress = Gathering(store, self._take, weight=lambda asked: len(asked.progress), limit=_MAX_TOGETHER_REPORTS)
        self._tools = tools
        self._publisher = publisher
        self._streams = streams
        self._clock = clock
        self._log = log
        self._looks: dict[tuple[str, int, int], asyncio.Future[tuple[Row | None, list[Row]]]] = {}
        self._measures = measures
        self._records = records
        self._traces = traces
        self._claims = claims or Claims(None, threshold_bytes=0, max_message_bytes=publisher.max_message_bytes, log=log)

    async def run(self) -> None:
        """Write calls and progress, until cancelled: both wait while nobody runs this."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._calls.run())
            group.create_task(self._progress.run())

    # ------------------------------------------------------------------------------------------------------------------ tools

    def visible_tools(self, principal: Principal) -> list[Tool]:
        """The tools that `principal` may call, by name."""
        return [tool for tool in self._tools.registry.tools.values() if principal.may_call(tool.name, tool.allow)]

    def tool(self, principal: Principal, name: str) -> Tool:
        """The tool. Raises Refused ``no_such_tool`` if there is none or `principal` may not call it."""
        tool = self._tools.registry.tools.get(name)
        if tool is None or not principal.may_call(name, tool.allow):
            from difflib import get_close_matches

            names = [each.name for each in self.visible_tools(principal)]
            close = get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"tools are: {', '.join(names[:20]) or 'none'}"
            raise Refused("no_such_tool", f"Tool {name[:128]!r} does not exist", hint)
        return tool

    @property
    def tools_state(self) -> Tools:
        """The tools, and why their files are not in force."""
        return self._tools

    # ------------------------------------------------------------------------------------------------------------------- call

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: Any,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Row, Tool, bool]:
        """Make an envelope; gives its row, the tool and whether it is new. It is durable, and on its way, when this returns.

        Args:
            principal: the caller, who will own it.
            name: the tool's.
            arguments: a JSON value.
            idempotency_key: the same key, tool and arguments give the first envelope again.
            headers: of the envelope, beside the tool's: tracing only.

        Raises Refused ``no_such_tool``, ``idempotency_conflict``; ArgumentsRefused; RemoteFault ``payload_too_large``;
        Unavailable ``store``, ``outbox_full``, ``claim_storage``. In all cases nothing was made.
        """
        tool = self.tool(principal, name)
        problems = tool.input.problems(arguments)
        if problems:
            raise ArgumentsRefused(name, problems)
        if self._publisher.is_full:
            raise Unavailable("outbox_full", "Too many envelopes wait for the broker", "try again", retry_after_seconds=10.0)
        now = int(self._clock.wall() * 1000)
        carried: Mapping[str, object] = headers or {}
        trace = None
        if self._traces is not None:
            trace = self._traces.begin(headers or {}, tool.route[0], self._micros())
            carried = trace.headers
        new = await self._envelope(principal, tool, {**tool.defaults, **arguments}, idempotency_key, carried, now)

        def accepted(row: Row) -> None:
            self._trace_call(trace, new, row, is_new=True)
            self._publisher.hurry(row)
            self._measures.called(name)
            self._log.info("audit", action="create", principal=principal.name, envelope_id=row["id"], tool=name, outcome="accepted")

        if idempotency_key is None:
            return await self._calls.write(new, accepted), tool, True
        # Alone: it may wait for another replica's transaction with the same key, and those beside it would wait too.
        row, is_new = await self._store.write(lambda tx: create(tx, new))
        if is_new:
            accepted(row)
            return row, tool, True
        self._trace_call(trace, new, row, is_new=False)
        if row["request_hash"] != new.request_hash:
            raise Refused("idempotency_conflict", "Idempotency key was used with other arguments", "use another key for another call")
        return row, tool, False

    def _trace_call(self, trace: CallTrace | None, new: NewEnvelope, row: Row, *, is_new: bool) -> None:
        if self._traces is not None and trace is not None:
            size = len(new.message.encode()) if is_new else None
            self._traces.created(trace, tool=new.tool or "", envelope_id=row["id"], size=size, now_us=self._micros())

    def _micros(self) -> int:
        return int(self._clock.wall() * 1e6)

    async def _envelope(
        self, principal: Principal, tool: Tool, payload: Mapping[str, Any], key: str | None, headers: Mapping[str, object], now: int
    ) -> NewEnvelope:
        envelope_id = new_ulid(now, _randomness())
        deadline_at = now + int(tool.timeout_seconds * 1000)
        envelope = {
            "id": envelope_id,
            "route": {"actors": list(tool.route), "current": 0},
            "headers": {**tool.headers, **headers},
            "deadline": time_text(deadline_at),
            "payload": payload,
        }
        return NewEnvelope(
            id=envelope_id,
            tool=tool.name,
            flow=tool.flow,
            owner=principal.name,
            route=tool.route,
            message=await self._claims.message(envelope, 0),
            now=now,
            lease_until=now + LEASE_MS,
            deadline_at=deadline_at,
            idempotency_key=key,
            request_hash=hashlib.sha256(_json(payload).encode()).hexdigest() if key is not None else None,
        )

    # ------------------------------------------------------------------------------------------------------------------- look

    async def envelope(self, principal: Principal, envelope_id: str) -> Row:
        """The row. Raises Refused ``no_such_envelope``, the same for an absent and for somebody else's."""
        row = await self._store.read(lambda tx: tx.one("find_envelope", id=envelope_id))
        if row is None or not principal.may_see(row["owner"]):
            raise _no_envelope()
        return row

    async def events(self, principal: Principal, envelope_id: str, after: int = 0) -> list[Row]:
        """Events with a number over `after`, at most 500, in order. Raises Refused ``no_such_envelope``."""
        _, events = await self._row_and_events(principal, envelope_id, after)
        return events

    async def listing(self, principal: Principal, wanted: Listing) -> list[Row]:
        """Envelopes, newest first: one's own, or all with role read."""
        owner = None if principal.may(Role.READ) else principal.name
        before_at, before_id = wanted.before or (None, None)
        return await self._store.read(
            lambda tx: tx.all(
                "list_envelopes",
                owner=owner,
                status=wanted.status,
                tool=wanted.tool,
                flow=wanted.flow,
                actor=wanted.actor,
                parent=wanted.parent,
                code=wanted.code,
                text=None if wanted.text is None else f"%{_LIKE.sub(_ESCAPED, wanted.text.lower())}%",
                brief=int(wanted.brief),
                window=wanted.limit if wanted.text is None else _MAX_SEARCHED,
                since=wanted.since,
                until=wanted.until,
                before_at=before_at,
                before_id=before_id,
                limit=wanted.limit,
            )
        )

    async def first_message(self, principal: Principal, envelope_id: str) -> str | None:
        """The envelope's JSON as it was first sent, with its payload; None if it was made elsewhere.

        Raises Refused ``no_such_envelope``, ``no_such_record`` if the payload was large and is no longer kept, Unavailable.
        """
        await self.envelope(principal, envelope_id)
        row = await self._store.read(lambda tx: tx.one("read_message", id=envelope_id))
        message: str | None = row["message"] if row is not None else None
        return None if message is None else await self._claims.whole(message)

    @property
    def has_records(self) -> bool:
        """Whether records of end actors can be read, and with them envelopes be replayed."""
        return self._records is not None

    async def actors(self, principal: Principal) -> dict[str, dict[str, int]]:
        """Envelopes of the last day by the actor that was heard of last, and by status: one's own, or all with role read."""
        owner = None if principal.may(Role.READ) else principal.name
        since = int(self._clock.wall() * 1000) - _DAY_MS
        counts: dict[str, dict[str, int]] = {}
        for row in await self._store.read(lambda tx: tx.all("counts_by_actor", owner=owner, since=since)):
            counts.setdefault(row["actor"], {})[row["status"]] = row["count"]
        return counts

    async def follow(self, principal: Principal, envelope_id: str, after: int = 0) -> AsyncIterator[tuple[Row, list[Row]]]:
        """The envelope and its new events, again and again, up to and with its end; no events means: nothing new for 10 s.

        Ends early when the process drains. Raises Refused ``no_such_envelope``, Unavailable.
        """
        with self._streams.subscribed(envelope_id) as subscription:
            while True:
                row, events = await self._news(principal, envelope_id, after)
                if events:
                    after = events[-1]["seq"]
                    yield row, events
                if Status(row["status"]) in FINAL and after >= row["seq"]:
                    return
                if len(events) == _MAX_EVENTS:
                    continue
                if self._streams.is_draining:
                    return
                if not await subscription.wait(_BEAT_SECONDS):
                    yield row, []

    async def _news(self, principal: Principal, envelope_id: str, after: int) -> tuple[Row, list[Row]]:
        """As `_row_and_events`, for waiters: thousands that the same news has woken share one look into the store."""
        key = (envelope_id, after, self._streams.generation(envelope_id))
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.ensure_future(self._look(envelope_id, after))

            def forget(done: "asyncio.Future[Any]") -> None:
                del self._looks[key]
                done.exception()  # told to those who wait, if they still do

            look.add_done_callback(forget)
        return _seen_by(principal, await asyncio.shield(look))

    async def _row_and_events(self, principal: Principal, envelope_id: str, after: int) -> tuple[Row, list[Row]]:
        return _seen_by(principal, await self._look(envelope_id, after))

    async def _look(self, envelope_id: str, after: int) -> tuple[Row | None, list[Row]]:
        def work(tx: Tx) -> tuple[Row | None, list[Row]]:
            row = tx.one("find_envelope", id=envelope_id)
            return row, tx.all("read_events", id=envelope_id, after=after, limit=_MAX_EVENTS) if row else []

        return await self._store.read(work)

    # ----------------------------------------------------------------------------------------------------------------- cancel

    async def cancel(self, principal: Principal, envelope_id: str, *, reason: str = "cancelled by its caller") -> Row:
        """Give an envelope up, and what it has become; gives its row, whatever its status then is.

        Certain in the store, best effort in the mesh: parts that nobody has told of yet run on.

        Raises Refused ``no_such_envelope``.
        """
        now = int(self._clock.wall() * 1000)
        error: dict[str, Any] = {"code": "cancelled", "type": None, "mro": [], "message": f"The envelope was {reason}"}

        def work(tx: Tx) -> tuple[Row | None, dict[str, Row]]:
            row = tx.one("find_envelope", id=envelope_id)
            if row is None or not principal.may_change(row["owner"]):
                return None, {}
            return row, give_up(tx, envelope_id, error, now)

        row, ended = await self._store.write(work)
        if row is None:
            raise _no_envelope()
        self._streams.notify(ended)
        for each in ended.values():
            self._measures.ended(Status.CANCELLED, (now - each["created_at"]) / 1000)
        if ended:
            row = await self.envelope(principal, envelope_id)
        outcome = "cancelled" if ended else row["status"]
        self._log.info("audit", action="cancel", principal=principal.name, envelope_id=envelope_id, outcome=outcome)
        return row

    # ----------------------------------------------------------------------------------------------------------------- replay

    async def record(self, principal: Principal, envelope_id: str) -> bytes:
        """The JSON that an end actor stored: last payload, traceback.

        Raises Refused ``no_such_envelope``, ``forbidden``, ``no_such_record``, ``not_configured``; Unavailable.
        """
        row = await self.envelope(principal, envelope_id)
        return await self._record(principal, row)

    async def _record(self, principal: Principal, row: Row) -> bytes:
        _check_operator(principal)
        if self._records is None:
            raise Refused("not_configured", "This gateway reads no storage", "set ASYA_GATEWAY_RESULTS_URL to the crew's storage")
        records = self._records
        folders = ("results", "errors") if row["status"] == Status.SUCCEEDED else ("errors", "results")

        def read() -> bytes:
            for folder in folders:
                try:
                    return records.get(f"{folder}/{row['id']}.json", limit_bytes=_MAX_RECORD_BYTES)
                except Refused as refusal:
                    if refusal.code != "no_such_object":
                        raise
            raise Refused("no_such_record", "No end actor has stored this envelope", "it may still run, or its record was deleted")

        return await asyncio.to_thread(read)

    async def replay(
        self, principal: Principal, envelope_id: str, *, start: str, actor: str | None, dry_run: bool, expected: str | None = None
    ) -> dict[str, Any] | Row:
        """Send a final envelope again, as a new one that belongs to the same owner; gives its row, or with `dry_run` its JSON.

        Args:
            expected: only if this was its last replay, empty for none; None: whatever it was.

        Raises Refused ``no_such_envelope``, ``forbidden``, ``not_final``, ``already_replayed``, ``not_replayable``, ``no_such_record``,
        ``not_configured``; RemoteFault ``bad_request``, ``payload_too_large``; Unavailable.
        """
        row = await self.envelope(principal, envelope_id)
        _check_operator(principal)
        if Status(row["status"]) not in FINAL:
            raise Refused("not_final", f"The envelope is {row['status']}", "cancel it first, or wait for its end")
        if expected is not None and expected != (row["replayed_as"] or ""):
            raise _already_replayed(row)
        old = json.loads(await self._replayable(principal, row, start))
        now = int(self._clock.wall() * 1000)
        tool = self._tools.registry.tools.get(row["tool"] or "")
        deadline_at = now + int((tool.timeout_seconds if tool else _REPLAY_SECONDS) * 1000)
        new_id = new_ulid(now, _randomness())
        envelope, hop = replayed(old, new_id=new_id, deadline=time_text(deadline_at), start=start, actor=actor)
        if dry_run:
            return {"dry_run": True, "envelope": envelope}
        new = NewEnvelope(
            id=new_id,
            tool=row["tool"],
            flow=row["flow"],
            owner=row["owner"],
            route=envelope["route"]["actors"],
            message=await self._claims.message(envelope, hop),
            now=now,
            lease_until=now + LEASE_MS,
            deadline_at=deadline_at,
            replay_of=envelope_id,
            hop=hop,
        )

        def work(tx: Tx) -> Row:
            # Before the row is made: of two replays at once the second waits here for the first, and finds that it came.
            if expected is not None and not tx.all("claim_replay", id=envelope_id, replayed_as=new_id, expected=expected):
                raise _already_replayed(tx.one("find_envelope", id=envelope_id) or row)
            return create(tx, new)[0]

        made = await self._store.write(work)
        self._publisher.hurry(made)
        self._log.info("audit", action="replay", principal=principal.name, envelope_id=envelope_id, new_id=new_id, outcome="accepted")
        return made

    async def _replayable(self, principal: Principal, row: Row, start: str) -> str | bytes:
        """The JSON that a replay is made from: the record, or the first message. An envelope that never left this gateway has no record;
        its first message is what failed."""
        first = await self._store.read(lambda tx: tx.one("read_message", id=row["id"]))
        message: str | None = first["message"] if first else None
        if start == "start" and message is not None:
            return message
        try:
            return await self._record(principal, row)
        except Refused as refusal:
            error = json.loads(row["error"] or "{}")
            never_left = error.get("code") == "unroutable" and "actor" not in error  # the publisher's own words
            if message is None or not never_left or refusal.code not in ("no_such_record", "not_configured"):
                raise
            return message

    # ---------------------------------------------------------------------------------------------------------------- reports

    async def progress(self, reports: Sequence[Progress], cursor: int | None) -> tuple[list[str], int]:
        """Take progress; gives ids cancelled since `cursor`, and the next cursor. Raises Unavailable."""
        asked = Reports(progress=reports, cursor=cursor, now=int(self._clock.wall() * 1000))
        taken = await self._progress.write(asked, lambda taken: self._streams.notify(taken.changed))
        self._measures.reports(len(reports))
        return list(taken.cancelled), taken.cursor

    def _take(self, tx: Tx, asked: Sequence[Reports]) -> list[Taken]:
        silent = {name for name, tool in self._tools.registry.tools.items() if not tool.progress}
        return take(tx, asked, silent)

    async def final(self, final: Finished) -> Outcome:
        """Take a final report. Raises Unavailable."""
        now = int(self._clock.wall() * 1000)
        outcome = await self._store.write(lambda tx: record_final(tx, final, now))
        self._streams.notify(outcome.changed)
        if not outcome.recorded:
            self._measures.late()
        for status, seconds, _ in outcome.finished:
            self._measures.ended(status, seconds)
        return outcome

    async def check(self) -> None:
        """Raise Unavailable if the store does not answer."""
        await self._store.read(lambda tx: tx.one("ping"))

    async def outbox(self) -> tuple[int, float]:
        """Envelopes that wait for the broker, and the age of the oldest in seconds."""
        row = await self._store.read(lambda tx: tx.one("outbox"))
        assert row is not None
        oldest = 0.0 if row["oldest"] is None else max(0.0, self._clock.wall() - row["oldest"] / 1000)
        return row["waiting"], oldest


_pool: Final = bytearray()


def _randomness() -> bytes:
    """Ten bytes for an id. Asked of the system for hundreds at a time: each asking lets other threads in, and waits for its turn then."""
    if not _pool:
        _pool.extend(os.urandom(4_000))
    taken = bytes(_pool[-10:])
    del _pool[-10:]
    return taken


def _check_operator(principal: Principal) -> None:
    if not principal.may(Role.OPERATE):
        raise Refused("forbidden", "This needs role operate", "ask who runs the gateway")


def _already_replayed(row: Row) -> Refused:
    last = f"last as {row['replayed_as']}" if row["replayed_as"] else "but not yet"
    return Refused("already_replayed", f"The envelope was replayed, {last}", "look at that one; leave out if_replayed_as to replay again")


def _seen_by(principal: Principal, found: tuple[Row | None, list[Row]]) -> tuple[Row, list[Row]]:
    row, events = found
    if row is None or not principal.may_see(row["owner"]):
        raise _no_envelope()
    return row, events


def _no_envelope() -> Refused:
    return Refused("no_such_envelope", "There is no such envelope", "check the id; finished envelopes are kept for a limited time")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
