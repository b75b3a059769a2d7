"""The socket between ``--serve`` and ``--attach``: one JSON object per line. Called by `serve` and `attach`.

The one who attaches sends ``{"envelope": …}``; the answers are ``{"hop": …}`` any number of times, then one of ``{"ended": [...]}`` and
``{"fault": {code, message, hint, kind}}``. The socket and the file that names it are the user's alone (mode 0600 below a 0700 folder).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asya_cli.run.gather import Ended
from asya_cli.run.hops import Hop
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

__all__ = ["MAX_LINE_BYTES", "STATE_FILE", "ended_of", "fault_line", "hop_of_line", "line_of", "read_state", "to_error"]

STATE_FILE: Final = "serve.json"
MAX_LINE_BYTES: Final = 128 * 1024 * 1024
_KINDS: Final[dict[str, type[AsyaError]]] = {"fault": RemoteFault, "unavailable": Unavailable, "refused": Refused}


def line_of(message: Mapping[str, Any]) -> bytes:
    """One message as it travels."""
    return json.dumps(message, ensure_ascii=False, default=asdict).encode() + b"\n"


def fault_line(error: AsyaError) -> bytes:
    """`error` as it travels."""
    kind = next((kind for kind, known in _KINDS.items() if isinstance(error, known)), "fault")
    return line_of({"fault": {"code": error.code, "message": error.message, "hint": error.hint, "kind": kind}})


def to_error(fault: Mapping[str, str]) -> AsyaError:
    """The error that travelled."""
    return _KINDS[fault["kind"]](fault["code"], fault["message"], fault["hint"])


def hop_of_line(hop: Mapping[str, Any]) -> Hop:
    """The hop that travelled."""
    return Hop(**{**hop, "next": tuple(hop["next"])})


def ended_of(ended: Mapping[str, Any]) -> Ended:
    """The ended envelope that travelled."""
    return Ended(**{**ended, "fanout": tuple(ended["fanout"])})


def read_state(file: Path) -> Mapping[str, Any] | None:
    """What the one who serves wrote down: pid and socket; None if nobody did."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and "socket" in state else None


async def connect(file: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection to the one who serves; None if there is none or it is dead."""
    state = read_state(file)
    if state is None:
        return None
    try:
        return await asyncio.open_unix_connection(state["socket"], limit=MAX_LINE_BYTES)
    except OSError:
        return None
