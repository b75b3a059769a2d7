"""``asya envelope``: one envelope as the gateway knows it, or as an end actor stored it."""

from contextlib import closing
from typing import Any, Final

import click

from asya_cli.asking import Asking, gateway_options
from asya_cli.commands.dlq import tell_record
from asya_cli.dlq.places import place_options, source_of
from asya_cli.main import talk_options
from asya_core.wire.errors import RemoteFault

__all__ = ["envelope"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
def envelope() -> None:
    """See an envelope, with its traceback, or send it again."""


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
