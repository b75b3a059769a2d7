"""``asya mcp``: list tools, call one, see and cancel envelopes. What is on the wire is `asya_cli.client`'s business."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from asya_cli.asking import Asking, gateway_options, table
from asya_cli.errors import Failed, Interrupted, TimedOut
from asya_cli.main import talk_options
from asya_core.wire.errors import RemoteFault

if TYPE_CHECKING:
    from asya_cli.client import GatewayClient

__all__ = ["mcp", "outcome"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}
_FINAL: Final = ("succeeded", "failed", "cancelled", "expired")


@click.group(context_settings=_HELP)
def mcp() -> None:
    """Call tools of a gateway.

    The gateway's address is that of --url, ASYA_CLI_MCP_URL, mcp.url of asya.yaml or of the user's file, or http://127.0.0.1:8080. A key is
    taken from --token-file or ASYA_CLI_TOKEN.
    """


@mcp.command("list", context_settings=_HELP)
@gateway_options
@talk_options
@click.pass_context
def list_(ctx: click.Context, /, **given: Any) -> None:
    """List the tools; arguments with * are required."""
    run = Asking(ctx, given)
    with run.client() as client:
        tools = client.tools()
    if run.is_json:
        run.data({"tools": tools})
        return
    from asya_cli.schema_options import arguments_text

    rows = [(tool["name"], " ".join(tool.get("description", "").split()), arguments_text(tool)) for tool in tools]
    table(run.talk, ("NAME", "DESCRIPTION", "ARGUMENTS"), rows)
    if not tools:
        run.talk.info("This gateway has no tools for you")


@mcp.command(context_settings=_HELP)
@click.argument("tool", metavar="TOOL")
@gateway_options
@talk_options
@click.pass_context
def show(ctx: click.Context, /, tool: str, **given: Any) -> None:
    """Show one tool: description, arguments, schema."""
    run = Asking(ctx, given)
    with run.client() as client:
        found = client.tool(tool)
    if run.is_json:
        run.data(found)
        return
    run.talk.data(f"{found['name']}: {found.get('description') or 'no description'}")
    run.talk.data(f"route: {' → '.join(found['route'])}")
    run.talk.data("arguments:")
    run.data(found["inputSchema"])


class _CallCommand(click.Command):
    """``call`` without a help option of its own, so that ``call TOOL --help`` is the tool's."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "TOOL", "[--NAME=VALUE]..."]


