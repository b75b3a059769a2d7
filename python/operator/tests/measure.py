"""What many actors cost: time to rest, writes per actor, memory. Not a test; run it by hand.

``python -m python.operator.tests.measure --actors 300`` starts the fake API in this process and the operator, with queues in memory, in
another one, which tells its resident memory. With ``--kubeconfig FILE`` the API server is that one: it needs the definition, KEDA's kinds
and the namespace ``asya-system``; actors go into the namespace ``measure`` and are deleted at the end.
"""

import argparse
import asyncio
import collections
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from python.operator.tests.fake_api import Controllers, FakeApi
from python.operator.tests.twins import MemoryQueues, actor, settings

from asya_core.ops.clock import SystemClock
from asya_core.ops.logs import Level, LineWriter, Log
from asya_operator.app import Operator
from asya_operator.kube import Kube, configure
from asya_operator.resources import ACTORS
from asya_operator.settings import ProcessSettings

RUNTIME = Path(__file__).parents[2] / "runtime" / "asya_runtime.py"


async def operate(kubeconfig: str) -> None:
    """The operator's process."""
    process = ProcessSettings(
        settings_file=Path("-"),
        namespace="asya-system",
        pod=f"measure-{os.getpid()}",
        runtime_file=RUNTIME,
        credentials_dir=Path("-"),
        tls_ca=None,
        kubeconfig=Path(kubeconfig),
    )
    operator = Operator(
        process,
        settings(metrics={"port": 0}),
        runtime=RUNTIME.read_bytes(),
        clock=SystemClock(),
        log=Log(LineWriter(), Level.WARNING),
        identity=f"measure-{os.getpid()}",
        host="127.0.0.1",
        queues={"rabbitmq": MemoryQueues()},
    )
    task = asyncio.create_task(operator.run())
    await operator.working.wait()
    print(json.dumps({"port": operator.port}), flush=True)
    await task


class Process:
    """The operator's process, seen from outside."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig

    async def __aenter__(self) -> "Process":
        self.begun = time.monotonic()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "python.operator.tests.measure", "--operate", self.kubeconfig, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.port = json.loads(await self.process.stdout.readline())["port"]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.terminate()
        await self.process.wait()

    def memory_mb(self) -> tuple[float, float]:
        """Resident now and at most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[index,return-value]

    async def counts(self) -> collections.Counter[tuple[str, str]]:
        """Calls by verb and kind."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = await answer.text()
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        for verb, kind, number in re.findall(r'api_calls_total\{verb="(\w+)",kind="([\w/]+)",code="\d+"\} (\d+)', text):
            found[verb, kind] += int(number)
        self.backlog = int(re.search(r"asya_operator_queue_depth (\d+)", text)[1])  # type: ignore[index]
        return found

    async def rest(self, quiet_seconds: float = 4.0) -> float:
        """Wait until no call but of watches and the Lease has been made for a while; gives the seconds until the last one."""
        last, since = None, time.monotonic()
        begun = since
        while time.monotonic() - since < quiet_seconds:
            await asyncio.sleep(0.25)
            found = {
                key: number for key, number in (await self.counts()).items() if key[0] != "watch" and key[1] not in ("leases", "events")
            }
            if found != last or self.backlog:
                last, since = found, time.monotonic()
        return since - begun


def writes(found: collections.Counter[tuple[str, str]]) -> dict[str, int]:
    return {
        f"{verb} {kind}": number
        for (verb, kind), number in sorted(found.items())
        if verb in ("create", "patch", "update", "delete") and kind != "leases"
    }


async def measure(count: int, kubeconfig: str | None) -> None:
    api: FakeApi | None = None
    if kubeconfig is None:
        api = FakeApi()
        Controllers(api)
        await api.start()
        file = Path(tempfile.mkdtemp()) / "kubeconfig"
        file.write_text(api.kubeconfig())
        kubeconfig = str(file)
    kube = Kube(await configure(Path(kubeconfig)))
    async with Process(kubeconfig) as operator:
        print(f"idle, no actor: {operator.memory_mb()[0]:.1f} MB")
        before = await operator.counts()
        begun = time.monotonic()
        names = [f"actor-{number:04}" for number in range(count)]

        async def create(name: str) -> None:
            await kube.create(ACTORS, actor(name, "measure"))

        for start in range(0, count, 50):
            await asyncio.gather(*(create(name) for name in names[start : start + 50]))
        print(f"{count} actors created in {time.monotonic() - begun:.1f} s")
        took = await operator.rest()
        made = writes(await operator.counts() - before)
        objects = sum(number for name, number in made.items() if "events" not in name)
        print(f"at rest {took:.1f} s later; {made}")
        print(f"writes per actor: {objects / count:.2f}, and {made.get('create events', 0) / count:.2f} events")
        now, most = operator.memory_mb()
        print(f"memory: {now:.1f} MB, at most {most:.1f} MB")
    async with Process(kubeconfig) as operator:
        took = await operator.rest()
        made = writes(await operator.counts())
        now, most = operator.memory_mb()
        print(f"restart: at rest after {took:.1f} s, writes {made}; memory {now:.1f} MB, at most {most:.1f} MB")
    if api is None:
        for start in range(0, count, 50):
            await asyncio.gather(*(kube.delete(ACTORS, "measure", name) for name in names[start : start + 50]))
    await kube.close()
    if api is not None:
        await api.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=300)
    parser.add_argument("--kubeconfig")
    parser.add_argument("--operate", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    asyncio.run(operate(given.operate) if given.operate else measure(given.actors, given.kubeconfig))


if __name__ == "__main__":
    main()
