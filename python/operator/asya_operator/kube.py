"""Calls to the Kubernetes API: dictionaries in, dictionaries out. The only importer of `kubernetes` (and of aiohttp, its transport).

Used by `watch`, `apply`, `lease`, `events` and `check`. It throttles (20 calls at a time; a 429 pauses all of them for as long as the
server asks), times out, counts, and refuses to write when the fence is closed. What a call is for it does not know.

Of `kubernetes.aio` it uses the generic client and the configuration, not the typed classes (docs/decisions, the ADR on the API client).
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import getproxies

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable
from asya_operator.resources import Resource

__all__ = ["ApiError", "ApiUnavailable", "Conflict", "Expired", "Kube", "NotFound", "WritesClosed"]

Json = dict[str, Any]
CALL_SECONDS: Final = 20.0
MAX_CALLS: Final = 20
PAGE: Final = 25
"""Objects per page of a list: five kinds are listed at a time, and what their pages leave behind stays. After a restart with 1,000 actors
500 a page leave 124 MB, 100 leave 86, 25 leave 77, which is what the process has without a restart."""
WATCH_SECONDS: Final = (240, 300)
WATCH_SLACK_SECONDS: Final = 15.0
LINE_BYTES: Final = 8 * 2**20
"""A watch event holds one object; etcd takes 1.5 MB."""


class ApiError(Refused):
    """The API server said no. `status` is the HTTP status, `reason` the API's word, `body` its Status object."""

    def __init__(self, status: int, reason: str, message: str, body: Json) -> None:
        super().__init__("api_refused", message)
        self.status = status
        self.reason = reason
        self.body = body

    @property
    def namespace_ends(self) -> bool:
        """Whether it refused since the namespace is being deleted."""
        causes = ((self.body.get("details") or {}).get("causes")) or []
        return any(cause.get("reason") == "NamespaceTerminating" for cause in causes) or "because it is being terminated" in self.message


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: somebody else wrote, or the object exists."""


class Expired(ApiError):
    """410: list anew."""


class ApiUnavailable(Unavailable):
    """No answer, 429 or 5xx; trying again helps. `status` is 0 without an answer."""

    def __init__(self, status: int, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__("api_unavailable", message, retry_after_seconds=retry_after_seconds)
        self.status = status


class WritesClosed(AsyaError):
    """This process may not write: it does not lead, or does not know whether it still does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    items: list[Json]
    resource_version: str
    next: str


async def configure(kubeconfig: Path | None) -> Configuration:
    """Where the API server is and as whom. Raises RemoteFault ``bad_kubeconfig``."""
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        where = f"Kubeconfig {kubeconfig}" if kubeconfig else "The pod's service account"
        raise RemoteFault("bad_kubeconfig", f"{where} cannot be used: {error}", "run in a pod, or set ASYA_OPERATOR_KUBECONFIG") from error
    return configuration


