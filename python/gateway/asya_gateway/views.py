"""What callers see of an envelope and of its events: rows → JSON objects. Pure.

Called by the HTTP edges. Absent is absent, never null; times are RFC 3339 in UTC; result and error are spliced as they were stored.
"""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row
from asya_gateway.tools import Tool

__all__ = ["event_view", "time_text", "tool_view", "view"]


def time_text(milliseconds: int) -> str:
    """``2026-01-01T00:00:00.123Z``."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def view(row: Row) -> dict[str, Any]:
    """An envelope as docs/reference/gateway.md describes it."""
    shown: dict[str, Any] = {"id": row["id"]}
    for key in ("parent_id", "tool", "flow"):
        if row[key] is not None:
            shown[key] = row[key]
    shown["status"] = row["status"]
    shown["progress"] = row["progress"]
    if row["actor"] is not None:
        shown["actor"] = row["actor"]
    shown["route"] = msgspec.Raw(row["route"].encode())
    for key, column in (
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
        ("deadline", "deadline_at"),
        ("finished_at", "finished_at"),
    ):
        if row[column] is not None:
            shown[key] = time_text(row[column])
    for key in ("result", "result_ref"):
        if row[key] is not None:
            shown[key] = msgspec.Raw(row[key].encode())
    if row["error"] is not None:
        error = json.loads(row["error"])
        shown["error"] = {key: value for key, value in error.items() if key != "traceback"}
    if row["children"] is not None:
        failed = row["children_failed"]
        shown["children"] = {"total": row["children"], "succeeded": row["children_done"] - failed, "failed": failed}
    for key in ("replay_of", "replayed_as"):
        if row[key] is not None:
            shown[key] = row[key]
    return shown


def event_view(row: Row) -> dict[str, Any]:
    """One event: ``{seq, at, kind, actor?, hop?, attempt?, …}``, what `kind` adds spliced in; ``times`` by the actor's own clock."""
    shown: dict[str, Any] = {"seq": row["seq"], "at": time_text(row["at"]), "kind": row["kind"]}
    for key in ("actor", "hop", "attempt"):
        if row[key] is not None:
            shown[key] = row[key]
    if row["data"] is not None:
        shown.update(json.loads(row["data"]))
    if "times" in shown:
        shown["times"] = {state: time_text(at) for state, at in shown["times"].items()}
    return shown


def is_final(row: Row) -> bool:
    """Whether the envelope has ended."""
    return Status(row["status"]) in FINAL


def tool_view(tool: Tool) -> dict[str, Any]:
    """A tool as ``GET /tools`` tells it."""
    shown: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.title:
        shown["title"] = tool.title
    shown["inputSchema"] = tool.input.schema
    if tool.output is not None:
        shown["outputSchema"] = tool.output.schema
    if tool.flow is not None:
        shown["flow"] = tool.flow
    shown["route"] = list(tool.route)
    shown["timeout_seconds"] = tool.timeout_seconds
    return shown
