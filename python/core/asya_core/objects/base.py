"""The objects port: bytes kept by key, written once.

Implemented by `directory` and `s3`; used by the crew (results and error records) and by whoever reads those. Knows no technology.

**Written once.** A key is made from an envelope's id, so the second writer of a key is a redelivery of the first: it changes nothing and is
told that the object was there. Nothing here overwrites or deletes; retention is the storage's own (a lifecycle rule, a scheduled clean-up).

**Keys** are relative to the store's location: 1–1024 characters, segments of ``[A-Za-z0-9._:=-]`` between single slashes, none of them
``.`` or ``..``, each at most 255. Every call refuses others with Refused ``bad_key``, before anything is touched.

**Errors.** Unavailable: not now, trying again helps (``storage_unavailable``, ``storage_full``). Refused: a healthy storage said no
(``no_such_storage``, ``access_denied``, ``no_such_object``, ``object_too_large``, ``storage_refused``). Each is one sentence that names the
location and says what to do. No call raises a foreign exception.

**Threads.** All calls block, and may be made from several threads at a time.
"""

import re
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from asya_core.wire.errors import Refused

__all__ = ["MAX_KEY_LENGTH", "ObjectInfo", "ObjectStore", "check_key", "check_prefix"]

MAX_KEY_LENGTH: Final = 1024
"""Characters of a key, S3's limit (a prefix of the location counts too there)."""
_SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._:=-]{1,255}"
_KEY: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX: Final = re.compile(rf"(?:{_SEGMENT}/)*(?:[A-Za-z0-9._:=-]{{0,255}})")


class ObjectInfo(NamedTuple):
    """One object of a listing.

    Attributes:
        key: relative to the store's location.
        bytes: its size.
        modified: when it was stored, in UTC, by the storage's clock.
    """

    key: str
    bytes: int
    modified: datetime


class ObjectStore(Protocol):
    """Keeps bytes by key. See the module's text for keys, errors and threads."""

    @property
    def location(self) -> str:
        """Where it is, for people: ``s3://bucket/prefix`` or ``file:///folder``; never credentials."""
        ...

    def put_if_absent(self, key: str, body: bytes) -> bool:
        """Keep `body` under `key` unless there is an object. True if it was kept now, False if one was there, which stands as it was.

        Durable when it returns, in both cases: it survives a kill of this process and, as far as the storage promises it, a power loss.
        A reader sees all of the object or none. After an error the object may be there or not: call again.

        Two writers at the same time: one True, one False; a storage without conditional writes may say True to both, and one of the bodies
        stands.
        """
        ...

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        """The object's bytes. Raises Refused ``no_such_object``, or ``object_too_large`` over `limit_bytes`, before more is read."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under `key`; an error is never reported as False."""
        ...

    def list(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """At most `limit` (1–1000) objects whose keys begin with `prefix` and sort behind `after`, sorted by key.

        Fewer than `limit` means that was all. Objects that were kept before the call are there; later ones may be.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


def check_key(key: str) -> str:
    """`key`, if it may be one. Raises Refused ``bad_key``."""
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise Refused(
            "bad_key", f"Object key {key[:120]!r} is not legal; expected segments of [A-Za-z0-9._:=-], not . or .., between slashes"
        )
    return key


def check_prefix(prefix: str) -> str:
    """`prefix`, if keys may begin with it. Raises Refused ``bad_key``."""
    if len(prefix) > MAX_KEY_LENGTH or not _PREFIX.fullmatch(prefix):
        raise Refused("bad_key", f"Object key prefix {prefix[:120]!r} is not legal; expected the beginning of a key")
    return prefix
