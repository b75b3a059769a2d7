"""Who sent this request: API keys, JSON Web Tokens, or nobody is asked. One port, three answers.

Called by `front` for public requests and by `internal` for those of the mesh. Tokens are in no log, no error and no envelope.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from asya_core.ops.logs import Log
from asya_core.wire.errors import RemoteFault
from asya_gateway.access import ANONYMOUS, ROLE_SCOPES, Principal, Role
from asya_gateway.http.errors import HttpRefusal
from asya_gateway.http.tokens import TokenChecker, TokenRefused

__all__ = ["ApiKeys", "Authenticator", "FileKey", "Nobody", "OAuth", "bearer_of", "read_keys"]

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_HASHES: Final = 2


class Authenticator(Protocol):
    """Tells who sent a request."""

    async def principal(self, token: str | None) -> Principal:
        """The caller with this bearer token (None: it sent none). Raises HttpRefusal ``unauthenticated``."""
        ...


class Nobody:
    """Asks for nothing: everybody is `ANONYMOUS`."""

    async def principal(self, token: str | None) -> Principal:
        """See `Authenticator.principal`."""
        return ANONYMOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One API key.

    Attributes:
        name: whose it is.
        hashes: SHA-256 of its one or two valid tokens, lower-case hex.
        roles: what it may do.
        tools: the only tools it may call, or None.
    """

    name: str
    hashes: tuple[str, ...]
    roles: frozenset[Role]
    tools: frozenset[str] | None


def read_keys(text: str, *, file: str) -> tuple[Key, ...]:
    """The keys of ``keys.yaml``. Raises RemoteFault ``bad_keys`` naming `file` and entry; never repeats a hash."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RemoteFault("bad_keys", f"{file}: no YAML: {type(error).__name__}", "see asya key new NAME --role call") from error
    if not isinstance(document, dict):
        raise RemoteFault("bad_keys", f"{file}: no mapping of names", "see asya key new NAME --role call")
    return tuple(_key(name, raw, f"{file}: {name}") for name, raw in document.items())


def _key(name: Any, raw: Any, where: str) -> Key:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RemoteFault("bad_keys", f"{where} is no legal name", "use up to 64 of A–Z, a–z, 0–9, dot, dash, underscore and @")
    if not isinstance(raw, dict) or set(raw) - {"sha256", "roles", "tools"}:
        raise RemoteFault("bad_keys", f"{where} is not {{sha256, roles, tools?}}", "see asya key new NAME --role call")
    hashes, roles, tools = raw.get("sha256"), raw.get("roles"), raw.get("tools")
    if not isinstance(hashes, list) or not 1 <= len(hashes) <= _MAX_HASHES or not all(_SHA256.fullmatch(str(each)) for each in hashes):
        raise RemoteFault("bad_keys", f"{where}: sha256 is no list of one or two SHA-256 in lower-case hex", "see asya key new")
    if not isinstance(roles, list) or not roles or not set(roles) <= {role.value for role in Role}:
        raise RemoteFault("bad_keys", f"{where}: roles is no list of call, read, operate", "name at least one")
    if tools is not None and (not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools)):
        raise RemoteFault("bad_keys", f"{where}: tools is no list of names", "leave it out for all tools")
    allowed = None if tools is None else frozenset(tools)
    return Key(name=name, hashes=tuple(hashes), roles=frozenset(Role(role) for role in roles), tools=allowed)


class ApiKeys:
    """API keys from a file, read again when it has changed.

    Args:
        path: ``keys.yaml``.
        log: told once when a changed file is refused; the older keys stay valid.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._seen: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def load(self) -> None:
        """Read the file if it has changed. Raises RemoteFault ``bad_keys``."""
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise RemoteFault(
                "bad_keys", f"Keys file {self._path} cannot be read: {reason}", "make the Secret: asya key new NAME --role call"
            ) from error
        self._keys = read_keys(text, file=self._path.name)

    async def principal(self, token: str | None) -> Principal:
        """See `Authenticator.principal`. Every stored hash is compared, in constant time."""
        try:
            self.load()
        except RemoteFault as fault:
            self._log.error("keys refused", reason=fault.message)
        if token is None:
            raise _unauthenticated("No API key was sent", 'send the header "Authorization: Bearer KEY"')
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found: Key | None = None
        for key in self._keys:
            for stored in key.hashes:
                if hmac.compare_digest(stored, digest):
                    found = key
        if found is None:
            raise _unauthenticated("The API key is not known", "check ASYA_CLI_TOKEN or the client's configuration")
        return Principal(name=found.name, roles=found.roles, tools=found.tools)


