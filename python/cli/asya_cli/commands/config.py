"""``asya config show``: which settings are in force, and where each comes from."""

import os
from typing import Any, Final

import click

from asya_cli.main import talk_of, talk_options
from asya_cli.output import Format, pretty_json

__all__ = ["config"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
def config() -> None:
    """See the settings of this command."""


@config.command(context_settings=_HELP)
@talk_options
@click.pass_context
def show(ctx: click.Context, /, **given: Any) -> None:
    """Show each setting with its origin; a key's value is never shown."""
    talk = talk_of(ctx, **given)
    from asya_cli.config import read_config, user_file

    found = read_config(os.environ)
    shown = {
        "mcp.url": {"value": found.url.value, "origin": found.url.origin},
        "mcp.token": {"value": "set" if found.token else "not set", "origin": found.token.origin if found.token else "default"},
        "user file": {"value": str(user_file(os.environ)), "origin": "environment" if os.environ.get("ASYA_CLI_CONFIG") else "default"},
    }
    if talk.format is Format.JSON:
        talk.data(pretty_json(shown))
        return
    for name, each in shown.items():
        talk.data(f"{name}: {each['value']} ({each['origin']})")
