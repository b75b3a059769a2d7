"""Where failed envelopes are, from what the command line says: options → a `Source`.

Called by `asya_cli.commands.dlq` and `asya_cli.commands.envelope`. The only file that chooses between gateway, storage and queue.
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from asya_cli.asking import Asking
from asya_cli.broker_options import Place, broker_options, place_of, project_of
from asya_core.wire.errors import RemoteFault

if TYPE_CHECKING:
    from asya_cli.dlq.mailbox import Mailbox
    from asya_cli.dlq.source import Source
    from asya_core.objects import ObjectStore

__all__ = ["needs_local", "objects_of", "place_options", "source_of", "storage_options"]

_STORAGE_OPTIONS = ("storage", "s3_region", "s3_endpoint", "s3_path_style")


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where failed envelopes are, those of the broker included."""
    command = storage_options(broker_options(command))
    source = click.option(
        "--source",
        type=click.Choice(["gateway", "storage", "queue"]),
        help="Where to look. [default: gateway; storage with --storage or --project]",
    )
    return source(command)


def storage_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name the crew's storage."""
    for option in (
        click.option("--s3-path-style", is_flag=True, help="The bucket in the path and not in the host name."),
        click.option("--s3-endpoint", metavar="URL", help="Address of an S3-compatible storage that is not AWS's."),
        click.option("--s3-region", metavar="REGION", help="Of the bucket. [env: AWS_REGION]"),
        click.option("--storage", metavar="URL", help="The crew's storage: s3://bucket/prefix or file:///folder."),
    ):
        command = option(command)
    return command


def source_of(asking: Asking, given: dict[str, Any], *, holds: bool = False) -> "Source":
    """The source that the options mean. Raises RemoteFault ``usage``, ``bad_setting``, ``bad_config``, Unavailable.

    Args:
        asking: knows the gateway.
        given: the command's options.
        holds: whether envelopes are going to be sent again, for which those of a queue are taken out of it.
    """
    if given["source"] in ("storage", "queue") or given["storage"] or given["project"]:
        needs_local()
    kind = given["source"] or ("storage" if given["storage"] or given["project"] else "gateway")
    match kind:
        case "gateway":
            _refuse(given, ("storage", "s3_region", "s3_endpoint", "s3_path_style", "project", "queue_file", "namespace"), kind)
            from asya_cli.dlq.gateway_source import GatewaySource

            return GatewaySource(asking.client())
        case "storage":
            place = place_of(given) if holds else None
            if place is None and holds:
                raise RemoteFault("usage", "Replaying from a storage needs a broker", "give --broker-url and --namespace, or --project")
            from asya_cli.dlq.storage_source import StorageSource

            return StorageSource(objects_of(given), _mailbox(place), place.namespace if place else "none")
        case _:
            _refuse(given, _STORAGE_OPTIONS, kind)
            place = place_of(given)
            if place is None:
                raise RemoteFault("usage", "--source queue needs a broker", "give --broker-url and --namespace, or --project")
            from asya_cli.dlq.queue_source import QueueSource

            return QueueSource(place.broker.admin(place.namespace), _mailbox(place), place.namespace, holds=holds)


def needs_local() -> None:
    """Raise RemoteFault ``no_local_extra`` unless what reaches brokers and storages is installed."""
    if find_spec("msgspec") is None:
        raise RemoteFault("no_local_extra", "Without a gateway this needs packages that are not installed", "pip install 'asya[local]'")


def _refuse(given: dict[str, Any], names: tuple[str, ...], kind: str) -> None:
    for name in names:
        if given[name]:
            raise RemoteFault("usage", f"--{name.replace('_', '-')} has no meaning with --source {kind}", "leave one of them out")


def objects_of(given: dict[str, Any]) -> "ObjectStore":
    """The storage that --storage or --project name. Raises RemoteFault ``usage``, ``bad_setting``."""
    from asya_core.objects import DirectoryLocation, S3Access, open_store, parse_location

    if given["storage"]:
        access = S3Access(
            region=given["s3_region"] or os.environ.get("AWS_REGION") or None,
            endpoint=given["s3_endpoint"],
            path_style=given["s3_path_style"],
        )
        return open_store(parse_location(given["storage"]), access)
    project = project_of(given)
    if project is None:
        raise RemoteFault(
            "usage", "--source storage needs --storage or --project", "give s3://bucket/prefix, file:///folder or the project"
        )
    from asya_cli.run.session import STATE

    return open_store(DirectoryLocation(path=project / STATE))


def _mailbox(place: Place | None) -> "Callable[[], Mailbox]":
    def make() -> "Mailbox":
        from asya_cli.dlq.mailbox import Mailbox

        assert place is not None
        return Mailbox(lambda: place.broker.transport(place.namespace))

    return make
