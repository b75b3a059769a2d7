"""What stands between a test and an SQS-compatible server: counts calls, breaks what a test wants broken, and closes gaps to AWS.

Used by the contract suite, the fault experiments and the exact counts. It runs in a thread of the test's process, on 127.0.0.1.

Gaps to AWS that it closes, for every server behind it:

- **Polls.** The servers hold a poll whose caller is gone and hand it the next message, which is then hidden from everybody. Here a long
  poll is many short ones, made for as long as the caller is there.
- **Origin.** Neither server tells `DeadLetterQueueSourceArn` of a message that its redrive policy moved; here it is remembered which queue
  each message was sent to.
- **moto** answers several callers at a time without a lock and hands one message to two of them: its calls are made one by one.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from tests.loopback import Loopback

T = TypeVar("T")
Json = dict[str, Any]
POLL_SECONDS: Final = 0.02
MOST_POLL_SECONDS: Final = 0.3
PREFIX: Final = "AmazonSQS."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller is told. `status` 0: nothing, the connection is closed."""

    status: int
    body: Json


Forward = Callable[[Json], Coroutine[Any, Any, Reply]]
Rule = Callable[[str, Json, Forward], Coroutine[Any, Any, Reply]]
"""Given the action, its arguments and a way to the server, it answers the caller."""


def error(status: int, code: str, message: str = "made by a test") -> Reply:
    """An answer as AWS's with an error in it."""
    return Reply(status=status, body={"__type": f"com.amazonaws.sqs#{code}", "message": message})


DROPPED: Final = Reply(status=0, body={})


