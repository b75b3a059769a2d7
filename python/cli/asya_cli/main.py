"""The command tree. Each command's module is imported when it is called, so that ``asya --help`` is quick (at most 250 ms)."""

import importlib
from typing import Any, Final

import click

from asya_cli.output import Format, Talk
from asya_core import __version__

__all__ = ["asya"]

COMMANDS: Final = {
    "config": ("asya_cli.commands.config", "config", "See the settings of this command."),
    "dlq": ("asya_cli.commands.dlq", "dlq", "Find failed envelopes and send them again."),
    "doctor": ("asya_cli.commands.doctor", "doctor", "Check an installation: a line and a remedy per check."),
    "envelope": ("asya_cli.commands.envelope", "envelope", "See envelopes, follow one, give it up, send it again."),
    "flow": ("asya_cli.commands.flow", "flow", "Compile a Python function into router actors, or check one."),
    "key": ("asya_cli.commands.key", "key", "Make API keys for a gateway."),
    "mcp": ("asya_cli.commands.mcp", "mcp", "Call tools of a gateway."),
    "plan": ("asya_cli.commands.plan", "plan", "See what a change of values files adds, removes, restarts and strands."),
    "run": ("asya_cli.commands.run", "run", "Run actors on this machine: one envelope, or until Ctrl-C."),
}
"""Name: module, attribute, the sentence that the list shows."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from asya_cli.errors import nearest

            raise click.UsageError(f"No such command {args[0]!r}; {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def talk_options(command: Any) -> Any:
    """The options of every command that say how it talks."""
    for option in (
        click.option("--no-color", is_flag=True, help="No colours, even on a terminal."),
        click.option("--verbose", "-v", is_flag=True, help="Also say what is normally left out."),
        click.option("--quiet", is_flag=True, help="Only warnings and errors on stderr."),
        click.option(
            "--output", "output_format", type=click.Choice([each.value for each in Format]), help="How data is written on stdout."
        ),
    ):
        command = option(command)
    return command


def talk_of(ctx: click.Context, *, output_format: str | None, quiet: bool, verbose: bool, no_color: bool) -> Talk:
    """The one `Talk` of the process, with the options of the group and of the command taken together."""
    talk: Talk = ctx.ensure_object(Talk)
    talk.format = Format(output_format) if output_format else talk.format
    talk.quiet = talk.quiet or quiet
    talk.verbose = talk.verbose or verbose
    talk.colour = False if no_color else talk.colour
    return talk


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="asya %(version)s")
@talk_options
@click.pass_context
def asya(ctx: click.Context, output_format: str | None, quiet: bool, verbose: bool, no_color: bool) -> None:
    """Asya: asynchronous actors in plain Python.

    Data is written on stdout, talk on stderr. Exit codes: docs/reference/exit-codes.md.
    """
    talk_of(ctx, output_format=output_format, quiet=quiet, verbose=verbose, no_color=no_color)
