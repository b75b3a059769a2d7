"""What the API server wrote down of calls by service accounts. Used by stories that count writes and check rights.

The log is the one of ci/cluster (its policy keeps service accounts but those of Kubernetes and KEDA themselves).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["WRITES", "Audit", "Call"]

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that was answered.

    Attributes:
        account: namespace/name of the service account.
        verb: as roles name it; "" for what is no resource.
        resource: plural, with the subresource behind a slash; the path of what is no resource.
        code: HTTP status.
        is_forbidden: for want of a right, not since the object or its namespace does not allow it.
    """

    account: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    is_forbidden: bool

    @property
    def right(self) -> tuple[str, str, str]:
        """Group, resource, verb."""
        return self.group, self.resource, self.verb

    def verbs(self) -> Iterator[str]:
        """The rights that this call needed: an apply that made the object needed two."""
        yield self.verb
        if self.verb == "patch" and self.code == 201:
            yield "create"


class Audit:
    """The log.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Now, for `calls`."""
        return self._path.stat().st_size

    def calls(self, *, since: int = 0, account: str | None = None) -> list[Call]:
        """All calls since then, of all accounts or one. A watch is one call when it begins and one when it ends."""
        with self._path.open("rb") as log:
            log.seek(since)
            # The last line may be half written.
            lines = log.read().split(b"\n")[:-1]
        found = [_call(json.loads(line)) for line in lines]
        return [call for call in found if account in (None, call.account)]

    def writes(self, account: str, *, since: int = 0) -> list[Call]:
        """Those that changed something, or tried to; the Lease apart."""
        calls = self.calls(since=since, account=account)
        return [call for call in calls if call.verb in WRITES and call.resource != "leases"]


def _call(event: dict[str, Any]) -> Call:
    user, about, answer, notes = (dict(event.get(key) or {}) for key in ("user", "objectRef", "responseStatus", "annotations"))
    resource = str(about.get("resource") or event["requestURI"])
    return Call(
        account=str(user.get("username", "")).removeprefix("system:serviceaccount:").replace(":", "/"),
        verb=str(event["verb"]),
        group=str(about.get("apiGroup", "")),
        resource=f"{resource}/{about['subresource']}" if about.get("subresource") else resource,
        namespace=str(about.get("namespace", "")),
        name=str(about.get("name", "")),
        code=int(answer.get("code", 0)),
        # An apply that would make the object is refused after the first decision, which was about the patch.
        is_forbidden=notes.get("authorization.k8s.io/decision") == "forbid"
        or (answer.get("code") == 403 and " cannot " in str(answer.get("message"))),
    )