@mcp.command(cls=_CallCommand, add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument, for names that are options here; may be repeated.")
@click.option("--json", "json_text", metavar="JSON|@FILE|-", help="All arguments as one JSON object; options win over it.")
@click.option("--no-wait", is_flag=True, help="Print id and status, do not wait for the end.")
@click.option("--timeout", metavar="DURATION", help="Stop waiting after this long; the envelope goes on.")
@click.option("--idempotency-key", metavar="KEY", help="The same key gives the same envelope, not another one.")
@gateway_options
@talk_options
@click.pass_context
def call(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """Call a tool and wait for its result. Its arguments are options: asya mcp call TOOL --help."""
    run = Asking(ctx, given)
    wants_help = any(word in ("--help", "-h") for word in words)
    if not words or words[0].startswith("-"):
        if wants_help:
            click.echo(ctx.get_help())
            return
        raise click.UsageError("Name the tool before its arguments: asya mcp call TOOL --NAME=VALUE", ctx)
    timeout = _seconds(given["timeout"])
    base = _base(given["json_text"])
    with run.client() as client:
        tool = client.tool(words[0])
        if wants_help:
            click.echo(_help_of(tool))
            return
        arguments = _arguments(tool, base, words[1:], given["pairs"])
        view = client.call(tool["name"], arguments, idempotency_key=given["idempotency_key"])
        with _goes_on(view["id"]):
            run.talk.info(f"Envelope ID: {view['id']}")
            if given["no_wait"]:
                run.data({"id": view["id"], "status": view["status"]})
                return
            view = _followed(run, client, view, timeout)
        _conclude(run, view)


@mcp.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait for the end, as call does.")
@click.option("--timeout", metavar="DURATION", help="Stop waiting after this long.")
@gateway_options
@talk_options
@click.pass_context
def status(ctx: click.Context, /, envelope_id: str, wait: bool, timeout: str | None, **given: Any) -> None:
    """Show an envelope; with --wait, its result once it has ended."""
    run = Asking(ctx, given)
    seconds = _seconds(timeout)
    with run.client() as client:
        view = client.envelope(envelope_id)
        if wait:
            with _goes_on(view["id"]):
                view = _followed(run, client, view, seconds)
            _conclude(run, view)
            return
    run.data(view)
    if view["status"] in _FINAL and view["status"] != "succeeded":
        raise _failure(view)


@mcp.command(context_settings=_HELP)
@click.argument("envelope_id", metavar="ID")
@gateway_options
@talk_options
@click.pass_context
def cancel(ctx: click.Context, /, envelope_id: str, **given: Any) -> None:
    """Give an envelope up."""
    run = Asking(ctx, given)
    with run.client() as client:
        view = client.cancel(envelope_id)
    run.data(view if run.is_json else {"id": view["id"], "status": view["status"]})
    if view["status"] != "cancelled":
        raise Failed("ended_before", f"Envelope {view['id']} had {view['status']} before", f"see it: asya mcp status {view['id']}")


# ----------------------------------------------------------------------------------------------------------------- arguments


def _help_of(tool: dict[str, Any]) -> str:
    from asya_cli.schema_options import tool_command

    command = tool_command(tool)
    text = command.get_help(click.Context(command, info_name=command.name, **command.context_settings))
    return f"{text}\n\nOptions of call itself: asya mcp call --help."


def _base(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    from asya_cli.run.payload_input import read_input

    value = read_input(text)
    if not isinstance(value, dict):
        raise RemoteFault("usage", "--json is no JSON object", 'write {"NAME": VALUE}')
    return value


def _arguments(tool: dict[str, Any], base: dict[str, Any], words: Sequence[str], pairs: Sequence[str]) -> dict[str, Any]:
    from asya_cli.schema_options import arguments_of, converted, missing

    try:
        arguments = {**base, **arguments_of(tool, words)}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not equals or not name:
                raise RemoteFault("usage", f"--arg {pair!r} is not NAME=VALUE", "write for instance --arg text=hello")
            arguments[name] = converted(tool, name, text)
    except click.UsageError as error:
        raise RemoteFault("usage", error.format_message(), f"see asya mcp call {tool['name']} --help") from error
    absent = missing(tool, arguments)
    if absent:
        names = ", ".join(f"--{name}" for name in absent)
        raise RemoteFault("usage", f"{tool['name']} needs {names}", f"see asya mcp call {tool['name']} --help")
    return arguments


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from asya_core.ops.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise RemoteFault("usage", f"--timeout {text!r} is no duration", "write a number with ms, s, m or h, such as 30s") from None


# ------------------------------------------------------------------------------------------------------------------- waiting


@contextmanager
def _goes_on(envelope_id: str) -> Iterator[None]:
    """Whoever interrupts what is inside is told that the envelope goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", f"Interrupted; envelope {envelope_id} goes on", _later(envelope_id)) from None


def _later(envelope_id: str) -> str:
    return f"watch it: asya mcp status {envelope_id} --wait; give it up: asya mcp cancel {envelope_id}"


def _followed(run: Asking, client: "GatewayClient", view: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    """The final view, a bar drawn meanwhile. Raises TimedOut; the envelope goes on then."""
    from asya_cli.bar import shown_bar

    envelope_id = view["id"]
    until = None if timeout is None else time.monotonic() + timeout
    with shown_bar(quiet=run.talk.quiet, colour=run.talk.colour) as bar:
        bar.move(view["progress"], view["status"])
        for kind, data in _timed(client, envelope_id, until):
            if kind == "late":
                raise TimedOut("timed_out", f"--timeout ran out; envelope {envelope_id} goes on", _later(envelope_id))
            bar.move(data.get("progress", view["progress"]), data.get("status", "running"))
            if kind == "final":
                return dict(data)
    raise AssertionError("a followed envelope ends")


def _timed(client: "GatewayClient", envelope_id: str, until: float | None) -> Any:
    """Events of the envelope, and ``late`` once the time is over."""
    if until is None:
        yield from client.follow(envelope_id)
        return
    import queue
    import threading

    events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def pump() -> None:
        try:
            for event in client.follow(envelope_id):
                events.put(event)
        except BaseException as error:  # handed to the one who waits
            events.put(error)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            event = events.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            yield "late", {}
            return
        if isinstance(event, BaseException):
            raise event
        yield event
        if event[0] == "final":
            return


def _conclude(run: Asking, view: dict[str, Any]) -> None:
    """Print what came of it. Raises Failed if that is not success."""
    run.data(view if run.is_json else outcome(view))
    if view["status"] != "succeeded":
        raise _failure(view)


def outcome(view: dict[str, Any]) -> dict[str, Any]:
    """What `call` prints of a final view: ``result``, ``result_ref``, or ``error``. A failed one's result_ref is error-end's record."""
    if view["status"] != "succeeded":
        shown = {key: value for key, value in view.get("error", {}).items() if key in ("code", "type", "message", "actor", "attempt")}
        return {"error": shown or {"code": view["status"]}}
    if "result_ref" in view and "result" not in view:
        return {"result_ref": view["result_ref"]}
    return {"result": view.get("result")}


def _failure(view: dict[str, Any]) -> Failed:
    error = view.get("error", {})
    kind, actor = error.get("type") or error.get("code") or view["status"], error.get("actor")
    where = f" in {actor}" if actor else ""
    hint = f"see its traceback: asya envelope show {view['id']} --traceback; when the cause is gone: asya dlq replay {view['id']}"
    return Failed("envelope_failed", f"{kind}{where}: {error.get('message') or view['status']}", hint)
