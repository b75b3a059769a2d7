"""Options that name a broker, or a project that ``asya run --serve`` keeps up, and the broker that they mean.

Called by the commands `dlq`, `plan` and `doctor`. Connects to nothing.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import check_namespace

if TYPE_CHECKING:
    from asya_cli.run.broker import Broker

__all__ = ["Place", "broker_options", "place_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A broker and a namespace on it.

    Attributes:
        broker: how it is reached.
        namespace: whose queues.
        name: for sentences; no credentials.
        management_url: of RabbitMQ's management API, or None.
    """

    broker: "Broker"
    namespace: str
    name: str
    management_url: str | None = None


def broker_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options."""
    for option in (
        click.option("--project", metavar="DIR", help="The project that asya run --serve keeps up: its broker, namespace and records."),
        click.option("--queue-file", metavar="FILE", help="File of --transport embedded."),
        click.option("--management-url", metavar="URL", help="http[s]://host:port of RabbitMQ's management API."),
        click.option("--namespace", metavar="NS", help="Whose queues. [default: that of --project]"),
        click.option(
            "--broker-url",
            metavar="URL",
            envvar="ASYA_CLI_BROKER_URL",
            help="amqp://user:password@host:port/vhost of --transport rabbitmq; http://host:port of a local server with sqs, none for AWS. "
            "[env: ASYA_CLI_BROKER_URL]",
        ),
        click.option(
            "--transport", type=click.Choice(["embedded", "rabbitmq", "sqs"]), help="The broker's kind. [default: by what is given]"
        ),
    ):
        command = option(command)
    return command


def place_of(given: Mapping[str, Any]) -> Place | None:
    """What the options mean; None if they name no broker. Raises RemoteFault ``usage``, ``bad_broker_url``, ``bad_name``."""
    from asya_cli.run.broker import EmbeddedBroker, RabbitBroker, SqsBroker

    project = project_of(given)
    namespace, kind = given["namespace"], given["transport"]
    if project is not None:
        from asya_cli.run.session import served_namespace

        namespace = namespace or served_namespace(project)
    # A variable of the environment may be there for other commands: a project's own broker, or a file that is named, wins over it.
    kind = kind or ("embedded" if given["queue_file"] or project is not None else "rabbitmq" if given["broker_url"] else None)
    if kind is None:
        if namespace:
            raise RemoteFault("usage", "--namespace needs a broker", "give --broker-url, --queue-file or --project")
        return None
    if not namespace:
        raise RemoteFault("usage", "A broker needs --namespace", "give the Kubernetes namespace of the actors, or --project")
    check_namespace(namespace)
    if kind == "sqs":
        where = given["broker_url"] or f"in {os.environ.get('AWS_REGION', 'the default region')}"
        return Place(
            broker=SqsBroker(endpoint=given["broker_url"] or None, surroundings=os.environ), namespace=namespace, name=f"SQS {where}"
        )
    if kind == "rabbitmq":
        if not given["broker_url"]:
            raise RemoteFault("usage", "--transport rabbitmq needs --broker-url", "give amqp://user:password@host:port/vhost")
        from asya_core.transports.rabbitmq import RabbitSettings

        where = RabbitSettings.from_url(given["broker_url"]).where
        return Place(
            broker=RabbitBroker(url=given["broker_url"], password_file=Path(os.devnull), management_url=given["management_url"]),
            namespace=namespace,
            name=f"RabbitMQ {where}",
            management_url=given["management_url"],
        )
    if given["queue_file"]:
        file = Path(given["queue_file"])
    elif project is not None:
        from asya_cli.run.session import STATE

        file = project / STATE / "queues.db"
    else:
        raise RemoteFault("usage", "--transport embedded needs --queue-file or --project", "name the file, or the project's folder")
    if not file.is_file():
        raise RemoteFault("usage", f"There is no queue file {file}", "start asya run --serve once, or check the path")
    return Place(broker=EmbeddedBroker(path=file), namespace=namespace, name=f"queue file {file}")


def project_of(given: Mapping[str, Any]) -> Path | None:
    """The resolved folder of ``--project``. Raises RemoteFault ``usage`` if it is none."""
    if given["project"] is None:
        return None
    folder = Path(given["project"])
    if not folder.is_dir():
        raise RemoteFault("usage", f"--project {folder} is no folder", "name the folder that asya run --serve was given")
    return folder.resolve()
