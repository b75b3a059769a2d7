"""Valid objects for tests, changed by keyword: the test names what matters to it and nothing else.

Used by tests only. What is built passes the checks of `asya_core.wire`; what a test puts in is taken unseen.
"""

import json
from typing import Any

from asya_core.wire.envelope import Envelope, parse

__all__ = ["body", "envelope", "members"]


def members(**changes: Any) -> dict[str, Any]:
    """The members of a valid envelope as Python values; a change to `...` (Ellipsis) leaves the member out."""
    everything = {"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "headers": {"trace_id": "t"}, "payload": {"x": 1}, **changes}
    return {name: value for name, value in everything.items() if value is not ...}


def body(**changes: Any) -> bytes:
    """The bytes of a valid envelope, compact JSON."""
    return json.dumps(members(**changes), separators=(",", ":"), ensure_ascii=False).encode()


def envelope(**changes: Any) -> Envelope:
    """A valid envelope. Raises RemoteFault if the changes make it invalid."""
    return parse(body(**changes))
