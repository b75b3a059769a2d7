"""Server-sent events: lines → events. Arithmetic on text only. Called by `client`.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html section 9.2.6, as far as a gateway uses it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Event", "read_events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event.

    Attributes:
        kind: its ``event`` field.
        id: its ``id`` field, empty without one.
        data: its data lines.
    """

    kind: str
    id: str
    data: str


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in `lines`, which have no line ends. An event that the end cuts off is dropped, comments are passed over."""
    kind, number = "message", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Event(kind=kind, id=number, data="\n".join(data))
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "id":
                number = value
            case "data":
                data.append(value)
            case _:
                pass
