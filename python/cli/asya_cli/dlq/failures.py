"""A failed envelope as a person looks at it, and which of them are meant. Pure: records and views → values.

Called by the sources and by `asya_cli.commands.dlq`. Knows neither gateway nor storage nor broker.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asya_core.ops.settings import parse_duration
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import split_entry

__all__ = ["GIVEN_UP", "Failure", "Group", "Wanted", "groups", "parse_rate", "parse_since"]

GIVEN_UP: Final = {"deadline_exceeded": "expired", "cancelled": "cancelled"}
"""Error codes of envelopes that nobody waits for any more, and the gateway's status of them: they are meant only where one asks for the
code by name."""
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One envelope that ended in error-end.

    Attributes:
        id: of the envelope.
        at: when it failed, in UTC, or None.
        code: of the error, such as ``handler_error``.
        type: of the exception, or None.
        mro: the exception's classes, as the record names them.
        message: of the error.
        actor: that failed.
        attempt: the last one.
        tool: that was called, if that is known.
        flow: that it went through, if that is known.
        replayed_as: id of its last replay; empty if it has none.
        key: where its record is, if it was found in a storage.
    """

    id: str
    at: datetime | None
    code: str
    type: str | None
    mro: tuple[str, ...]
    message: str
    actor: str
    attempt: int
    tool: str | None = None
    flow: str | None = None
    replayed_as: str = ""
    key: str = ""

    @classmethod
    def of_record(cls, record: Mapping[str, Any], *, at: datetime | None = None, replayed_as: str = "", key: str = "") -> "Failure":
        """A record of error-end. What is missing in it, as in one that a broker gave up on, is taken from its place in the route.

        Args:
            record: the envelope as it was stored.
            at: when it was stored: stands for a time that the record does not have.
            replayed_as: its last replay, empty for none.
            key: where it is stored.
        """
        error = _mapping(record.get("error"))
        entries = _entries(record)
        current = _mapping(record.get("route")).get("current")
        place = current if isinstance(current, int) and 0 <= current < len(entries) else None
        return cls(
            id=str(record.get("id", "")),
            at=_time(error.get("at")) or at,
            actor=str(error.get("actor") or ("" if place is None else split_entry(entries[place])[0])),
            flow=next((entry.removeprefix("start-") for entry in entries if entry.startswith("start-")), None),
            replayed_as=replayed_as,
            key=key,
            **_told(error),
        )

    @classmethod
    def of_view(cls, view: Mapping[str, Any]) -> "Failure":
        """An envelope as the gateway shows it."""
        error = _mapping(view.get("error"))
        return cls(
            id=str(view["id"]),
            at=_time(error.get("at")) or _time(view.get("finished_at")),
            actor=str(error.get("actor") or view.get("actor") or ""),
            tool=view.get("tool"),
            flow=view.get("flow"),
            replayed_as=str(view.get("replayed_as") or ""),
            **_told(error),
        )

    @property
    def error(self) -> str:
        """The exception's type, or the code where there was none."""
        return self.type or self.code

    def is_a(self, name: str) -> bool:
        """Whether `name` is its code or a class of its exception's mro, in full or by its last part, as in a retry policy."""
        names = (self.type, *self.mro)
        return name == self.code or any(each is not None and name in (each, each.rpartition(".")[2]) for each in names)

    def as_json(self) -> dict[str, Any]:
        """What ``--output json`` tells of it; what is not known is left out."""
        told: dict[str, Any] = {
            "id": self.id,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if self.at else None,
            "actor": self.actor or None,
            "attempt": self.attempt,
            "tool": self.tool,
            "flow": self.flow,
            "code": self.code,
            "type": self.type,
            "message": self.message,
            "replayed_as": self.replayed_as or None,
        }
        return {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which failures are meant; None and an empty set are no filter.

    Attributes:
        error: a code, or an exception's name.
        code: a code.
        actor: that failed.
        tool: that was called.
        flow: in the spelling of the function or of the actors.
        since: failed then or later.
        ids: these alone.
        replayed: also those that have been replayed.
    """

    error: str | None = None
    code: str | None = None
    actor: str | None = None
    tool: str | None = None
    flow: str | None = None
    since: datetime | None = None
    ids: frozenset[str] = frozenset()
    replayed: bool = False

    def takes(self, failure: Failure) -> bool:
        """Whether `failure` is meant."""
        asked = {self.error, self.code}
        return (
            (not self.ids or failure.id in self.ids)
            and (bool(self.ids) or failure.code not in GIVEN_UP or failure.code in asked)
            and (self.code is None or failure.code == self.code)
            and (self.error is None or failure.is_a(self.error))
            and (self.actor is None or failure.actor == self.actor)
            and (self.tool is None or failure.tool == self.tool)
            and (self.flow is None or _dashed(failure.flow or "") == _dashed(self.flow))
            and (self.since is None or (failure.at is not None and failure.at >= self.since))
            and (self.replayed or not failure.replayed_as)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures of one error in one actor."""

    error: str
    actor: str
    count: int

    def as_json(self) -> dict[str, Any]:
        """``{"error", "actor", "count"}``."""
        return {"error": self.error, "actor": self.actor, "count": self.count}


def groups(failures: Iterable[Failure]) -> list[Group]:
    """How many of each error in each actor, most first."""
    counts = Counter((failure.error, failure.actor) for failure in failures)
    return [
        Group(error=error, actor=actor, count=count)
        for (error, actor), count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]


def parse_rate(text: str) -> float:
    """``20/s``, ``600/m`` or ``50/h`` as envelopes per second. Raises RemoteFault ``usage``."""
    count, slash, unit = text.partition("/")
    try:
        number = float(count)
    except ValueError:
        number = 0.0
    if not slash or unit not in _SECONDS or not 0 < number <= 1e6:
        raise RemoteFault("usage", f"--rate {text!r} is no rate", "write for instance 20/s, 600/m or 50/h")
    return number / _SECONDS[unit]


def parse_since(text: str, now: datetime) -> datetime:
    """A moment: ``2h`` before `now`, or an RFC 3339 time. Raises RemoteFault ``usage``."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        pass
    moment = _time(text)
    if moment is None:
        raise RemoteFault("usage", f"--since {text!r} is no time", "write how long ago, such as 2h, or a time such as 2026-01-01T00:00:00Z")
    return moment


def _told(error: Mapping[str, Any]) -> dict[str, Any]:
    mro, attempt = error.get("mro"), error.get("attempt")
    return {
        "code": str(error.get("code") or "too_many_deliveries"),
        "type": str(error["type"]) if error.get("type") else None,
        "mro": tuple(str(each) for each in mro) if isinstance(mro, list) else (),
        "message": str(error.get("message") or ""),
        "attempt": attempt if isinstance(attempt, int) else 1,
    }


def _entries(record: Mapping[str, Any]) -> list[str]:
    entries = _mapping(record.get("route")).get("actors")
    return [str(entry) for entry in entries] if isinstance(entries, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dashed(name: str) -> str:
    return name.replace("_", "-").lower()


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None
