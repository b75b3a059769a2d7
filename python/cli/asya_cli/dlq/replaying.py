"""Sends a list of failed envelopes again: at a pace, stopping when told to, with an account of each.

Called by `asya_cli.commands.dlq`. Knows a `Source`, neither gateway nor broker.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from asya_cli.dlq.failures import Failure
from asya_cli.dlq.source import Outcome, Sent, Source
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

__all__ = ["Account", "Stop", "replay_all", "stopping"]

_FOR_ALL: Final = frozenset(
    {
        "access_denied",
        "bad_request",
        "broker_refused",
        "forbidden",
        "insufficient_scope",
        "no_such_storage",
        "not_configured",
        "unauthenticated",
    }
)
"""Refusals that the next envelope would meet too."""


class Stop:
    """Set by a signal; the number of the first one is kept."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; whether it is."""
        return self._event.wait(max(0.0, seconds))


@contextmanager
def stopping() -> Iterator[Stop]:
    """While inside, the first SIGINT or SIGTERM sets the `Stop`, a second one interrupts."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True, kw_only=True)
class Account:
    """What became of those that were selected.

    Attributes:
        selected: how many.
        sent: old failure and its replay.
        before: the same, of those that had been replayed before.
        refused: with the reason of each.
        problem: why it ended early, or None.
        stopped: number of the signal that ended it early, or None.
    """

    selected: int
    sent: list[tuple[Failure, Sent]] = field(default_factory=list)
    before: list[tuple[Failure, Sent]] = field(default_factory=list)
    refused: list[tuple[Failure, AsyaError]] = field(default_factory=list)
    problem: AsyaError | None = None
    stopped: int | None = None

    @property
    def left(self) -> int:
        """How many were not come to."""
        return self.selected - len(self.sent) - len(self.before) - len(self.refused)

    def as_json(self) -> dict[str, Any]:
        """The document of ``--output json``."""
        return {
            "selected": self.selected,
            "replayed": [{"id": failure.id, "new_id": sent.new_id, "actor": failure.actor} for failure, sent in self.sent],
            "replayed_before": [{"id": failure.id, "new_id": sent.new_id} for failure, sent in self.before],
            "refused": [{"id": failure.id, "code": error.code, "message": error.message} for failure, error in self.refused],
            "left": self.left,
        }


def replay_all(
    source: Source,
    failures: Sequence[Failure],
    *,
    actor: str | None,
    again: bool,
    per_second: float | None,
    stop: Stop,
    tell: Callable[[Failure, Sent | AsyaError], None],
    clock: Callable[[], float] = time.monotonic,
) -> Account:
    """Replay in the order given; never raises for a broker or gateway that is away or says no: that is in the account.

    Args:
        source: does it.
        failures: which.
        actor: where to begin instead of at the one that failed.
        again: also those that have been replayed.
        per_second: at most so many; None: as quick as it goes.
        stop: ends it between two envelopes.
        tell: hears what became of each.
        clock: seconds.
    """
    account = Account(selected=len(failures))
    due = clock()
    for failure in failures:
        if stop.wait(due - clock()):
            account.stopped = stop.number
            break
        if per_second is not None:
            due = max(due, clock()) + 1.0 / per_second
        try:
            sent = source.replay(failure, actor=actor, again=again)
        except Unavailable as error:
            account.problem = error
            break
        except (Refused, RemoteFault) as error:
            if error.code in _FOR_ALL:
                account.problem = error
                break
            account.refused.append((failure, error))
            tell(failure, error)
            continue
        (account.sent if sent.outcome is Outcome.SENT else account.before).append((failure, sent))
        tell(failure, sent)
    return account
