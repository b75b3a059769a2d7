"""One kept HTTP connection to the gateway's internal address. Called by `reporter`, one connection per thread; knows nothing of reports.

The standard library's `http.client`: httpx would cost an idle sidecar 12 MB. Loaded only where a gateway is set.
"""

import http.client
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

import asya_core

__all__ = ["Answer", "GatewayConnection"]

_MAX_ANSWER_BYTES: Final = 4_194_304
_ANSWER_PIECE_BYTES: Final = 65_536
_DENIED: Final = (401, 403)


class Answer(NamedTuple):
    """What the gateway said.

    Attributes:
        status: HTTP status.
        body: at most 4 MiB.
        retry_after_seconds: how long it asked to be left alone; 0 if it did not say.
    """

    status: int
    body: bytes
    retry_after_seconds: float = 0.0

    @property
    def problem(self) -> str:
        """One sentence, with the ``detail`` of a problem answer (RFC 9457) if there is one."""
        try:
            told = msgspec.json.decode(self.body)
            detail = told.get("detail") or told.get("code")
        except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError):
            detail = None
        return f"the gateway answered {self.status}" + (f": {detail[:300]}" if isinstance(detail, str) else "")


class GatewayConnection:
    """One kept HTTP connection to the gateway, used by one thread at a time.

    Args:
        url: ``http://`` or ``https://``, host, port, optional path.
        token_file: bearer token, read again when the file has changed and after 401 and 403; None sends none.
    """

    def __init__(self, url: str, token_file: Path | None) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._path = parts.path.rstrip("/")
        self._token_file = token_file
        self._token_of: tuple[int, int, int] | None = None
        self._token = ""
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, timeout_seconds: float) -> Answer:
        """POST JSON. Raises OSError with one sentence if there is no whole answer in time.

        A kept connection that turns out dead is replaced once: a server may close an idle one at any time. Redirects are not followed.
        """
        was_kept = self._connection is not None
        try:
            return self._post(path, body, timeout_seconds)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a token that fits no header
            self.close()
            if was_kept and isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                try:
                    return self._post(path, body, timeout_seconds)
                except (OSError, http.client.HTTPException) as second:
                    self.close()
                    raise OSError(_sentence(second)) from second
            raise OSError(_sentence(error)) from error

    def close(self) -> None:
        """Let go of the connection; the next post makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: bytes, timeout_seconds: float) -> Answer:
        until = time.monotonic() + timeout_seconds
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"asya-sidecar/{asya_core.__version__}",
        }
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._read_token(self._token_file)}"
        if self._connection is None:
            make = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
            self._connection = make(self._host, self._port, timeout=timeout_seconds)
        self._connection.request("POST", self._path + path, body, headers)
        response = self._connection.getresponse()
        if response.status in _DENIED:
            self._token_of = None
        return Answer(response.status, _read_all(response, until), _seconds(response.headers.get("Retry-After")))

    def _read_token(self, path: Path) -> str:
        found = path.stat()
        state = (found.st_mtime_ns, found.st_ino, found.st_size)
        if state != self._token_of:
            self._token = path.read_text(encoding="ascii", errors="replace").strip()
            self._token_of = state
        return self._token


def _read_all(response: http.client.HTTPResponse, until: float) -> bytes:
    """The answer's body. A server that drips is given up at `until`, as each single read would be in time."""
    pieces: list[bytes] = []
    size = 0
    while response.length != 0 and (piece := response.read1(_ANSWER_PIECE_BYTES)):  # at length 0 read1 would not end the response
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer is over {_MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > until:
            raise TimeoutError("the answer did not end in time")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()
    return b"".join(pieces)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else 0.0


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