class OAuth:
    """An OAuth 2.1 resource server: JWT access tokens of one issuer, for one audience.

    Args:
        checker: checks signature, issuer, audience and times.
        metadata_url: of the protected-resource document (RFC 9728), told in every 401.
    """

    def __init__(self, checker: TokenChecker, metadata_url: str) -> None:
        self._checker = checker
        self._metadata_url = metadata_url

    async def principal(self, token: str | None) -> Principal:
        """See `Authenticator.principal`. Raises HttpRefusal ``insufficient_scope`` for a good token without any scope of ours."""
        challenge = f'Bearer resource_metadata="{self._metadata_url}"'
        if token is None:
            raise _unauthenticated("No access token was sent", "sign in at the authorization server", challenge)
        try:
            claims = await self._checker.claims(token)
        except TokenRefused as error:
            raise _unauthenticated(str(error), "sign in again", f'{challenge}, error="invalid_token"') from None
        scopes = _scopes(claims)
        roles = frozenset(role for scope, role in ROLE_SCOPES.items() if scope in scopes)
        if not roles:
            wanted = " ".join(ROLE_SCOPES)
            header = f'{challenge}, error="insufficient_scope", scope="{wanted}"'
            raise HttpRefusal(
                "insufficient_scope", "The token has no scope of this gateway", f"ask for one of {wanted}", headers={_CHALLENGE: header}
            )
        name = str(claims.get("sub") or claims.get("client_id") or "")
        if not name:
            raise _unauthenticated("The token names nobody", "sign in again", f'{challenge}, error="invalid_token"')
        return Principal(name=name, roles=roles, expires_at=float(claims["exp"]))


class FileKey:
    """The internal credential: one or two tokens in a file, a line each, read again when it has changed.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        self._tokens: tuple[bytes, ...] = ()

    def load(self) -> None:
        """Read the file if it has changed. Raises RemoteFault ``bad_keys``."""
        try:
            seen = self._path.stat().st_mtime_ns
            if seen != self._seen:
                lines = self._path.read_text(encoding="utf-8").split()
                self._tokens, self._seen = tuple(line.encode() for line in lines[:2]), seen
        except (OSError, UnicodeDecodeError) as error:
            raise RemoteFault("bad_keys", f"Internal key file {self._path} cannot be read", "mount the Secret there") from error
        if not self._tokens:
            raise RemoteFault("bad_keys", f"Internal key file {self._path} is empty", "put one token in it")

    async def principal(self, token: str | None) -> Principal:
        """See `Authenticator.principal`."""
        try:
            self.load()
        except RemoteFault:
            if not self._tokens:
                raise _unauthenticated("The internal credential cannot be checked", "see the gateway's log") from None
        sent = (token or "").encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(each, sent) for each in self._tokens]
        if token is None or not any(matches):
            raise _unauthenticated("The internal credential is missing or wrong", "see ASYA_GATEWAY_TOKEN_FILE of the sidecar")
        return Principal(name="mesh", roles=frozenset())


class MeshToken:
    """The internal credential as projected ServiceAccount tokens of our own namespace: any pod of the cluster may ask for one.

    Args:
        checker: of the cluster's issuer and our audience.
        namespace: ours.
    """

    def __init__(self, checker: TokenChecker, namespace: str) -> None:
        self._checker = checker
        self._namespace = namespace

    async def principal(self, token: str | None) -> Principal:
        """See `Authenticator.principal`."""
        if token is None:
            raise _unauthenticated("The internal credential is missing", "see ASYA_GATEWAY_TOKEN_FILE of the sidecar")
        try:
            claims = await self._checker.claims(token)
        except TokenRefused as error:
            raise _unauthenticated(str(error), "mount a token with this audience") from None
        about = claims.get("kubernetes.io")
        if not isinstance(about, dict) or about.get("namespace") != self._namespace:
            raise _unauthenticated(f"The token is not of namespace {self._namespace}", "report to the gateway of the actor's own namespace")
        return Principal(name=str(claims.get("sub", "mesh")), roles=frozenset())


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """The bearer token of an Authorization header, or None. Raises HttpRefusal ``unauthenticated`` for another scheme."""
    header = headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthenticated("The Authorization header is no bearer token", 'send "Authorization: Bearer TOKEN"')
    return token.strip()


_CHALLENGE: Final = "WWW-Authenticate"


def _unauthenticated(message: str, hint: str, challenge: str = "Bearer") -> HttpRefusal:
    return HttpRefusal("unauthenticated", message, hint, headers={_CHALLENGE: challenge})


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    raw = claims.get("scope", claims.get("scp", ""))
    return set(raw.split()) if isinstance(raw, str) else {str(each) for each in raw} if isinstance(raw, list) else set()
