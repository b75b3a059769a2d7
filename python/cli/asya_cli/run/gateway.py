"""The gateway of ``asya run --serve --gateway``: its process, its tools, and the final reports that end actors make in a cluster.

Called by `serve`. In a cluster the sidecars of happy-end and error-end report; here this process takes their place (docs/decisions 0009).
"""

import asyncio
import http.client
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from asya_cli.output import Talk
from asya_cli.run.child import Child
from asya_cli.run.environment import basic_environment
from asya_cli.run.project import Project
from asya_cli.run.tools import made_tools
from asya_core.objects import parse_location
from asya_core.wire.errors import Refused, RemoteFault, Unavailable

__all__ = ["LocalGateway", "final_body"]

_START_SECONDS: Final = 30.0
_POST_SECONDS: Final = 10.0
_MAX_RESULT_BYTES: Final = 1_048_576
_LAST_PAUSE_SECONDS: Final = 5.0
_PREFIX: Final = "asya-gateway: "


class LocalGateway:
    """One gateway on loopback, with SQLite beside the queues.

    Args:
        folder: of the state; tools and store are below it.
        directory: the run's own, for the internal key.
        port: of the public socket; 0 is any free one.
        talk: says where it is, and what it complains about.
    """

    def __init__(self, folder: Path, directory: Path, *, port: int, talk: Talk) -> None:
        self._folder = folder
        self._key = directory / "gateway-key"
        self._port = port
        self._talk = talk
        self._child: Child | None = None
        self._started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._finals: asyncio.Queue[bytes] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self._internal_port = 0
        self.url = ""

    async def start(self, project: Project, *, namespace: str, broker: Mapping[str, str], parent_fd: int) -> None:
        """Start it and wait until it serves. Raises RemoteFault ``no_gateway_extra``, Refused ``gateway``, Unavailable ``gateway``."""
        if find_spec("mcp") is None or find_spec("asya_gateway") is None:
            raise RemoteFault("no_gateway_extra", "The gateway is not installed here", "pip install 'asya[gateway]'")
        self.write_tools(project)
        self._key.touch(mode=0o600)
        self._key.write_text(secrets.token_urlsafe(32), encoding="ascii")
        environment = basic_environment(os.environ) | dict(broker)
        environment |= {
            "ASYA_NAMESPACE": namespace,
            "ASYA_GATEWAY_LISTEN": f"127.0.0.1:{self._port}",
            "ASYA_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
            "ASYA_GATEWAY_TOOLS": str(self._folder / "tools"),
            "ASYA_GATEWAY_SQLITE_PATH": str(self._folder / "gateway.db"),
            "ASYA_GATEWAY_AUTH": "none",
            "ASYA_GATEWAY_INTERNAL_AUTH": "key",
            "ASYA_GATEWAY_INTERNAL_KEY_FILE": str(self._key),
            "ASYA_PARENT_FD": str(parent_fd),
        }
        with suppress(RemoteFault):  # a folder whose name no address can hold: no records and replays then
            environment["ASYA_GATEWAY_RESULTS_URL"] = str(parse_location(f"file://{self._folder.resolve()}"))
        self._child = await Child.start(
            (sys.executable, "-P", "-m", "asya_gateway"),
            environment=environment,
            directory=self._folder,
            inherited=(parent_fd,),
            on_line=self._on_line,
        )
        ended = asyncio.create_task(self._child.wait())
        either: list[asyncio.Future[Any]] = [self._started, ended]
        await asyncio.wait(either, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._started.done():
            last = self._child.tail[-1].removeprefix(_PREFIX) if self._child.tail else "it said nothing"
            is_over = ended.done()
            await self.stop()
            if is_over:
                raise Refused("gateway", f"The gateway did not start: {last}", "choose another --port, or correct the tools")
            raise Unavailable("gateway", "The gateway did not start in time", "try again")
        told = self._started.result()
        self.url = f"http://127.0.0.1:{told['public']}"
        self._internal_port = told["internal"]
        self._sender = asyncio.create_task(self._send())

    def environment(self) -> Mapping[str, str]:
        """Settings of a sidecar that reports to it."""
        return {"ASYA_GATEWAY_URL": f"http://127.0.0.1:{self._internal_port}", "ASYA_GATEWAY_TOKEN_FILE": str(self._key)}

    def write_tools(self, project: Project) -> None:
        """Write the project's tools to where the gateway looks every 2 s."""
        folder = self._folder / "tools"
        folder.mkdir(exist_ok=True)
        texts = dict(project.tools) or made_tools(project.directory.name, project.actors, project.route)
        for old in folder.iterdir():
            if old.name not in texts:
                old.unlink()
        for name, text in texts.items():
            file = folder / name
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                # Renamed into place: it is never read half written.
                fresh = folder / f".{name}.new"
                fresh.write_text(text, encoding="utf-8")
                fresh.replace(file)

    def report(self, envelope: Mapping[str, Any]) -> None:
        """An envelope ended: tell the gateway, until it has taken it."""
        self._finals.put_nowait(final_body(envelope))

    async def _send(self) -> None:
        while True:
            body = await self._finals.get()
            pause = 0.1
            while not await asyncio.to_thread(self._post, body):
                await asyncio.sleep(pause)
                pause = min(_LAST_PAUSE_SECONDS, pause * 2)
            self._finals.task_done()

    async def drain(self, seconds: float) -> None:
        """Wait until every final report is taken, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._finals.join()

    async def stop(self) -> None:
        """End the process; its store stays."""
        if self._sender is not None:
            self._sender.cancel()
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            async with asyncio.timeout(15.0):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    def _post(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._internal_port, timeout=_POST_SECONDS)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key.read_text(encoding='ascii')}"}
        try:
            connection.request("POST", "/internal/v1/final", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answer.status in (400, 413, 422):
            self._talk.warning(f"The gateway took no report of an envelope that ended: it answered {answer.status}")
            return True
        return answer.status == 200

    def _on_line(self, text: str, is_stderr: bool) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            if text.startswith(_PREFIX):
                return  # the reason of a refusal: told as an error of ours
            self._talk.line(f"gateway~ | {text}")
            return
        if line.get("event") == "started" and not self._started.done():
            self._started.set_result(line)
        elif line.get("level") in ("warning", "error"):
            keys = " ".join(f"{key}={value}" for key, value in line.items() if key not in ("ts", "level", "event"))
            self._talk.line(f"gateway~ | {line['level']} {line.get('event')} {keys}")
        elif line.get("event") == "tools loaded":
            self._talk.info(f"The gateway has {line.get('tools')} tools now")


def final_body(envelope: Mapping[str, Any]) -> bytes:
    """The final report of an envelope in an end queue, as the sidecar of an end actor makes it."""
    error = envelope.get("error")
    headers = envelope.get("headers") or {}
    body: dict[str, Any] = {"id": envelope.get("id"), "status": "failed" if error else "succeeded"}
    if envelope.get("parent_id"):
        body["parent_id"] = envelope["parent_id"]
    if headers.get("asya-fanout"):
        body["fanout"] = headers["asya-fanout"]
    if isinstance(error, Mapping):
        body["error"] = {key: value for key, value in error.items() if key != "traceback"}
        body["actor"], body["attempt"] = error.get("actor"), error.get("attempt") or 1
    else:
        result = json.dumps(envelope.get("payload"), ensure_ascii=False, separators=(",", ":"))
        if len(result.encode()) > _MAX_RESULT_BYTES:
            body["result_ref"] = {"key": f"results/{envelope.get('id')}.json", "bytes": len(result.encode())}
        else:
            body["result"] = envelope.get("payload")
        body["actor"], body["attempt"] = "happy-end", 1
    body["at"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
