"""Writes docs/reference/cli.md from the command tree. A test compares the page with the tree."""

from pathlib import Path

import click

from asya_cli.main import COMMANDS, asya

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """# The `asya` command

For people who use the command line. This page is made from the command itself by `python ci/cli_reference.py`; how to use it is told in
[Run actors on this machine](../how-to/run-locally.md), [Compile a flow](../how-to/compile-a-flow.md),
[Call actors](../how-to/call-actors.md), [Replay failed envelopes](../how-to/replay-failed-envelopes.md),
[Change a flow](../how-to/change-a-flow.md) and [Check an installation](../how-to/check-an-installation.md),
what the exit codes mean in [Exit codes](exit-codes.md).

<!-- blocks of this page run in python/cli/tests/test_command.py -->
"""


def help_of(command: click.Command, name: str) -> str:
    return command.get_help(click.Context(command, info_name=name, max_content_width=100, terminal_width=100, **command.context_settings))


def commands() -> dict[str, click.Command]:
    """Every command by its full name, groups before what is in them."""
    found: dict[str, click.Command] = {"asya": asya}
    for name in sorted(COMMANDS):
        command = asya.get_command(click.Context(asya), name)
        assert command is not None
        found[f"asya {name}"] = command
        if isinstance(command, click.Group):
            found |= {f"asya {name} {inner}": each for inner, each in sorted(command.commands.items())}
    return found


def page() -> str:
    return "\n".join([HEAD, *(f"## {name}\n\n```text\n{help_of(command, name)}\n```\n" for name, command in commands().items())])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