class Front:
    """A server of its own in front of another.

    Args:
        endpoint: of the server behind.
        one_by_one: it must not be asked twice at a time.
        delay_seconds: before each answer, as a network has it.
    """

    def __init__(self, endpoint: str, *, one_by_one: bool = False, delay_seconds: float = 0.0) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        self._host, self._upstream_port = parts.hostname, parts.port or 80
        self._one_by_one = one_by_one
        self.delay_seconds = delay_seconds
        self.calls: Counter[str] = Counter()
        self.rule: Rule | None = None
        self._sent: dict[str, str] = {}
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._door = Loopback(self._serve, limit=1 << 22)
        self._background: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sqs-front", daemon=True)
        self._thread.start()
        self.port = 0
        self._run(self._begin())

    @property
    def endpoint(self) -> str:
        """Where callers go."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Refuse connections and break those that are open, until `heal`."""
        self._run(self._door.end())

    def heal(self) -> None:
        """End `cut`."""
        self._run(self._listen())

    def close(self) -> None:
        """End it."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -------------------------------------------------------------------------------------------------------------- inside

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _begin(self) -> None:
        self._lock = asyncio.Lock()
        await self._listen()

    async def _listen(self) -> None:
        await self._door.listen(self.port)
        self.port = self._door.port

    async def _end(self) -> None:
        await self._door.end()
        await asyncio.gather(*self._background, return_exceptions=True)
        for _, writer in self._idle:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._idle), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while request := await _read(reader):
                headers, body = request
                action = headers.get("x-amz-target", "").removeprefix(PREFIX)
                self.calls[action] += 1
                asked = self._loop.create_task(self._answer(action, json.loads(body or b"{}")))
                gone = self._loop.create_task(reader.read(1))  # nothing comes before the answer but the end
                try:
                    await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (asked, gone):
                        task.cancel()
                    await asyncio.wait((asked, gone))
                reply = DROPPED if asked.cancelled() else asked.result()
                if reply.status == 0:
                    return
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(_written(reply))
                await writer.drain()

    async def _answer(self, action: str, asked: Json) -> Reply:
        async def forward(arguments: Json) -> Reply:
            return await self._forward(action, arguments)

        return await (forward(asked) if self.rule is None else self.rule(action, asked, forward))

    async def _forward(self, action: str, asked: Json) -> Reply:
        if action == "ReceiveMessage":
            reply = await self._poll(asked)
        else:
            reply = await self._upstream(action, asked)
        if reply.status == 200:
            self._remember_origins(action, asked, reply.body)
        return reply

    async def hide(self, queue_url: str, handle: str, seconds: int) -> None:
        """Change a message's visibility behind the callers' backs. For rules."""
        arguments = {"QueueUrl": queue_url, "ReceiptHandle": handle, "VisibilityTimeout": seconds}
        await self._upstream("ChangeMessageVisibility", arguments)

    async def _poll(self, asked: Json) -> Reply:
        wait = int(asked.get("WaitTimeSeconds", 0))
        until = self._loop.time() + wait
        pause = POLL_SECONDS
        while True:
            receiving = self._loop.create_task(self._receive(asked))
            self._background.add(receiving)
            receiving.add_done_callback(self._background.discard)
            try:
                reply = await asyncio.shield(receiving)
            except asyncio.CancelledError:  # the caller left between the server's answer and its own
                self._background.add(task := self._loop.create_task(self._put_back(asked, receiving)))
                task.add_done_callback(self._background.discard)
                raise
            if reply.status != 200 or reply.body.get("Messages") or self._loop.time() >= until:
                return reply
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MOST_POLL_SECONDS)

    async def _receive(self, asked: Json) -> Reply:
        return await self._upstream("ReceiveMessage", {**asked, "WaitTimeSeconds": 0})

    async def _put_back(self, asked: Json, receiving: "asyncio.Task[Reply]") -> None:
        found = (await receiving).body.get("Messages") or ()
        entries = [{"Id": each["MessageId"], "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0} for each in found]
        if entries:
            await self._upstream("ChangeMessageVisibilityBatch", {"QueueUrl": asked["QueueUrl"], "Entries": entries})

    def _remember_origins(self, action: str, asked: Json, answer: Json) -> None:
        queue = str(asked.get("QueueUrl", "")).rpartition("/")[2]
        if action == "SendMessageBatch":
            for each in answer.get("Successful", ()):
                self._sent[each["MessageId"]] = queue
        elif action == "ReceiveMessage":
            for each in answer.get("Messages") or ():
                source = self._sent.get(each["MessageId"], queue)
                if source != queue:
                    each.setdefault("Attributes", {})["DeadLetterQueueSourceArn"] = f"arn:aws:sqs:us-east-1:000000000000:{source}"

    async def _upstream(self, action: str, asked: Json) -> Reply:
        if self._one_by_one:
            async with self._lock:
                return await self._ask(action, asked)
        return await self._ask(action, asked)

    async def _ask(self, action: str, asked: Json) -> Reply:
        body = json.dumps(asked).encode()
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._host}:{self._upstream_port}\r\nX-Amz-Target: {PREFIX}{action}\r\n"
            "Content-Type: application/x-amz-json-1.0\r\n"
            "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        while True:
            reader, writer = (
                self._idle.pop() if self._idle else await asyncio.open_connection(self._host, self._upstream_port, limit=1 << 22)
            )
            try:
                writer.write(head.encode() + body)
                answer = await _read(reader)
            except OSError:
                answer = None
            except BaseException:
                writer.close()
                raise
            if answer is not None:
                headers, text = answer
                if headers.get("connection") == "close":
                    writer.close()
                else:
                    self._idle.append((reader, writer))
                return Reply(status=int(headers["status"]), body=json.loads(text or b"{}"))
            writer.close()  # a kept connection that the server had closed


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes] | None:
    """A request or an answer: headers, lower-case, with the status as `status`; and the body. None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    headers["status"] = first.split(" ")[1]
    if first.startswith("HTTP/1.0"):
        headers["connection"] = "close"
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return headers, body
    return headers, await reader.readexactly(int(headers.get("content-length", 0)))


def _written(reply: Reply) -> bytes:
    body = json.dumps(reply.body).encode()
    with suppress(KeyError):
        code = reply.body["__type"].rpartition("#")[2]
        extra = f"x-amzn-query-error: {code};{'Sender' if reply.status < 500 else 'Receiver'}\r\n"
        return (
            f"HTTP/1.1 {reply.status} .\r\nContent-Type: application/x-amz-json-1.0\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    return f"HTTP/1.1 {reply.status} .\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
