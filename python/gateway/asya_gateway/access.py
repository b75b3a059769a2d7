"""Who is calling, and what they may. Decisions only.

Made by `http.auth`; asked by `service` and the HTTP edges. Knows neither tokens nor HTTP.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ANONYMOUS", "ROLE_SCOPES", "Principal", "Role"]


class Role(StrEnum):
    """What a principal may do; each role includes what stands above it."""

    CALL = "call"
    """Call tools, see and cancel one's own envelopes."""
    READ = "read"
    """See all envelopes."""
    OPERATE = "operate"
    """Cancel and replay any envelope, see records with tracebacks."""


ROLE_SCOPES = {f"asya:{role.value}": role for role in Role}
"""OAuth scope of each role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One caller.

    Attributes:
        name: of the key, or ``subject`` of the token; owner of the envelopes it makes.
        roles: what it may do.
        tools: names of the only tools it may call; None: all that `allow` of the tool lets it.
        expires_at: wall clock seconds at which its credential ends, or None.
        is_session: signed in on the page: cookies travel by themselves, so its requests need a matching Origin.
    """

    name: str
    roles: frozenset[Role]
    tools: frozenset[str] | None = None
    expires_at: float | None = None
    is_session: bool = False

    def may(self, role: Role) -> bool:
        """Whether it has `role` or one that includes it."""
        order = list(Role)
        return any(order.index(each) >= order.index(role) for each in self.roles)

    def may_call(self, tool: str, allow: Iterable[str] | None) -> bool:
        """Whether it may see and call `tool`.

        Args:
            tool: the tool's name.
            allow: names of principals and scopes that the tool is open to; None: to all.
        """
        if not self.may(Role.CALL) or (self.tools is not None and tool not in self.tools):
            return False
        return allow is None or self.name in allow or any(f"asya:{role.value}" in allow and self.may(role) for role in Role)

    def may_see(self, owner: str) -> bool:
        """Whether it may see an envelope of `owner`."""
        return owner == self.name or self.may(Role.READ)

    def may_change(self, owner: str) -> bool:
        """Whether it may cancel an envelope of `owner`."""
        return owner == self.name or self.may(Role.OPERATE)


ANONYMOUS = Principal(name="anonymous", roles=frozenset(Role))
"""Everybody, where no authentication is asked for."""
