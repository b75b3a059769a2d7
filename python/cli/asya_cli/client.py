"""The gateway as the command line sees it: REST and a stream that resumes. The only httpx.

Called by the commands. Every failure is an error of ours with a hint; no foreign exception escapes.
"""

import json
import ssl
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from asya_cli.config import Config
from asya_cli.sse import Event, read_events
from asya_core import __version__
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx's own command would import rich and pygments: 60 ms
import httpx  # noqa: E402

__all__ = ["GatewayClient"]

_TIMEOUT_SECONDS: Final = 20.0
_STREAM_SILENCE_SECONDS: Final = 40.0
"""The gateway sends something every 10 s."""
_RESUME_SECONDS: Final = 30.0
"""How long a cut stream is resumed silently."""
_TRIES: Final = 3
_PAUSES: Final = (0.2, 0.5)
_MCP_HANDSHAKE: Final = "2025-11-25"
_MCP_STATELESS: Final = "2026-07-28"
_PAGE: Final = 200
"""Envelopes that are asked for at once, the most that a gateway gives."""
_PATIENCE_SECONDS: Final = 10.0
"""How long a gateway that asks for a slower pace is obeyed; one that wants more is told to the user."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class GatewayClient:
    """A context: close it.

    Args:
        config: address and credential.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._skew_seconds: float | None = None
        headers = {"User-Agent": f"asya/{__version__}", "Accept": "application/json"}
        if config.token is not None:
            headers["Authorization"] = f"Bearer {config.token.value}"
        address = urlsplit(config.url.value)
        self._http = httpx.Client(
            base_url=config.url.value,
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            # Reading the list of authorities takes 30 ms; without TLS nobody is trusted.
            verify=True if address.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=address.hostname not in _LOOPBACK,  # a proxy of the environment cannot reach this machine's own loopback
        )

    def __enter__(self) -> "GatewayClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        self._http.close()

    @property
    def has_key(self) -> bool:
        """Whether it asks with a credential."""
        return self._config.token is not None

    @property
    def is_chosen(self) -> bool:
        """Whether the gateway's address was set somewhere, and is not the default."""
        return self._config.url.origin != "default"

    @property
    def skew_seconds(self) -> float | None:
        """How far the gateway's clock is ahead of this one's, by its last answer, to a second; None if it told no time."""
        return self._skew_seconds

    def mcp_version(self, method: str) -> str:
        """The revision of MCP that the gateway speaks when asked by ``initialize`` or ``server/discover``. Raises Refused, Unavailable."""
        meta = {"name": "asya", "version": __version__}
        if method == "initialize":
            params: dict[str, Any] = {"protocolVersion": _MCP_HANDSHAKE, "capabilities": {}, "clientInfo": meta}
            headers = {}
        else:
            prefix = "io.modelcontextprotocol/"
            names = {f"{prefix}protocolVersion": _MCP_STATELESS, f"{prefix}clientInfo": meta, f"{prefix}clientCapabilities": {}}
            params, headers = {"_meta": names}, {"MCP-Protocol-Version": _MCP_STATELESS, "Mcp-Method": method}
        headers["Accept"] = "application/json, text/event-stream"
        answer = self._ask("POST", "/mcp", json_body={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=headers)
        result = answer.get("result")
        if not isinstance(result, dict):
            message = (answer.get("error") or {}).get("message") or "no result"
            raise Refused("no_mcp", f"MCP {method} is refused: {message}", "is it a gateway of this version?")
        versions = result.get("supportedVersions")
        return str(result.get("protocolVersion") or ", ".join(versions if isinstance(versions, list) else []) or "nothing")

    def tools(self) -> list[dict[str, Any]]:
        """The tools that this caller may call."""
        return list(self._ask("GET", "/tools")["tools"])

    def tool(self, name: str) -> dict[str, Any]:
        """One tool. Raises Refused ``no_such_tool``."""
        return self._ask("GET", f"/tools/{quote(name, safe='')}")

    def call(self, name: str, arguments: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Call a tool; gives the envelope's view. Tried again with one key, so it is one envelope however often an answer is lost."""
        key = idempotency_key or str(uuid.uuid4())
        return self._ask("POST", f"/tools/{quote(name, safe='')}", json_body=arguments, headers={"Idempotency-Key": key})

    def envelope(self, envelope_id: str) -> dict[str, Any]:
        """The view of an envelope. Raises Refused ``no_such_envelope``."""
        return self._ask("GET", f"/envelopes/{quote(envelope_id, safe='')}")

    def cancel(self, envelope_id: str) -> dict[str, Any]:
        """Give an envelope up; gives its view afterwards."""
        return self._ask("POST", f"/envelopes/{quote(envelope_id, safe='')}/cancel")

    def envelopes(self, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Views without results, newest first, page by page; `filters` as in docs/reference/gateway.md."""
        cursor: dict[str, str] = {}
        while True:
            query = urlencode({**filters, **cursor, "brief": "true", "limit": str(_PAGE)})
            page = self._ask("GET", f"/envelopes?{query}")
            yield from page["envelopes"]
            if "next" not in page:
                return
            cursor = {"cursor": page["next"]}

    def record(self, envelope_id: str) -> dict[str, Any]:
        """What an end actor stored of it. Raises Refused ``no_such_envelope``, ``no_such_record``, ``not_configured``, ``forbidden``."""
        return self._ask("GET", f"/envelopes/{quote(envelope_id, safe='')}/record")

    def replay(self, envelope_id: str, *, actor: str | None = None, start: str = "failed", expected: str | None = None) -> dict[str, Any]:
        """Send an envelope again; gives the view of the new one. Tried again as it is one replay however often an answer is lost.

        Args:
            envelope_id: of the old one, which has ended.
            actor: where to begin instead.
            start: ``failed`` or ``start``.
            expected: its last replay, None if it has none; with another one it is refused.

        Raises Refused ``already_replayed``, ``not_final``, ``not_replayable``, ``no_such_record``, ``not_configured``, ``forbidden``.
        """
        body: dict[str, Any] = {"from": start, "if_replayed_as": expected} | ({} if actor is None else {"actor": actor})
        return self._ask("POST", f"/envelopes/{quote(envelope_id, safe='')}/replay", json_body=body)

    def follow(self, envelope_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Kind and data of each event, each once, in order; the last is ``final`` with the view. A cut stream is resumed for 30 s.

        Raises Refused, Unavailable.
        """
        last, cut_at = "0", None
        while True:
            try:
                for event in self._stream(envelope_id, last):
                    last, cut_at = event.id or last, None
                    yield event.kind, json.loads(event.data)
                    if event.kind == "final":
                        return
                problem: AsyaError = Unavailable("gateway", f"Gateway {self._url} closed the stream", "try again")
            except Unavailable as error:
                problem = error
            cut_at = time.monotonic() if cut_at is None else cut_at
            if time.monotonic() - cut_at > _RESUME_SECONDS:
                raise problem
            time.sleep(0.5)

    def _stream(self, envelope_id: str, last: str) -> Iterator[Event]:
        path = f"/envelopes/{quote(envelope_id, safe='')}/stream"
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last != "0" else {})
        timeout = httpx.Timeout(_TIMEOUT_SECONDS, read=_STREAM_SILENCE_SECONDS)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code == 204:
                    yield Event(kind="final", id=last, data=json.dumps(self.envelope(envelope_id)))
                    return
                if answer.status_code != 200:
                    answer.read()
                    raise self._refusal(answer)
                yield from read_events(answer.iter_lines())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _ask(self, method: str, path: str, *, json_body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        content = None if json_body is None else json.dumps(json_body, ensure_ascii=False, allow_nan=False).encode()
        sent = dict(headers or {}) | ({"Content-Type": "application/json"} if content is not None else {})
        problem: AsyaError | None = None
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSES[attempt - 1])
            try:
                answer = self._http.request(method, path, content=content, headers=sent)
            except httpx.HTTPError as error:
                problem = self._unreachable(error)
                continue
            self._skew_seconds = _skew(answer.headers.get("date", ""))
            if answer.is_success:
                return self._document(answer)
            problem = self._refusal(answer)
            wait = _seconds_of(answer.headers.get("retry-after", ""))
            if answer.status_code == 429 and wait is not None and wait <= _PATIENCE_SECONDS:
                time.sleep(wait)
            elif not isinstance(problem, Unavailable):
                raise problem
        assert problem is not None
        raise problem

    @property
    def _url(self) -> str:
        return self._config.url.value

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            document = json.loads(next(read_events(iter(answer.text.splitlines()))).data) if is_stream else answer.json()
        except (ValueError, StopIteration):
            document = None
        if not isinstance(document, dict):
            raise Refused("no_gateway", f"{self._url} answers, but is no gateway of Asya", self._where())
        return document

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable("gateway", f"Gateway {self._url} unreachable: {_reason(error)}", self._where())

    def _where(self) -> str:
        return f'start one with "asya run . --serve --gateway", or set ASYA_CLI_MCP_URL (now: {self._config.url.origin})'

    def _refusal(self, answer: httpx.Response) -> AsyaError:
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            problem = {"code": "no_gateway", "detail": f"{self._url} answered {answer.status_code}", "hint": self._where()}
        code, detail, hint = str(problem["code"]), str(problem.get("detail", "")), str(problem.get("hint", ""))
        match answer.status_code:
            case 400 | 411 | 413 | 415 | 422:
                return RemoteFault(code, detail + _listed(problem), hint or "see asya mcp show TOOL")
            case 501:
                return Refused(code, detail, hint or "ask who runs the gateway")
            case 401:
                return Refused(code, detail, "set ASYA_CLI_TOKEN to a key of this gateway, or give --token-file")
            case status if status >= 500:
                return Unavailable(code, detail, hint or "try again later")
            case _:
                return Refused(code, detail, hint or "ask who runs the gateway")


def _seconds_of(text: str) -> float | None:
    return float(text) if text.isdecimal() else None


def _skew(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - int(time.time())
    except ValueError:
        return None


def _listed(problem: Mapping[str, Any]) -> str:
    errors = problem.get("errors")
    if not isinstance(errors, list) or len(errors) < 2:
        return ""
    return ": " + "; ".join(f"{each.get('pointer') or 'arguments'} {each.get('message', '')}" for each in errors[:20])


def _reason(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "no answer to connecting"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError():
            text = str(error).lower()
            if "refused" in text:
                return "connection refused"
            if "name" in text or "resolve" in text or "nodename" in text:
                return "its name cannot be resolved"
            return " ".join(str(error).split()) or "cannot connect"
        case _:
            return " ".join(str(error).split()) or type(error).__name__
