"""What was replayed, remembered beside the records: a claim before an envelope is sent, a receipt after it.

Called by `storage_source`. Objects, below the same prefix as ``errors/``:

    replays/id=<old id>/0001.json   {"of", "id", "at"}: the n-th replay is going to be sent, under this new id
    replays/id=<old id>/0001.sent   {"id", "at"}: the broker holds it

Both are written once and never changed, so two who replay the same envelope at the same time agree on one new id, and only one of them
sends it. A claim without a receipt was interrupted: whoever comes next sends it, under the id that the claim holds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asya_core.objects import ObjectStore
from asya_core.wire.errors import Refused

__all__ = ["Claim", "Journal"]

_FOLDER: Final = "replays/"
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The last replay of one envelope.

    Attributes:
        number: 1 for the first.
        new_id: what it is sent as.
        at: when it was claimed, by the clock of who claimed it.
        is_sent: whether the broker is known to hold it.
        is_mine: whether it was claimed just now, by this call.
    """

    number: int
    new_id: str
    at: datetime
    is_sent: bool
    is_mine: bool = False


class Journal:
    """The replays of one storage.

    Args:
        objects: the storage of the records; must be writable to claim.
        now: the time, in UTC.
    """

    def __init__(self, objects: ObjectStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._objects = objects
        self._now = now

    def sent(self) -> dict[str, int]:
        """The number of the last replay that was sent, by old id; those without are not in it. Raises Unavailable, Refused."""
        found: dict[str, int] = {}
        after = ""
        while True:
            page = self._objects.list(_FOLDER, after=after, limit=_PAGE)
            for each in page:
                old_id, number, suffix = _parts(each.key)
                if suffix == "sent":
                    found[old_id] = max(number, found.get(old_id, 0))
            if len(page) < _PAGE:
                return found
            after = page[-1].key

    def claim(self, old_id: str, new_id: str, *, number: int) -> Claim:
        """Claim the `number`-th replay; gives who has it: this call under `new_id`, or whoever was first. Raises Unavailable, Refused."""
        at = self._now()
        body = _json({"of": old_id, "id": new_id, "at": at.isoformat()})
        if self._objects.put_if_absent(_key(old_id, number, "json"), body):
            return Claim(number=number, new_id=new_id, at=at, is_sent=False, is_mine=True)
        return self.last(old_id, number)

    def last(self, old_id: str, number: int) -> Claim:
        """The `number`-th replay, which there is. Raises Unavailable, Refused."""
        key = _key(old_id, number, "json")
        told = self._objects.get(key, limit_bytes=65_536)
        try:
            claim: Any = json.loads(told)
            new_id, at = claim["id"], datetime.fromisoformat(claim["at"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("bad_journal", f"Object {key} in {self._objects.location} is no claim of a replay", "move it away") from error
        return Claim(number=number, new_id=str(new_id), at=at, is_sent=self._objects.exists(_key(old_id, number, "sent")))

    def settle(self, old_id: str, claim: Claim) -> None:
        """Note that the broker holds it. Raises Unavailable, Refused."""
        self._objects.put_if_absent(_key(old_id, claim.number, "sent"), _json({"id": claim.new_id, "at": self._now().isoformat()}))


def _key(old_id: str, number: int, suffix: str) -> str:
    return f"{_FOLDER}id={old_id}/{number:04}.{suffix}"


def _parts(key: str) -> tuple[str, int, str]:
    folder, _, name = key.removeprefix(_FOLDER).rpartition("/")
    number, _, suffix = name.partition(".")
    return folder.removeprefix("id="), int(number) if number.isdigit() else 0, suffix


def _json(value: dict[str, str]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
