"""``asya doctor``: options, and what is printed. The checks are in `asya_cli.doctor`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from asya_cli.asking import Asking, gateway_options
from asya_cli.broker_options import broker_options, place_of
from asya_cli.dlq.places import needs_local, objects_of, storage_options
from asya_cli.doctor.check import Check, State, guarded
from asya_cli.errors import Failed
from asya_cli.main import talk_options
from asya_cli.output import Mark, Talk, one_line
from asya_core.wire.errors import RemoteFault

__all__ = ["doctor"]

_MARKS: Final = {State.GOOD: Mark.DONE, State.ODD: Mark.WARNING, State.BAD: Mark.ERROR, State.SKIPPED: Mark.INFO}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directory", metavar="[DIR]", default=".", required=False)
@click.option("--kube", is_flag=True, help="Also check the cluster of the kubeconfig: operator, KEDA, actors, Secrets.")
@click.option("--context", metavar="NAME", help="Of the kubeconfig, with --kube.")
@broker_options
@storage_options
@gateway_options
@talk_options
@click.pass_context
def doctor(ctx: click.Context, /, directory: str, kube: bool, **given: Any) -> None:
    """Check an installation: one line per check, and what to do about each that is not well.

    Always: Python, packages, Graphviz, settings, the values of the project in DIR, the gateway. With a broker (--broker-url, --queue-file,
    --project) that, with --storage or --project the storage, with --kube the cluster. Exit code 1 if a check failed.
    """
    asking = Asking(ctx, given)
    if given["context"] and not kube:
        raise RemoteFault("usage", "--context needs --kube", "give both, or neither")
    if not Path(directory).is_dir():
        raise RemoteFault("usage", f"{directory} is no folder", "name a project's folder, or leave it out")
    checks = []
    for check in _checks(asking, directory, kube, given):
        checks.append(check)
        if not asking.is_json:
            _tell(asking.talk, check)
    failed = [check for check in checks if check.state is State.BAD]
    if asking.is_json:
        asking.data({"ok": not failed, "checks": [check.as_json() for check in checks]})
    if failed:
        raise Failed(
            "unwell", f"{len(failed)} of {len(checks)} checks failed: {', '.join(each.name for each in failed)}", "see the hints above"
        )
    asking.talk.done("All is well" if all(each.state is not State.ODD for each in checks) else "Nothing failed; see the lines with [!]")


def _checks(asking: Asking, directory: str, kube: bool, given: dict[str, Any]) -> Iterator[Check]:
    from asya_cli.doctor.machine import of_machine, of_project

    yield from of_machine(os.environ, asking.config)
    folder = Path(given["project"] or directory)
    yield from of_project(folder)
    # --kube alone is about the cluster: its --namespace names no broker.
    if any(given[name] for name in ("broker_url", "queue_file", "project", "transport")) or (given["namespace"] and not kube):
        yield from guarded("broker", lambda: _broker(folder, given))
    if given["storage"] or given["project"]:
        yield from guarded("storage", lambda: _storage(given))
    yield from guarded("gateway", lambda: _gateway(asking))
    if kube:
        yield from guarded("cluster", lambda: _cluster(given))


def _broker(folder: Path, given: dict[str, Any]) -> Iterator[Check]:
    from asya_cli.doctor.broker import of_broker

    needs_local()
    place = place_of(given)
    if place is not None:
        yield from of_broker(place, _actors_of(folder))


def _actors_of(folder: Path) -> list[str]:
    from asya_core.wire.errors import AsyaError

    if not (folder / "actors").is_dir():
        return []
    from asya_cli.run.project import load

    try:
        return sorted(load([str(folder)]).actors)
    except AsyaError:
        return []  # told by its own check


def _storage(given: dict[str, Any]) -> Iterator[Check]:
    from asya_cli.doctor.storage import of_storage

    needs_local()
    yield from of_storage(objects_of(given))


def _gateway(asking: Asking) -> Iterator[Check]:
    from asya_cli.doctor.gateway import of_gateway

    with asking.client() as client:
        yield from of_gateway(client, is_chosen=client.is_chosen)


def _cluster(given: dict[str, Any]) -> Iterator[Check]:
    from asya_cli.doctor.cluster import of_cluster
    from asya_cli.kube import connect

    yield from of_cluster(connect(context=given["context"]), given["namespace"])


def _tell(talk: Talk, check: Check) -> None:
    talk.data(f"{_MARKS[check.state]} {check.name}: {one_line(check.message)}")
    if check.hint:
        talk.data(f"    hint: {one_line(check.hint)}")
