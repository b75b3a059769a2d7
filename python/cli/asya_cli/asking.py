"""What the commands that ask a gateway share: their options, how one call of a command talks, tables.

Called by `asya_cli.commands`. What is on the wire is `asya_cli.client`'s business.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from asya_cli.main import talk_of
from asya_cli.output import Format, Talk, pretty_json

if TYPE_CHECKING:
    from asya_cli.client import GatewayClient
    from asya_cli.config import Config

__all__ = ["Asking", "gateway_options", "table"]


def gateway_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where the gateway is and who asks."""
    for option in (
        click.option("--token-file", metavar="FILE", help="File with the key. [env: ASYA_CLI_TOKEN, the key itself]"),
        click.option("--url", metavar="URL", help="Address of the gateway. [env: ASYA_CLI_MCP_URL]"),
    ):
        command = option(command)
    return command


class Asking:
    """One call of a command: how it talks, where it asks.

    Args:
        ctx: of the command.
        given: its options; those of talk and gateway are taken out.
    """

    def __init__(self, ctx: click.Context, given: dict[str, Any]) -> None:
        self.talk: Talk = talk_of(ctx, **{key: given.pop(key) for key in ("output_format", "quiet", "verbose", "no_color")})
        self.is_json = self.talk.format is Format.JSON
        self._url, self._token_file = given.pop("url"), given.pop("token_file")

    def config(self) -> "Config":
        """Address and credential that are in force. Raises RemoteFault ``bad_config``."""
        from asya_cli.config import read_config

        return read_config(os.environ, url=self._url, token_file=self._token_file)

    def client(self) -> "GatewayClient":
        """A client of the gateway that is meant. Raises RemoteFault ``bad_config``."""
        from asya_cli.client import GatewayClient

        return GatewayClient(self.config())

    def data(self, value: Any) -> None:
        """One JSON document on stdout."""
        self.talk.data(pretty_json(value))


def table(talk: Talk, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns on stdout; as wide as they are unless stdout is a terminal."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    drawn = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in head:
        drawn.add_column(name, no_wrap=not is_terminal, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=None if is_terminal else 10_000, highlight=False, color_system=None).print(drawn)
    talk.data("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
