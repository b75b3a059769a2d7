"""The store port: transactions of named statements.

Implemented by `sqlite` and `postgres`; used by `service`, `publisher` and `sweeper` through `envelopes`, which holds what is done in a
transaction. Knows neither database.

A unit of work is a plain function of `Tx`. It runs in a thread of the store's own, in one transaction, and may run again if the database
asks for it (a lock, a serialisation failure): it must do nothing but talk to `Tx`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

__all__ = ["Row", "Store", "Tx"]

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]
"""One row by column name."""


class Tx(Protocol):
    """One open transaction. Blocking; raises only what the database library raises, which the store translates."""

    def all(self, statement: str, **parameters: Any) -> list[Row]:
        """The rows of the named statement; a list parameter fills a place written ``IN (:name[])``."""
        ...

    def one(self, statement: str, **parameters: Any) -> Row | None:
        """The first row, or None."""
        ...

    def each(self, statement: str, rows: list[dict[str, Any]]) -> list[Row | None]:
        """The first row that the named statement gives for each of `rows`, or None, in their order: one way to the database for all."""
        ...

    def many(self, statement: str, rows: list[dict[str, Any]]) -> None:
        """The named statement once per row, without results."""
        ...


class Store(Protocol):
    """Where envelopes are kept. All errors are `asya_core.wire.errors.Unavailable` ``store``, or Bug."""

    is_shared: bool
    """Whether other processes write to it: then subscribers must look for changes."""

    async def open(self) -> None:
        """Connect, and see that the schema is the one of this version. Raises Unavailable, Refused ``store_schema``, ``store_in_use``."""
        ...

    async def close(self) -> None:
        """Finish what runs, let go. Idempotent."""
        ...

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction; it is durable when this returns. Raises Unavailable; what `work` raises undoes it.

        A cancelled caller does not undo what has begun.
        """
        ...

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on one consistent state, seeing all that was written before. Raises Unavailable."""
        ...
