"""``asya plan``: options, and what is printed. The work is in `asya_cli.plan`."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import click

from asya_cli.broker_options import broker_options, place_of
from asya_cli.errors import Failed
from asya_cli.main import talk_of, talk_options
from asya_cli.output import Format, Talk, compact_json, pretty_json
from asya_core.wire.errors import RemoteFault

if TYPE_CHECKING:
    from asya_cli.plan.compare import Change, Comparison

__all__ = ["plan"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}
_VALUE: Final = 60
"""Characters of a value that are shown."""
Counts = Mapping[str, int | None]


@click.command(context_settings=_HELP)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--kube", is_flag=True, help="Ask the cluster of the kubeconfig what is still queued.")
@click.option("--context", metavar="NAME", help="Of the kubeconfig, with --kube.")
@click.option("--no-drain", is_flag=True, help="The operator's drain.timeout is 0s: what goes does not work on.")
@broker_options
@talk_options
@click.pass_context
def plan(ctx: click.Context, /, old: str, new: str, kube: bool, no_drain: bool, **given: Any) -> None:
    """Compare two states of actors: what is added, removed, renamed, changed, and what a removal would strand.

    An actor that goes works on until nothing is on its way to it, unless its drainTimeout is 0s or it moves to another broker.

    OLD and NEW are folders (of asya flow compile, a project, or of values files), values files, or either in a Git revision as REV:PATH.
    Without a broker or --kube nothing is known of messages. Exit code 1: messages would be left in, or be on their way to, a queue that
    nobody consumes any more.
    """
    talk = talk_of(ctx, **{key: given.pop(key) for key in ("output_format", "quiet", "verbose", "no_color")})
    if given["context"] and not kube:
        raise RemoteFault("usage", "--context needs --kube", "give both, or neither")
    if find_spec("jsonschema") is None:
        raise RemoteFault("no_local_extra", "asya plan needs jsonschema, which is not installed", "pip install 'asya[local]'")
    from asya_cli.plan.compare import compare
    from asya_cli.plan.trees import read_tree

    before, after = read_tree(old), read_tree(new)
    comparison = compare(before.actors, after.actors, edges=before.edges)
    asked = {*comparison.gone, *(each for names in comparison.upstream.values() for each in names)}
    counts = _counts(asked, kube=kube, given=given)
    drains = frozenset() if no_drain else comparison.drains
    strands = [name for name in comparison.gone if name not in drains]
    stranded = stranded_by(comparison, counts, strands)
    if talk.format is Format.JSON:
        talk.data(pretty_json(_document(comparison, counts, stranded, drains)))
    else:
        _tell(talk, comparison, counts)
    if drains:
        talk.info(f"Works on until nothing is on its way to it, for drainTimeout at most: {_names(drains)}")
    if strands and counts is None:
        talk.warning(f"What is queued for {_names(strands)} was not looked at; give --kube, or --broker-url and --namespace")
    if stranded and counts is not None:
        places = {*stranded, *(each for name in stranded for each in comparison.upstream.get(name, ()))}
        total = sum(counts.get(each) or 0 for each in places)
        raise Failed(
            "strands_messages",
            f"{total} {'message' if total == 1 else 'messages'} may be stranded: {_names(stranded)}",
            "let it drain, or keep the old actor until its queue and those before it are empty; see docs/how-to/change-a-flow.md",
        )


def stranded_by(comparison: "Comparison", counts: Counts | None, names: Iterable[str]) -> dict[str, int]:
    """Messages that wait for each of these actors that go, or may be on their way to it; without those that have none."""
    if counts is None:
        return {}
    found = {name: (counts.get(name) or 0) + _before(comparison, counts, name) for name in names}
    return {name: count for name, count in found.items() if count}


def _before(comparison: "Comparison", counts: Counts, name: str) -> int:
    return sum(counts.get(each) or 0 for each in comparison.upstream.get(name, ()))


def _counts(actors: Iterable[str], *, kube: bool, given: dict[str, Any]) -> Counts | None:
    place = place_of(given) if not kube else None
    if kube:
        from asya_cli.kube import connect
        from asya_cli.plan.waiting import of_cluster

        with closing(connect(context=given["context"])) as cluster:
            return of_cluster(cluster, given["namespace"] or cluster.namespace, actors)
    if place is None:
        return None
    from asya_cli.plan.waiting import of_broker

    return of_broker(place, actors)


def _tell(talk: Talk, comparison: "Comparison", counts: Counts | None) -> None:
    for name in comparison.added:
        talk.data(f"+ {name}: added")
    for name in comparison.removed:
        talk.data(f"- {name}: removed{_queued(comparison, counts, name)}")
    for renamed in comparison.renamed:
        talk.data(f"> {renamed.old} → {renamed.new}: renamed, with a queue of its own{_queued(comparison, counts, renamed.old)}")
        _tell_changes(talk, renamed.changes)
    for changed in comparison.changed:
        moved = _queued(comparison, counts, changed.name) if changed.name in comparison.gone else ""
        talk.data(f"~ {changed.name}: {changed.effect}{moved}")
        _tell_changes(talk, changed.changes)
    if comparison.is_empty:
        talk.info("No difference")
    elif comparison.unchanged:
        talk.info(f"{len(comparison.unchanged)} actors stay as they are")


def _tell_changes(talk: Talk, changes: "Iterable[Change]") -> None:
    for change in changes:
        talk.data(f"    {change.key}: {_shown(change.old)} → {_shown(change.new)} ({change.effect})")


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = compact_json(value)
    return f"{text[:_VALUE]}…" if len(text) > _VALUE else text


def _queued(comparison: "Comparison", counts: Counts | None, name: str) -> str:
    if counts is None:
        return ""
    waiting = counts.get(name)
    text = "; its queue's length is not known" if waiting is None else f"; {waiting} queued"
    before = _before(comparison, counts, name)
    return f"{text}, {before} in queues before it" if before else text


def _document(comparison: "Comparison", counts: Counts | None, stranded: Mapping[str, int], drains: Collection[str]) -> dict[str, Any]:
    def queued(name: str) -> dict[str, Any]:
        goes = {"drains": name in drains}
        if counts is None:
            return goes
        own = counts.get(name)
        return goes | ({} if own is None else {"queued": own}) | {"queued_before": _before(comparison, counts, name)}

    return {
        "is_empty": comparison.is_empty,
        "added": list(comparison.added),
        "removed": [{"name": name, **queued(name)} for name in comparison.removed],
        "renamed": [
            {"old": each.old, "new": each.new, "changes": [change.as_json() for change in each.changes], **queued(each.old)}
            for each in comparison.renamed
        ],
        "changed": [
            {"name": each.name, "effect": each.effect.value, "changes": [change.as_json() for change in each.changes]}
            | (queued(each.name) if each.name in comparison.gone else {})
            for each in comparison.changed
        ],
        "unchanged": list(comparison.unchanged),
        "stranded": None if counts is None and set(comparison.gone) - set(drains) else dict(stranded),
    }


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
