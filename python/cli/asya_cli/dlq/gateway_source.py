"""Failed envelopes as a gateway knows them.

It remembers replays itself: in the row of the old envelope, in one transaction with the new one.
"""

from typing import Any

from asya_cli.client import GatewayClient
from asya_cli.dlq.failures import GIVEN_UP, Failure, Wanted
from asya_cli.dlq.source import Outcome, Sent
from asya_core.wire.errors import Refused

__all__ = ["GatewaySource"]


class GatewaySource:
    """See `asya_cli.dlq.source.Source`.

    Args:
        client: of the gateway; closed with this.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def failures(self, wanted: Wanted, limit: int | None = None) -> list[Failure]:
        """See the port. Reads pages of 200 until there are `limit`; the parent of a failed part is no failure of its own."""
        if wanted.ids:
            views = [self._client.envelope(each) for each in sorted(wanted.ids)]
            failed = [view for view in views if view["status"] in ("failed", *GIVEN_UP.values())]
            return [each for each in map(Failure.of_view, failed) if wanted.takes(each)][:limit]
        found: list[Failure] = []
        filters = {"status": self._status(wanted), "tool": wanted.tool, "code": wanted.code}
        for view in self._client.envelopes({key: value for key, value in filters.items() if value is not None}):
            failure = Failure.of_view(view)
            if failure.code != "children_failed" and wanted.takes(failure):
                found.append(failure)
                if limit is not None and len(found) >= limit:
                    break
        return found

    def _status(self, wanted: Wanted) -> str:
        return GIVEN_UP.get(wanted.code or wanted.error or "", "failed")

    def show(self, envelope_id: str) -> dict[str, Any]:
        """See the port; needs role operate."""
        return self._client.record(envelope_id)

    def replay(self, failure: Failure, *, actor: str | None, again: bool) -> Sent:
        """See the port. The gateway compares and sets, so an answer that was lost is found again and nothing is sent twice."""
        expected = failure.replayed_as if again else ""
        try:
            view = self._client.replay(failure.id, actor=actor, expected=expected or None)
        except Refused as refusal:
            if refusal.code != "already_replayed":
                raise
            return Sent(outcome=Outcome.BEFORE, new_id=str(self._client.envelope(failure.id).get("replayed_as", "")))
        return Sent(outcome=Outcome.SENT, new_id=str(view["id"]))

    def close(self) -> None:
        """See the port."""
        self._client.close()
