"""Checks of a gateway: does it answer, does it know this key, does it speak MCP, has it tools, is its clock right?

Called by `asya_cli.commands.doctor`.
"""

from collections.abc import Iterator
from typing import Final

from asya_cli.client import GatewayClient
from asya_cli.doctor.check import Check, bad, good, odd, skipped
from asya_core.wire.errors import Refused, Unavailable

__all__ = ["of_gateway", "skew"]

_MOST_SKEW_SECONDS: Final = 5.0
"""A gateway allows a token 30 s; deadlines and histories are wrong by the whole difference."""


def of_gateway(client: GatewayClient, *, is_chosen: bool) -> Iterator[Check]:
    """The checks; where nobody has set an address, one that does not answer is no fault.

    Args:
        client: of the gateway.
        is_chosen: whether its address was set, and is not the default.
    """
    try:
        tools = client.tools()
    except Unavailable as error:
        if is_chosen:
            yield bad("gateway", error.message, error.hint)
        else:
            yield skipped("gateway", "None answers at the default address, and no other is set", "set ASYA_CLI_MCP_URL to check one")
        return
    except Refused as error:
        yield bad("gateway", error.message, error.hint)
        return
    yield good("gateway", f"answers, and knows {'this key' if client.has_key else 'callers without a key'}")
    if tools:
        yield good(
            "tools", f"{len(tools)} may be called: {', '.join(each['name'] for each in tools[:10])}{' …' if len(tools) > 10 else ''}"
        )
    else:
        yield odd("tools", "None that this caller may call", "define some in the gateway's values, or use a key with role call")
    yield from _mcp(client)
    yield skew("gateway", client.skew_seconds)


def _mcp(client: GatewayClient) -> Iterator[Check]:
    spoken = []
    for method in ("initialize", "server/discover"):
        try:
            spoken.append(client.mcp_version(method))
        except (Refused, Unavailable) as error:
            yield bad("mcp", f"{method}: {error.message}", error.hint)
            return
    yield good("mcp", f"speaks {spoken[0]} by initialize and {spoken[1]} by server/discover")


def skew(whose: str, seconds: float | None) -> Check:
    """The check of a clock that is `seconds` ahead of this machine's."""
    if seconds is None:
        return skipped(f"clock of {whose}", "It does not tell the time")
    if abs(seconds) <= _MOST_SKEW_SECONDS:
        return good(f"clock of {whose}", "agrees with this machine's")
    side = "ahead of" if seconds > 0 else "behind"
    return odd(
        f"clock of {whose}",
        f"is {abs(seconds):.0f} s {side} this machine's",
        "set both by NTP: deadlines and tokens are judged by these clocks",
    )