class Kube:
    """The API server.

    Args:
        configuration: of `configure`.
        observe: called after each call with verb, resource and HTTP status (0: no answer).
        may_write: the fence; asked before each write but those of the Lease.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        observe: Callable[[str, str, int], None] = lambda *_: None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        configuration.connection_pool_maxsize = 0  # our own limit, watches apart
        configuration.retries = False
        # Where no proxy is set there is none to look for: aiohttp asks threads twice per call, for a proxy and for a ~/.netrc.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
        self._client = ApiClient(configuration)
        self._client.user_agent = "asya-operator"
        self._observe = observe
        self._may_write = may_write
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._paused_until = 0.0

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------------------------------------------------------------- reads

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The object. Raises `NotFound`, `ApiError`, `ApiUnavailable`."""
        return await self._call("get", "GET", resource, resource.path(namespace, name))

    async def get_path(self, path: str) -> Json:
        """A document that is no object, such as a discovery. Raises as `get`."""
        return await self._request("get", "GET", "discovery", path)

    async def list_page(self, resource: Resource, namespace: str | None, after: str = "") -> Page:
        """One page, in the order of names. Raises `Expired` if the rest of the list is no longer known; else as `get`."""
        query = {"limit": str(PAGE), **({"continue": after} if after else {}), **resource.selection}
        found = await self._call("list", "GET", resource, f"{resource.path(namespace)}?{urlencode(query)}")
        meta = found.get("metadata") or {}
        return Page(items=found.get("items") or [], resource_version=meta.get("resourceVersion", ""), next=meta.get("continue", ""))

    async def watch(self, resource: Resource, namespace: str | None, resource_version: str) -> AsyncIterator[tuple[str, Json]]:
        """Changes after `resource_version`: (ADDED | MODIFIED | DELETED | BOOKMARK, object), until the server or the deadline ends it.

        Raises `Expired` if it is too old, `ApiUnavailable` if the connection breaks or is silent beyond the deadline.
        """
        seconds = random.randint(*WATCH_SECONDS)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            **resource.selection,
        }
        timeout = aiohttp.ClientTimeout(total=seconds + WATCH_SLACK_SECONDS, sock_connect=CALL_SECONDS)
        await self._wait_for_pause()
        try:
            response = (await self._send("GET", f"{resource.path(namespace)}?{urlencode(query)}", None, {}, timeout)).response
            self._observe("watch", resource.plural, response.status)
            try:
                if response.status != 200:
                    raise self._error(response.status, response.headers, await response.read())
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event.get("object") or {}
                        raise self._error(int(status.get("code") or 500), {}, json.dumps(status).encode())
                    yield event["type"], event["object"]
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiUnavailable(0, f"Watch of {resource.plural} broke: {type(error).__name__} {error}") from error

    # ------------------------------------------------------------------------------------------------------------------------ writes

    async def apply(self, resource: Resource, manifest: Mapping[str, Any], *, manager: str, status: bool = False) -> Json:
        """Server-side apply with force; gives the object as it is then. Raises `Conflict` if a resourceVersion in it is old."""
        meta = manifest["metadata"]
        path = resource.path(meta["namespace"], meta["name"]) + ("/status" if status else "")
        query = urlencode({"fieldManager": manager, "force": "true"})
        kind = {"Content-Type": "application/apply-patch+yaml"}
        return await self._write(
            "patch", "PATCH", resource, f"{path}?{query}", dict(manifest), kind, subresource="/status" if status else ""
        )

    async def create(self, resource: Resource, manifest: Mapping[str, Any], *, is_lease: bool = False) -> Json:
        """POST. Raises `Conflict` if it exists."""
        path = resource.path(manifest["metadata"]["namespace"])
        return await self._write("create", "POST", resource, path, dict(manifest), {}, is_lease=is_lease)

    async def replace(self, resource: Resource, manifest: Mapping[str, Any], *, is_lease: bool = False) -> Json:
        """PUT. Raises `Conflict` if its resourceVersion is old."""
        meta = manifest["metadata"]
        return await self._write(
            "update", "PUT", resource, resource.path(meta["namespace"], meta["name"]), dict(manifest), {}, is_lease=is_lease
        )

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Json:
        """Merge patch. Raises `NotFound`."""
        kind = {"Content-Type": "application/merge-patch+json"}
        return await self._write("patch", "PATCH", resource, resource.path(namespace, name), dict(patch), kind)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete, its dependents in the background; not there is done."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._write("delete", "DELETE", resource, resource.path(namespace, name), options, {})
        except NotFound:
            pass

    # ------------------------------------------------------------------------------------------------------------------------- inside

    async def _write(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        body: Json,
        headers: dict[str, str],
        *,
        is_lease: bool = False,
        subresource: str = "",
    ) -> Json:
        if not is_lease and not self._may_write():
            raise WritesClosed("writes_closed", "This process does not lead, so it does not write")
        return await self._request(verb, method, resource.plural + subresource, path, body, headers, may_wait=not is_lease)

    async def _call(self, verb: str, method: str, resource: Resource, path: str) -> Json:
        return await self._request(verb, method, resource.plural, path)

    async def _request(
        self,
        verb: str,
        method: str,
        kind: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
        *,
        may_wait: bool = True,
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        if may_wait:
            await self._wait_for_pause()
        async with self._slots if may_wait else _Free():
            if verb in ("patch", "create", "update", "delete") and may_wait and not self._may_write():
                raise WritesClosed("writes_closed", "This process does not lead any more, so it does not write")
            try:
                response = (await self._send(method, path, body, headers or {}, timeout)).response
                try:
                    status, found, answered = response.status, await response.read(), response.headers
                finally:
                    response.release()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._observe(verb, kind, 0)
                raise ApiUnavailable(0, f"API server cannot be reached: {type(error).__name__} {error}") from error
        self._observe(verb, kind, status)
        if status >= 300:
            raise self._error(status, answered, found)
        made = json.loads(found)
        return made if isinstance(made, dict) else {}

    async def _send(self, method: str, path: str, body: Json | None, headers: dict[str, str], timeout: aiohttp.ClientTimeout) -> Any:
        accept = {"Accept": "application/json", **headers}
        arguments = await self._client.param_serialize(method, path, header_params=accept, body=body, auth_settings=["BearerToken"])
        return await self._client.call_api(*arguments, _request_timeout=timeout)

    def _error(self, status: int, headers: Mapping[str, str], raw: bytes) -> AsyaError:
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        body = body if isinstance(body, dict) else {}
        message = str(body.get("message") or raw[:200].decode("utf-8", "replace") or f"HTTP {status}")
        if status == 429 or status >= 500:
            wait = _retry_after(headers, body)
            if status == 429:
                self._paused_until = max(self._paused_until, time.monotonic() + max(wait, 0.5))
            return ApiUnavailable(status, f"API server answered {status}: {message}", retry_after_seconds=wait)
        kind = {404: NotFound, 409: Conflict, 410: Expired}.get(status, ApiError)
        return kind(status, str(body.get("reason") or ""), message, body)

    async def _wait_for_pause(self) -> None:
        while (left := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 (a date, not an event)
            await asyncio.sleep(left * (1 + random.random() / 4))


class _Free:
    """A slot that is always free: the Lease is renewed whatever else goes on."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def _retry_after(headers: Mapping[str, str], body: Json) -> float:
    given = headers.get("Retry-After") or (body.get("details") or {}).get("retryAfterSeconds") or 0
    try:
        return min(60.0, max(0.0, float(given)))
    except (TypeError, ValueError):
        return 1.0


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in stream.iter_any():
        held += chunk
        if len(held) > LINE_BYTES:
            raise ValueError(f"an event is over {LINE_BYTES} bytes")
        *lines, rest = held.split(b"\n")
        for line in lines:
            if line:
                yield bytes(line)
        held = bytearray(rest)
