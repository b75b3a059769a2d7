"""``asya dlq``: options, and what is printed. The work is in `asya_cli.dlq`."""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from asya_cli.asking import Asking, gateway_options, table
from asya_cli.dlq.places import place_options, source_of
from asya_cli.errors import Failed, Interrupted
from asya_cli.main import talk_options
from asya_core.wire.errors import AsyaError, RemoteFault

if TYPE_CHECKING:
    from asya_cli.dlq.failures import Failure, Wanted
    from asya_cli.dlq.replaying import Account
    from asya_cli.dlq.source import Sent

__all__ = ["dlq"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}
_UNASKED: Final = 10
"""Envelopes that are replayed without asking."""
_SHOWN: Final = 100


@click.group(context_settings=_HELP)
def dlq() -> None:
    """Find envelopes that ended in error-end, look at them, send them again.

    They are looked for in a gateway, or without one in the crew's storage (--storage, or --project of asya run --serve), or in the broker's
    dead-letter queue (--source queue), where there is only what error-end could not store.
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many, the newest."),
        click.option("--since", metavar="AGO|TIME", help="Failed since then: 2h, or 2026-01-01T00:00:00Z."),
        click.option("--flow", metavar="FLOW", help="Of this flow."),
        click.option("--tool", metavar="TOOL", help="Calls of this tool; gateway only."),
        click.option("--actor", metavar="ACTOR", help="Failed in this actor."),
        click.option("--code", metavar="CODE", help="With this error code, such as timeout."),
        click.option("--error", metavar="NAME", help="With this exception, also as a base class of it, or this code."),
    ):
        command = option(command)
    return command


@dlq.command("list", context_settings=_HELP)
@_filters
@click.option("--all", "everything", is_flag=True, help="Also those that have been replayed.")
@place_options
@gateway_options
@talk_options
@click.pass_context
def list_(ctx: click.Context, /, everything: bool, **given: Any) -> None:
    """List failed envelopes, newest first; 100 unless --limit says otherwise."""
    asking = Asking(ctx, given)
    wanted = _wanted(given, ids=(), replayed=everything)
    limit = given["limit"] or _SHOWN
    with closing(source_of(asking, given)) as source:
        found = source.failures(wanted, limit + 1)
    shown = found[:limit]
    if asking.is_json:
        asking.data({"failures": [each.as_json() for each in shown], "more": len(found) > limit})
        return
    table(asking.talk, ("ID", "AT", "ACTOR", "ERROR", "MESSAGE"), [_row(each) for each in shown])
    if len(found) > limit:
        asking.talk.info(f"There are more than {limit}; see them with --limit")
    if not found:
        asking.talk.info("No failed envelope is like that" if wanted != _everything(everything) else "No failed envelopes")


@dlq.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@place_options
@gateway_options
@talk_options
@click.pass_context
def show(ctx: click.Context, /, envelope_id: str, **given: Any) -> None:
    """Show the record of one: payload as it failed, error, traceback."""
    asking = Asking(ctx, given)
    with closing(source_of(asking, given)) as source:
        record = source.show(envelope_id)
    tell_record(asking, record)


def tell_record(asking: Asking, record: dict[str, Any]) -> None:
    """The record as data; as text the traceback comes after it, as lines."""
    error = record.get("error")
    if asking.is_json or not isinstance(error, dict) or not error.get("traceback"):
        asking.data(record)
        return
    asking.data({**record, "error": {key: value for key, value in error.items() if key != "traceback"}})
    asking.talk.data(str(error["traceback"]).rstrip("\n"))


@dlq.command(context_settings=_HELP)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--id", "more_ids", multiple=True, metavar="ID", help="The same as an argument.")
@_filters
@click.option("--to", metavar="ACTOR", help="Begin at this actor instead of the one that failed.")
@click.option("--rate", metavar="N/s", help="At most so many a second (/s), minute (/m) or hour (/h). [default: 20/s]")
@click.option("--again", is_flag=True, help="Also those that have been replayed: once more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be replayed.")
@click.option("--yes", is_flag=True, help="Do not ask before more than 10 are replayed.")
@place_options
@gateway_options
@talk_options
@click.pass_context
def replay(ctx: click.Context, /, ids: tuple[str, ...], **given: Any) -> None:
    """Send failed envelopes again, oldest first, each as a new envelope.

    A new envelope goes on where the old one failed, with the payload that it had there. Each is replayed once, however often this runs:
    interrupted, it is run again for the rest. Prints old and new ids.
    """
    asking = Asking(ctx, given)
    from asya_cli.dlq.failures import parse_rate
    from asya_cli.dlq.replaying import replay_all, stopping

    every = (*ids, *given["more_ids"])
    _check_ids(every)
    wanted = _wanted(given, ids=every, replayed=given["again"] or bool(every))
    per_second = parse_rate(given["rate"] or "20/s")
    with closing(source_of(asking, given, holds=not given["dry_run"])) as source:
        failures = list(reversed(source.failures(wanted, given["limit"])))
        _tell_groups(asking, failures, dry_run=given["dry_run"])
        if given["dry_run"] or not failures:
            return
        _confirm(asking, len(failures), yes=given["yes"])
        _warn_of_gateway(asking, given)
        with stopping() as stop:
            account = replay_all(
                source,
                failures,
                actor=given["to"],
                again=given["again"],
                per_second=per_second,
                stop=stop,
                tell=lambda failure, what: _tell(asking, failure, what),
            )
    _conclude(asking, account)


def _warn_of_gateway(asking: Asking, given: dict[str, Any]) -> None:
    """A gateway and a storage do not tell each other of replays: whoever uses both may replay twice."""
    url = asking.config().url
    if (given["storage"] or given["project"]) and given["source"] != "queue" and url.origin != "default":
        asking.talk.warning(f"The gateway {url.value} is passed by: it will not know of these replays, nor does the storage of its own")


def _check_ids(ids: Sequence[str]) -> None:
    from asya_core.wire.names import is_envelope_id

    for each in ids:
        if not is_envelope_id(each):
            raise RemoteFault("usage", f"{each[:60]!r} is no envelope's id", "see asya dlq list")


def _wanted(given: dict[str, Any], *, ids: Sequence[str], replayed: bool) -> "Wanted":
    from asya_cli.dlq.failures import Wanted, parse_since

    if given["tool"] and (given["storage"] or given["project"] or given["source"] not in (None, "gateway")):
        raise RemoteFault("usage", "--tool is known to a gateway only: records name no tool", "use --flow or --actor")
    return Wanted(
        error=given["error"],
        code=given["code"],
        actor=given["actor"],
        tool=given["tool"],
        flow=given["flow"],
        since=parse_since(given["since"], datetime.now(UTC)) if given["since"] else None,
        ids=frozenset(ids),
        replayed=replayed,
    )


def _everything(replayed: bool) -> "Wanted":
    from asya_cli.dlq.failures import Wanted

    return Wanted(replayed=replayed)


def _row(failure: "Failure") -> tuple[str, ...]:
    at = failure.at.strftime("%Y-%m-%d %H:%M:%SZ") if failure.at else "?"
    message = " ".join(failure.message.split())
    message = f"{message[:79]}…" if len(message) > 80 else message
    return (
        failure.id,
        at,
        failure.actor,
        failure.error,
        f"{message} (replayed as {failure.replayed_as})" if failure.replayed_as else message,
    )


def _tell_groups(asking: Asking, failures: "Sequence[Failure]", *, dry_run: bool) -> None:
    from asya_cli.dlq.failures import groups

    found = groups(failures)
    if asking.is_json:
        if dry_run or not failures:
            document: dict[str, Any] = {"selected": len(failures), "groups": [each.as_json() for each in found]}
            asking.data({"dry_run": True, **document, "ids": [each.id for each in failures]} if dry_run else {**document, "replayed": []})
        return
    if not failures:
        asking.talk.info("Nothing to replay")
    elif dry_run:
        table(asking.talk, ("COUNT", "ERROR", "ACTOR"), [(str(each.count), each.error, each.actor) for each in found])
        asking.talk.info(f"{len(failures)} would be replayed; nothing was sent")
    else:
        for each in found:
            asking.talk.info(f"{each.count} {each.error} in {each.actor or 'an unknown actor'}")


def _confirm(asking: Asking, count: int, *, yes: bool) -> None:
    if yes or count <= _UNASKED:
        return
    if not sys.stdin.isatty():
        raise RemoteFault("usage", f"{count} envelopes would be replayed", "look with --dry-run, then give --yes")
    if not click.confirm(f"Replay {count} envelopes?", err=True):
        raise Failed("not_confirmed", "Nothing was replayed", "look at them with --dry-run or asya dlq list")


def _tell(asking: Asking, failure: "Failure", what: "Sent | AsyaError") -> None:
    if isinstance(what, AsyaError):
        asking.talk.warning(f"{failure.id} was not replayed: {what.message}")
    elif what.outcome == "replayed before":
        asking.talk.info(f"{failure.id} was replayed before, as {what.new_id}")
    elif not asking.is_json:
        asking.talk.data(f"{failure.id} → {what.new_id}")


def _conclude(asking: Asking, account: "Account") -> None:
    """Tell the sum. Raises what ended it early, or Failed if some were refused."""
    if asking.is_json:
        asking.data(account.as_json())
    sent, of = len(account.sent), account.selected
    if account.problem is not None:
        problem = account.problem
        hint = f"{sent} of {of} were replayed, {account.left} are left: run it again for those; {problem.hint}"
        raise type(problem)(problem.code, problem.message, hint)
    if account.stopped is not None:
        import signal

        told = f"Interrupted: {sent} of {of} were replayed, {account.left} are left"
        raise Interrupted("interrupted", told, "run it again for the rest", terminated=account.stopped == signal.SIGTERM)
    if account.refused:
        raise Failed("not_all_replayed", f"{len(account.refused)} of {of} were not replayed", "see the lines above, asya dlq show ID")
    asking.talk.done(f"Replayed {sent} of {of}" + (f"; {len(account.before)} had been before" if account.before else ""))
