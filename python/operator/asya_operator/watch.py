"""List-watch: keeps a cache of each kind as the API server has it, and tells which keys changed. Called by `app`.

One `Reflector` per kind and watched namespace. It lists in pages, watches from the list's resourceVersion, opens again after the server
ends a watch, and lists anew after 410 or when it cannot know what it missed. It knows nothing of reconciles; `on_change` is a hint, not
a fact.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from asya_core.ops.backoff import Backoff
from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError
from asya_operator.kube import ApiUnavailable, Expired, Kube, NotFound
from asya_operator.resources import Resource

__all__ = ["Cache", "Cached", "Reflector"]

Key = tuple[str, str]
REOPEN_SECONDS: Final = 1.0
RETRY: Final = Backoff(initial_seconds=1.0, max_seconds=30.0)
MISSING_SECONDS: Final = 60.0
"""Between looks for a kind that the cluster does not have (KEDA's)."""


class Cached(Protocol):
    """What a cache holds."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        ...

    @property
    def resource_version(self) -> str:
        """As the API server gave it."""
        ...


T = TypeVar("T", bound=Cached)


class Cache(Generic[T]):
    """Objects of one kind by key."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> T | None:
        """The object, or None."""
        return self._objects.get(key)

    def put(self, cut: T, *, is_listed: bool = False) -> bool:
        """Take an object from the API server, unless the one that is held is newer. True if something changed.

        `is_listed`: take it though it is older: versions begin again after a restored backup, and the watch tells what is newer.
        """
        held = self._objects.get(cut.key)
        if held is not None and held.resource_version == cut.resource_version:
            return False
        if held is not None and not is_listed and not _is_newer(cut.resource_version, held.resource_version):
            return False
        self._objects[cut.key] = cut
        return True

    def drop(self, key: Key) -> T | None:
        """The object is gone."""
        return self._objects.pop(key, None)


def _is_newer(one: str, other: str) -> bool:
    # Since Kubernetes 1.35 resource versions are promised to be comparable as numbers; every server before has them so too.
    return int(one) > int(other) if one.isdigit() and other.isdigit() else one != other


class Reflector(Generic[T]):
    """Keeps a cache of one kind.

    Args:
        kube: the API server.
        resource: which kind.
        namespace: None for all.
        cache: to fill; several reflectors of one kind may share it, each for a namespace of its own.
        cut: makes what is kept of an object.
        on_change: called with old and new after each change; one of them may be None.
        on_restart: called with the reason of each new list or watch that was not planned.
        log: where to tell.
        is_optional: the kind may be absent from the cluster; the cache counts as filled then.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        *,
        namespace: str | None,
        cache: Cache[T],
        cut: Callable[[Mapping[str, Any]], T],
        on_change: Callable[[T | None, T | None], None],
        on_restart: Callable[[str, str], None],
        log: Log,
        is_optional: bool = False,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._namespace = namespace
        self._cache = cache
        self._cut = cut
        self._on_change = on_change
        self._on_restart = on_restart
        self._log = log.bind(kind=resource.kind)
        self._is_optional = is_optional
        self._failures = 0
        self.filled = asyncio.Event()
        self.is_missing = False
        """The cluster does not know the kind."""

    @property
    def kind(self) -> str:
        """Of its objects."""
        return self._resource.kind

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                await self._watch(await self._list())
            except NotFound:
                await self._missing()
            except Expired:
                self._on_restart(self._resource.kind, "expired")
            except AsyaError as error:
                self._failures += 1
                self._on_restart(self._resource.kind, "error")
                self._log.warning("list or watch failed", error=str(error), attempt=self._failures)
                await asyncio.sleep(RETRY.delay_seconds(self._failures, random.random))

    async def _missing(self) -> None:
        if not self.is_missing:
            self._log.warning("kind is not known to the API server", resource=f"{self._resource.plural}.{self._resource.group}")
        self.is_missing = True
        if self._is_optional:
            for each in list(self._cache):
                self._gone(each.key)
            self.filled.set()
        await asyncio.sleep(MISSING_SECONDS * (0.9 + random.random() / 5) if self._is_optional else 5.0)

    async def _list(self) -> str:
        seen: set[Key] = set()
        after = ""
        while True:
            page = await self._kube.list_page(self._resource, self._namespace, after)
            for raw in page.items:
                cut = self._cut(raw)
                seen.add(cut.key)
                self._put(cut, is_listed=True)
            after = page.next
            if not after:
                break
        for each in list(self._cache):
            if each.key not in seen and (self._namespace is None or each.key[0] == self._namespace):
                self._gone(each.key)
        was_missing, self.is_missing = self.is_missing, False
        if was_missing:
            self._log.info("kind is known now")
        self.filled.set()
        return page.resource_version

    async def _watch(self, version: str) -> None:
        """Watch, and open again where it ended, until the version is too old."""
        while True:
            try:
                async for event, raw in self._kube.watch(self._resource, self._namespace, version):
                    version = raw["metadata"]["resourceVersion"]
                    if event in ("ADDED", "MODIFIED"):
                        self._put(self._cut(raw))
                    elif event == "DELETED":
                        self._gone(self._cut(raw).key)
                reason = "ended"
                self._failures = 0  # not after a list: where watches are refused, lists would follow one another each second
            except ApiUnavailable as error:
                reason = "silent" if "Timeout" in error.message else "broken"
                self._log.debug("watch broke", error=str(error))
            if reason != "ended":
                self._on_restart(self._resource.kind, reason)
            await asyncio.sleep(REOPEN_SECONDS * (1 + random.random()))

    def _put(self, cut: T, *, is_listed: bool = False) -> None:
        old = self._cache.get(cut.key)
        if self._cache.put(cut, is_listed=is_listed):
            self._on_change(old, cut)

    def _gone(self, key: Key) -> None:
        old = self._cache.drop(key)
        if old is not None:
            self._on_change(old, None)
