"""Leadership: one process at a time acts, by a Lease of the API server. Called by `app`.

The rules are client-go's: a candidate takes a Lease whose record it has not seen change for `duration`, measured on its own clock; a
leader renews every `retry` and is none any more when the last renewal is older than `renew_deadline`. From that moment on `leads` is
False, so that no write leaves the process even if it was stopped for an hour and wakes up in the middle of something.

Ours and not `kubernetes.aio.leaderelection`: see the ADR on the API client.
"""

import asyncio
import datetime
import math
import random
from collections.abc import Callable
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError
from asya_operator.kube import Conflict, Kube, NotFound
from asya_operator.resources import LEASES
from asya_operator.settings import LeaseSettings

__all__ = ["LEASE", "Leadership"]

LEASE: Final = "asya-operator"
Json = dict[str, Any]


class Leadership:
    """A candidate for the Lease.

    Args:
        kube: the API server.
        namespace: of the Lease.
        identity: of this process; never two alike.
        settings: times.
        clock: the process's.
        log: where to tell.
        on_change: called when it begins to lead.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        identity: str,
        settings: LeaseSettings,
        clock: Clock,
        log: Log,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._settings = settings
        self._clock = clock
        self._log = log
        self._on_change = on_change
        self._renewed = float("-inf")
        self._seen: tuple[Json, float] | None = None
        self._holds = False
        self.acquired = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this process may write at this moment."""
        return self._holds and self._clock.monotonic() - self._renewed < self._settings.renew_deadline_seconds

    async def run(self) -> None:
        """Wait for the Lease, then renew it; returns when it is lost."""
        while not await self._try():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(self._settings.retry_seconds * (1 + random.random() / 5))
        self._log.info("leading", identity=self._identity)
        self._on_change(True)
        self.acquired.set()
        while self.leads:
            await asyncio.sleep(self._settings.retry_seconds)
            left = self._settings.renew_deadline_seconds - (self._clock.monotonic() - self._renewed)
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self._try()
            except TimeoutError:
                break
        self._holds = False
        self._on_change(False)
        self._log.error("leadership lost", identity=self._identity)

    async def release(self) -> None:
        """Give the Lease up, so that the next one need not wait; best effort."""
        if not self._holds:
            return
        self._holds = False
        try:
            lease = await self._kube.get(LEASES, self._namespace, LEASE)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now(self._clock)}
                await self._kube.replace(LEASES, lease, is_lease=True)
        except AsyaError as error:
            self._log.warning("lease not released", error=str(error))

    async def _try(self) -> bool:
        """One attempt to take or renew; True if this process holds it."""
        begun = self._clock.monotonic()
        try:
            held = await self._take_or_renew()
        except Conflict:
            return False  # somebody was faster, or an earlier write of ours came late; the next look tells
        except AsyaError as error:
            self._log.warning("lease not reachable", error=str(error))
            return False
        if held:
            # Of the moment before the call: others count from when they saw it, which is later.
            self._renewed = begun
        self._holds = held
        return held

    async def _take_or_renew(self) -> bool:
        try:
            lease = await self._kube.get(LEASES, self._namespace, LEASE)
        except NotFound:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": LEASE, "namespace": self._namespace},
                "spec": self._record({}),
            }
            await self._kube.create(LEASES, body, is_lease=True)
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if self._seen is None or self._seen[0] != spec:
            self._seen = (spec, self._clock.monotonic())
        if holder not in ("", self._identity):
            lasts = float(spec.get("leaseDurationSeconds") or self._settings.duration_seconds)
            if self._clock.monotonic() < self._seen[1] + lasts:
                return False
            self._log.info("lease expired", holder=holder)
        lease["spec"] = self._record(spec)
        answer = await self._kube.replace(LEASES, lease, is_lease=True)
        self._seen = (answer.get("spec") or {}, self._clock.monotonic())
        return True

    def _record(self, old: Json) -> Json:
        now = _now(self._clock)
        is_ours = old.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, math.ceil(self._settings.duration_seconds)),
            "acquireTime": old.get("acquireTime", now) if is_ours else now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if is_ours or not old else 1),
        }


def _now(clock: Clock) -> str:
    return datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
