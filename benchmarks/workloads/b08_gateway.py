"""B8: the gateway: durable calls by MCP and by REST, one event to many streams, many reports for a while."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.http_load import Asked, Streams, ask_many, connect, json_bytes, request
from benchmarks.measure import Case, Contender, Sample
from benchmarks.processes import usage
from benchmarks.systems.base import payload_of
from benchmarks.systems.gateways import AsyaGateway, FastApiInsert, HttpSystem, SdkEcho, Serving, StarletteSse

CLIENTS = 32
WARM_UP = 200
EVENTS = 20
SENDERS, PER_SECOND, PER_REPORT = 30, 10, 10
"""Sidecars, requests of each per second, envelopes in each: 3,000 reports a second."""
FINALS_PER_SECOND = 100
_VERSION = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _VERSION,
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
}
Work = Callable[[HttpSystem, Serving, Case], Coroutine[Any, Any, Sample]]


def cases(quick: bool) -> list[Case]:
    """a and b on both stores, c, d."""
    count, rounds, streams, seconds = (1_000, 3, 1_000, 10) if quick else (5_000, 5, 5_000, 60)
    arguments = json.loads(payload_of(1_000))
    found = []
    for store in ("sqlite", "postgres"):
        found.append(
            _case(
                f"a: {count:,} durable tools/call of 1 kB, {CLIENTS} clients, {store}",
                (Contender(system=AsyaGateway(store)), Contender(system=SdkEcho(), targets={"req/s": 1.0})),
                _calls(_tool_call(arguments)),
                rounds=rounds,
                count=count,
            )
        )
    for store in ("sqlite", "postgres"):
        found.append(
            _case(
                f"b: {count:,} POST /tools/echo of 1 kB, {CLIENTS} clients, {store}",
                (Contender(system=AsyaGateway(store)), Contender(system=FastApiInsert(store), targets={"req/s": 1.0})),
                _calls(request("POST", "/tools/echo", json_bytes(arguments))),
                rounds=rounds,
                count=count,
            )
        )
    found.append(
        _case(
            f"c: one event to {streams:,} streams, {EVENTS} times",
            (Contender(system=AsyaGateway()), Contender(system=StarletteSse())),
            _one_event,
            rounds=1 if quick else 3,
            count=streams,
            limits={"kB/stream": 32, "last ms": 250},
        )
    )
    found.append(
        _case(
            f"d: {SENDERS * PER_SECOND * PER_REPORT:,} reports and {FINALS_PER_SECOND} finals a second for {seconds} s",
            (Contender(system=AsyaGateway()), Contender(system=AsyaGateway("postgres"))),
            _reports,
            rounds=1,
            count=seconds,
            limits={"finals lost": 0, "cores": 1.0},
        )
    )
    return found


def _case(
    title: str, contenders: tuple[Contender, ...], work: Work, *, rounds: int, count: int, limits: dict[str, float] | None = None
) -> Case:
    def play(contender: Contender, case: Case) -> Sample:
        system = contender.system
        assert isinstance(system, HttpSystem)
        with (
            tempfile.TemporaryDirectory(prefix="asya-bench-") as folder,
            system.serving(Path(folder)) as serving,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            return runner.run(work(system, serving, case))

    return Case(bench="B8", title=title, contenders=contenders, rounds=rounds, count=count, warm_up=WARM_UP, limits=limits or {}, play=play)


def _tool_call(arguments: dict[str, Any]) -> bytes:
    params = {"name": "echo", "arguments": arguments, "_meta": _META}
    body = json_bytes({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP_Protocol_Version": _VERSION,
        "Mcp_Method": "tools/call",
        "Mcp_Name": "echo",
    }
    return request("POST", "/mcp", body, **headers)


def _calls(asked: bytes) -> Work:
    async def work(system: HttpSystem, serving: Serving, case: Case) -> Sample:
        await ask_many(serving.port, lambda number: asked, count=case.warm_up, connections=CLIENTS)
        before = serving.group.usage()
        told = await ask_many(serving.port, lambda number: asked, count=case.count, connections=CLIENTS)
        after = serving.group.usage()
        _check(system, told)
        values = {"req/s": case.count / told.seconds, "p99 ms": told.took[len(told.took) * 99 // 100] * 1e3}
        return Sample(values=values, cpu_seconds=after.cpu_seconds - before.cpu_seconds, broker_cpu_seconds=0.0, rss_mb=after.rss_mb)

    return work


def _check(system: HttpSystem, told: Asked) -> None:
    if told.refused:
        raise RuntimeError(f"{system.name}: {told.refused} of {len(told.took)} requests were not answered with 2xx")


async def _one_event(system: HttpSystem, serving: Serving, case: Case) -> Sample:
    """Memory per stream, and how long after an event the last of all streams hears it: the 95th of a hundred, of `EVENTS`."""
    is_gateway = isinstance(system, AsyaGateway)
    control = await connect(serving.internal if is_gateway else serving.port)
    path = "/stream"
    if is_gateway:
        envelope_id = await _created(serving.port)
        path = f"/envelopes/{envelope_id}/stream"
        report = json_bytes({"reports": [{"id": envelope_id, "actor": "echo", "hop": 0, "attempt": 1, "state": "running"}]})
        fire = request("POST", "/internal/v1/progress", report)
    else:
        fire = request("POST", "/fire", b"{}")
    await control.ask(fire) if not is_gateway else None
    before = usage(serving.group.pids())
    streams = Streams(serving.port, path)
    await streams.open(case.count)
    opened = usage(serving.group.pids())
    last = []
    for _ in range(EVENTS):
        streams.want(case.count)
        began = time.perf_counter()
        asking = asyncio.ensure_future(control.ask(fire))
        await streams.all_heard()
        last.append(time.perf_counter() - began)
        await asking
        await asyncio.sleep(0.1)
    after = usage(serving.group.pids())
    streams.close()
    values = {"kB/stream": (opened.rss_mb - before.rss_mb) * 1e3 / case.count, "last ms": sorted(last)[EVENTS * 95 // 100 - 1] * 1e3}
    return Sample(values=values, cpu_seconds=after.cpu_seconds - before.cpu_seconds, broker_cpu_seconds=0.0, rss_mb=after.rss_mb)


async def _created(port: int) -> str:
    client = await connect(port)
    _, body = await client.ask(request("POST", "/tools/echo", b'{"a":1}'))
    client.transport.close()
    return str(json.loads(body)["id"])


async def _reports(system: HttpSystem, serving: Serving, case: Case) -> Sample:
    """Sidecars that report progress ten times a second each, and end actors that tell of ends, for `Case.count` seconds."""
    envelopes = [f"bench-{number}" for number in range(FINALS_PER_SECOND * case.count)]
    taken = lost = 0
    before = serving.group.usage()
    began = time.monotonic()

    async def sidecar(sender: int) -> None:
        nonlocal taken
        client = await connect(serving.internal)
        for turn in range(case.count * PER_SECOND):
            await asyncio.sleep(max(0.0, began + (turn + sender / SENDERS) / PER_SECOND - time.monotonic()))
            first = (turn * SENDERS + sender) * PER_REPORT
            reports = [
                {
                    "id": envelopes[(first + each) % len(envelopes)],
                    "actor": "echo",
                    "hop": 0,
                    "attempt": 1,
                    "state": "running",
                    "route": ["echo"],
                }
                for each in range(PER_REPORT)
            ]
            status, _ = await client.ask(request("POST", "/internal/v1/progress", json_bytes({"reports": reports})))
            taken += PER_REPORT if status == 200 else 0
        client.transport.close()

    async def ends() -> None:
        nonlocal lost
        client = await connect(serving.internal)
        for number, envelope_id in enumerate(envelopes):
            await asyncio.sleep(max(0.0, began + number / FINALS_PER_SECOND - time.monotonic()))
            final = {"id": envelope_id, "status": "succeeded", "result": {"n": number}, "actor": "happy-end", "attempt": 1}
            status, body = await client.ask(request("POST", "/internal/v1/final", json_bytes(final)))
            lost += not (status == 200 and b"true" in body)
        client.transport.close()

    await asyncio.gather(ends(), *(sidecar(number) for number in range(SENDERS)))
    seconds = time.monotonic() - began
    after = serving.group.usage()
    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    values = {"reports/s": taken / seconds, "finals lost": float(lost), "cores": cpu_seconds / seconds}
    return Sample(values=values, cpu_seconds=cpu_seconds, broker_cpu_seconds=0.0, rss_mb=after.rss_mb)
