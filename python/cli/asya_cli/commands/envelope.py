"""``asya envelope``: one envelope as the gateway knows it, or as an end actor stored it."""

from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import click

from asya_cli.asking import Asking, gateway_options, table
from asya_cli.commands.dlq import tell_record
from asya_cli.dlq.places import place_options, source_of
from asya_cli.errors import Failed
from asya_cli.main import talk_options
from asya_cli.output import compact_json
from asya_core.wire.errors import RemoteFault

__all__ = ["envelope"]

_STATUSES: Final = ("pending", "running", "succeeded", "failed", "cancelled", "expired")
_HELP: Final = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
def envelope() -> None:
    """See envelopes, follow one, give it up, send it again."""


@envelope.command("list", context_settings=_HELP)
@click.option("--status", type=click.Choice(_STATUSES), help="With this status.")
@click.option("--tool", metavar="TOOL", help="Calls of this tool.")
@click.option("--flow", metavar="FLOW", help="Of this flow.")
@click.option("--actor", metavar="ACTOR", help="Last heard of in this actor.")
@click.option("--text", metavar="TEXT", help="With this in id, actor or error.")
@click.option("--since", metavar="AGO|TIME", help="Made since then: 2h, or 2026-01-01T00:00:00Z.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most so many.")
@gateway_options
@talk_options
@click.pass_context
def list_(ctx: click.Context, /, limit: int, since: str | None, **given: Any) -> None:
    """List envelopes, newest first: one's own, or all with role read."""
    asking = Asking(ctx, given)
    filters = {name: given[name] for name in ("status", "tool", "flow", "actor", "text") if given[name]}
    if since:
        from asya_cli.dlq.failures import parse_since

        filters["since"] = parse_since(since, datetime.now(UTC)).isoformat()
    with asking.client() as client:
        found = list(islice(client.envelopes(filters), limit + 1))
    shown = found[:limit]
    if asking.is_json:
        asking.data({"envelopes": shown, "more": len(found) > limit})
        return
    rows = [
        (view["id"], view["created_at"], view.get("tool", ""), view["status"], f"{view['progress']}%", view.get("actor", ""))
        for view in shown
    ]
    table(asking.talk, ("ID", "CREATED", "TOOL", "STATUS", "PROGRESS", "ACTOR"), rows)
    if len(found) > limit:
        asking.talk.info(f"There are more than {limit}; see them with --limit")


@envelope.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@gateway_options
@talk_options
@click.pass_context
def watch(ctx: click.Context, /, envelope_id: str, **given: Any) -> None:
    """Print each event of an envelope until its end; as JSON one document per line."""
    asking = Asking(ctx, given)
    with asking.client() as client:
        for kind, data in client.follow(envelope_id):
            if asking.is_json:
                asking.talk.data(compact_json({"event": kind, **data}))
            else:
                asking.talk.data(" ".join(_told(kind, data)))
    if data["status"] != "succeeded":
        raise Failed("envelope_failed", f"Envelope {envelope_id} {data['status']}", f"see it: asya envelope show {envelope_id}")


def _told(kind: str, data: dict[str, Any]) -> list[str]:
    at = str(data.get("finished_at") or data.get("at") or "")
    where = [f"{key} {data[key]}" for key in ("actor", "state", "attempt") if data.get(key) not in (None, "")]
    progress = [f"{data['progress']}%"] if "progress" in data else []
    return [part for part in (at, kind, str(data.get("status") or ""), *progress, *where) if part]


@envelope.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@gateway_options
@talk_options
@click.pass_context
def cancel(ctx: click.Context, /, envelope_id: str, **given: Any) -> None:
    """Give an envelope up. Exit code 1 if it had ended before."""
    asking = Asking(ctx, given)
    with asking.client() as client:
        view = client.cancel(envelope_id)
    asking.data(view if asking.is_json else {"id": view["id"], "status": view["status"]})
    if view["status"] != "cancelled":
        raise Failed("ended_before", f"Envelope {view['id']} had {view['status']} before", f"see it: asya envelope show {view['id']}")


@envelope.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@click.option("--traceback", is_flag=True, help="What the end actor stored: last payload, error, traceback; role operate.")
@place_options
@gateway_options
@talk_options
@click.pass_context
def show(ctx: click.Context, /, envelope_id: str, traceback: bool, **given: Any) -> None:
    """Show an envelope: status, route, result or error. From a storage: its record."""
    asking = Asking(ctx, given)
    if traceback or given["source"] or given["storage"] or given["project"]:
        with closing(source_of(asking, given)) as source:
            tell_record(asking, source.show(envelope_id))
        return
    with asking.client() as client:
        asking.data(client.envelope(envelope_id))


@envelope.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@click.option("--from", "start", type=click.Choice(["failed", "start"]), default="failed", show_default=True, help="Where it begins.")
@click.option("--to", metavar="ACTOR", help="Begin at this actor instead.")
@click.option("--again", is_flag=True, help="Also if it has been replayed.")
@gateway_options
@talk_options
@click.pass_context
def replay(ctx: click.Context, /, envelope_id: str, start: str, to: str | None, again: bool, **given: Any) -> None:
    """Send one envelope again, whatever its end was, as a new one; needs a gateway and role operate."""
    asking = Asking(ctx, given)
    with asking.client() as client:
        old = client.envelope(envelope_id)
        last = old.get("replayed_as")
        if last and not again:
            raise RemoteFault("usage", f"Envelope {envelope_id} was replayed as {last}", "give --again to replay it once more")
        new = client.replay(envelope_id, actor=to, start=start, expected=last)
    if asking.is_json:
        asking.data(new)
    else:
        asking.talk.data(f"{envelope_id} → {new['id']}")
        asking.talk.info(f"watch it: asya mcp status {new['id']} --wait")
