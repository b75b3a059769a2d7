"""Queues of the embedded transport: make, look, delete. Blocking; for start-up, the command line and tests.

Implements `asya_core.transports.base.QueueAdmin`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asya_core.ops.clock import Clock, SystemClock
from asya_core.transports.base import Depth, Mismatch, QueueSpec
from asya_core.transports.embedded.file import FileTrouble, QueueFile, QueueRow, Sync
from asya_core.wire.errors import Refused, Unavailable

__all__ = ["EmbeddedAdmin"]

_BUSY_SECONDS: Final = 5.0


class EmbeddedAdmin:
    """Administration of one queue file. One thread, own connection.

    Args:
        path: the file, made if missing; its folder must exist.
        sync: as for the transport.
        clock: as for the transport.

    Raises Unavailable ``queue_file`` if the file cannot be opened or is locked for more than 5 s.
    """

    def __init__(self, path: Path | str, *, sync: str = "normal", clock: Clock | None = None) -> None:
        with _translated():
            self._file = QueueFile(Path(path), sync=Sync(sync), clock=clock or SystemClock(), busy_seconds=_BUSY_SECONDS)

    def ensure(self, spec: QueueSpec) -> None:
        """See `QueueAdmin.ensure`."""
        wanted = QueueRow(spec.dead_letter, spec.max_deliveries)
        with _translated(), self._file.transaction():
            found = self._file.ensure_queue(spec.name, wanted)
        if found != wanted:
            pairs = (
                ("dead_letter", found.dead_letter, wanted.dead_letter),
                ("max_deliveries", found.max_deliveries, wanted.max_deliveries),
            )
            raise Mismatch(spec.name, ", ".join(f"{name} is {is_!r} and not {want!r}" for name, is_, want in pairs if is_ != want))

    def depth(self, queue: str) -> Depth:
        """See `QueueAdmin.depth`."""
        with self._looking_at(queue):
            return Depth(*self._file.depth(queue))

    def delete_if_empty(self, queue: str) -> bool:
        """See `QueueAdmin.delete_if_empty`."""
        with _translated(), self._file.transaction():
            self._file.delete_queue(queue)
            return self._file.queue(queue) is None

    def purge(self, queue: str) -> int:
        """See `QueueAdmin.purge`."""
        with self._looking_at(queue):
            return self._file.purge(queue)

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """See `QueueAdmin.peek`."""
        with self._looking_at(queue):
            return self._file.peek(queue, limit)

    def close(self) -> None:
        """See `QueueAdmin.close`."""
        self._file.close()

    @contextmanager
    def _looking_at(self, queue: str) -> Iterator[None]:
        with _translated(), self._file.transaction():
            if self._file.queue(queue) is None:
                raise Refused("no_such_queue", f"Queue {queue!r} does not exist", "make it with `ensure`, or check the name")
            yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileTrouble as trouble:
        raise Unavailable("queue_file", trouble.reason, "check the path, its permissions and the room on its disk") from trouble
