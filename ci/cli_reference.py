"""Writes docs/reference/cli.md from the command tree. A test compares the page with the tree."""

from pathlib import Path

import click

from asya_cli.main import COMMANDS, asya

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """# The `asya` command

For people who use the command line. This page is made from the command itself by `python ci/cli_reference.py`; how to use it is told in
[Run actors on this machine](../how-to/run-locally.md), what the exit codes mean in [Exit codes](exit-codes.md).
"""


def help_of(command: click.Command, name: str) -> str:
    return command.get_help(click.Context(command, info_name=name, max_content_width=100, terminal_width=100))


def page() -> str:
    parts = [HEAD, "## asya\n", f"```text\n{help_of(asya, 'asya')}\n```\n"]
    for name in sorted(COMMANDS):
        command = asya.get_command(click.Context(asya), name)
        assert command is not None
        parts += [f"## asya {name}\n", f"```text\n{help_of(command, f'asya {name}')}\n```\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
