"""``asya key new``: an API key for a gateway. The token is shown once; the gateway keeps its hash."""

import hashlib
import re
import secrets
from typing import Any, Final

import click

from asya_cli.main import talk_of, talk_options
from asya_cli.output import Format, pretty_json
from asya_core.wire.errors import RemoteFault

__all__ = ["key"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_BYTES: Final = 32
"""256 bits, 43 characters of base64url."""


@click.group(context_settings=_HELP)
def key() -> None:
    """Make API keys."""


@key.command(context_settings=_HELP)
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["call", "read", "operate"]),
    help="What it may do; may be repeated.  [default: call]",
)
@click.option("--tool", "tools", multiple=True, metavar="TOOL", help="The only tools it may call; may be repeated. Default: all.")
@talk_options
@click.pass_context
def new(ctx: click.Context, /, name: str, roles: tuple[str, ...], tools: tuple[str, ...], **given: Any) -> None:
    """Make a key: the token on stdout, its entry for keys.yaml on stderr.

    Put the entry into the key keys.yaml of the Secret asya-gateway-keys.
    """
    talk = talk_of(ctx, **given)
    if not _NAME.fullmatch(name):
        raise RemoteFault("usage", f"NAME {name!r} is not legal", "use up to 64 of A–Z, a–z, 0–9, dot, dash, underscore and @")
    token = f"asya_{secrets.token_urlsafe(_BYTES)}"
    entry: dict[str, Any] = {"sha256": [hashlib.sha256(token.encode()).hexdigest()], "roles": list(roles or ("call",))}
    if tools:
        entry["tools"] = list(tools)
    if talk.format is Format.JSON:
        talk.data(pretty_json({"token": token, "name": name, "entry": entry}))
        return
    talk.data(token)
    listed = ", ".join(f"{part}: [{', '.join(values)}]" for part, values in entry.items())
    talk.line(f"{name}: {{{listed}}}")
    talk.info("Keep the token now, it is shown once; the line above belongs into keys.yaml")
