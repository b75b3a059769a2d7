"""``asya run``: options and their checks. The work is in `asya_cli.run`."""

import asyncio
import os
from typing import Any

import click

from asya_cli.main import talk_of, talk_options
from asya_core.wire.errors import RemoteFault

__all__ = ["run"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--input", "input_text", metavar="JSON|@FILE|-", help="Payload of one envelope: JSON itself, a file, or stdin.")
@click.option("--route", metavar="A,B:STEP,C", help="Actors in order. Default: run.route of asya.yaml, else the only actor.")
@click.option("--flow", "flow_name", metavar="NAME", help="The flow function, if the flow's file has several.")
@click.option(
    "--transport",
    type=click.Choice(["embedded", "rabbitmq", "sqs"]),
    default="embedded",
    show_default=True,
    help="What moves the messages. sqs: region and credentials from AWS's own variables and files.",
)
@click.option(
    "--broker-url",
    metavar="URL",
    envvar="ASYA_CLI_BROKER_URL",
    help="amqp://user:password@host:port/vhost of --transport rabbitmq; http://host:port of a local server with sqs, none for AWS. "
    "[env: ASYA_CLI_BROKER_URL]",
)
@click.option("--serve", is_flag=True, help="Stay up; restart what changes; Ctrl-C drains.")
@click.option("--gateway", is_flag=True, help="With --serve: also a gateway, for asya mcp and MCP clients on this machine.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="PORT", help="Of the gateway; 0 is any free one."
)
@click.option("--attach", is_flag=True, help="Send --input to the --serve of the same TARGET that is running.")
@click.option("--only", multiple=True, metavar="ACTOR", help="Show lines of this actor alone; may be repeated.")
@click.option("--trace", is_flag=True, help="Print a table of hops at the end.")
@click.option("--keep", is_flag=True, help="Keep queues, results and errors of this run in .asya/run.")
@click.option("--fresh", is_flag=True, help="Empty .asya/run first.")
@click.option("--grace", metavar="DURATION", default="30s", show_default=True, help="Time to finish calls after Ctrl-C.")
@click.option("--timeout", metavar="DURATION", default="1h", show_default=True, help="Time for the envelope to end, start-up included.")
@click.option("--set", "settings", multiple=True, metavar="ACTOR.KEY=VALUE", help="Change a value of one actor; may be repeated.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Variable for every handler, from here without VALUE; may be repeated.",
)
@talk_options
@click.pass_context
def run(ctx: click.Context, /, targets: tuple[str, ...], **given: Any) -> None:
    """Run actors on this machine, from the values files that deploy them.

    TARGET is a directory with actors/*.yaml, or values files of the chart asya-actor, or a flow (*.py), which is compiled in memory; values
    files beside a flow are those of its handlers. Each actor gets the same two processes as in the cluster, runtime and sidecar.

    With --input one envelope goes along the route and its final payload is printed; with --serve the actors stay up.
    """
    talk = talk_of(ctx, **{key: given.pop(key) for key in ("output_format", "quiet", "verbose", "no_color")})
    from asya_cli.run import project as projects
    from asya_cli.run.one_shot import one_shot
    from asya_cli.run.payload_input import read_input

    if given["serve"] and given["attach"]:
        raise RemoteFault("usage", "--serve and --attach exclude one another", "start --serve in one terminal, use --attach in another")
    if given["serve"] and given["input_text"] is not None:
        raise RemoteFault("usage", "--serve takes no --input", "send it from another terminal: asya run TARGET --attach --input …")
    if not given["serve"] and given["input_text"] is None:
        raise RemoteFault("usage", "Nothing to do: neither --input nor --serve is given", 'give --input \'{"text": "hello"}\', @FILE or -')
    if given["gateway"] and not given["serve"]:
        raise RemoteFault("usage", "--gateway needs --serve", "give both, then call from another terminal: asya mcp list")
    if given["flow_name"] and not is_flow(targets):
        raise RemoteFault("usage", "--flow needs a flow among the targets", "name the Python file that holds it")
    options = _options(given)

    def load() -> projects.Project:
        if not is_flow(targets):
            return projects.load(targets, given["settings"])
        from asya_cli.run.flow_target import load_flow

        return load_flow(targets, given["settings"], flow=given["flow_name"], talk=talk)

    project = load()
    for name in options.only:
        if name not in project.actors:
            from asya_cli.errors import nearest

            raise RemoteFault("usage", f"--only names actor {name!r}, which is not among the values files", nearest(name, project.actors))
    if given["serve"]:
        from asya_cli.run.serve import serve

        asyncio.run(serve(load, options=options, talk=talk))
        return
    route = project.chosen_route(given["route"])
    payload = read_input(given["input_text"])
    if given["attach"]:
        from asya_cli.run.attach import attach

        asyncio.run(attach(project, route, payload, options=options, talk=talk))
        return
    asyncio.run(one_shot(project, route, payload, options=options, talk=talk))


def is_flow(targets: tuple[str, ...]) -> bool:
    """Whether one of the targets is a flow."""
    return any(target.endswith(".py") for target in targets)


def _options(given: dict[str, Any]) -> Any:
    from asya_cli.run.session import RunOptions

    if given["transport"] == "rabbitmq" and not given["broker_url"]:
        raise RemoteFault("usage", "--transport rabbitmq needs a broker", "give --broker-url amqp://user:password@host:port/vhost")
    return RunOptions(
        transport=given["transport"],
        broker_url=given["broker_url"],
        grace_seconds=_seconds(given["grace"], "--grace"),
        timeout_seconds=_seconds(given["timeout"], "--timeout"),
        keep=given["keep"],
        fresh=given["fresh"],
        trace=given["trace"],
        only=frozenset(given["only"]),
        extra=_variables(given["variables"]),
        gateway_port=given["port"] if given["gateway"] else None,
    )


def _seconds(text: str, option: str) -> float:
    from asya_core.ops.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise RemoteFault("usage", f"{option} {text!r} is no duration", "write a number with ms, s, m or h, such as 30s") from None


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals and name not in os.environ:
            raise RemoteFault("usage", f"--env {name}: there is no such variable here", f"set it, or give --env {name}=VALUE")
        variables[name] = value if equals else os.environ[name]
    return variables
