"""JSON Web Tokens: signature, issuer, audience, times. The only PyJWT. Called by `auth`.

RS256 and ES256 only, so neither ``none`` nor a shared secret can be smuggled in. Keys come from the issuer's JWKS document: fetched from
the configured address alone, at most 1 MiB, kept 5 min, asked again for an unknown key at most every 10 s.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

__all__ = ["TokenChecker", "TokenRefused", "issuer_of"]

_ALGORITHMS: Final = ("RS256", "ES256")
_SKEW_SECONDS: Final = 30
_KEEP_SECONDS: Final = 300.0
_ASK_AGAIN_SECONDS: Final = 10.0
_FETCH_SECONDS: Final = 5.0
_MAX_BYTES: Final = 1024 * 1024
_MAX_TOKEN: Final = 16 * 1024
_ACCEPT: Final = "application/jwk-set+json, application/json"
"""Kubernetes answers 406 to whom the second alone would do."""
_MAX_KEYS: Final = 100


class TokenRefused(Exception):
    """The token is not good; the text says why, without repeating it."""


def issuer_of(token: str) -> str | None:
    """The ``iss`` of a token that need not be checked, since its file is trusted; None if it names none."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.PyJWTError:
        return None
    return issuer if isinstance(issuer, str) and issuer else None


class TokenChecker:
    """Checks tokens of one issuer for one audience.

    Args:
        issuer: the ``iss`` that is wanted.
        audience: the ``aud`` that must be among the token's.
        jwks_url: where the keys are: ``https://``, ``http://`` or ``file://``.
        token_file: bearer token for the keys' address itself (the cluster's API server wants one), or None.
        ca_file: certificates that vouch for it, or None for the system's.
        clock: seconds that never fall.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._url = jwks_url
        self._token_file = token_file
        self._ca_file = ca_file
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._problem = ""
        self._lock = asyncio.Lock()

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a good token. Raises TokenRefused."""
        if len(token) > _MAX_TOKEN:
            raise TokenRefused("The token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenRefused("The token is no JSON Web Token") from None
        if header.get("alg") not in _ALGORITHMS:
            raise TokenRefused("The token is signed by an algorithm that is not taken")
        if header.get("crit"):
            raise TokenRefused("The token wants extensions that are not known")
        key = await self._key(header.get("kid"))
        if key.algorithm_name != header["alg"]:
            raise TokenRefused("The token's algorithm is not that of its key")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("The token has expired") from None
        except jwt.InvalidAudienceError:
            raise TokenRefused("The token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise TokenRefused("The token is of another issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise TokenRefused("The token is not valid") from None
        return claims

    async def _key(self, kid: str | None) -> jwt.PyJWK:
        async with self._lock:
            age = self._clock() - self._fetched_at
            is_known = kid in self._keys or (kid is None and len(self._keys) == 1)
            if age > _KEEP_SECONDS or (not is_known and age > _ASK_AGAIN_SECONDS):
                await self._fetch()
        if kid in self._keys:
            return self._keys[kid]
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        raise TokenRefused("The token's key is not known" if self._keys else f"The issuer's keys cannot be had now{self._problem}")

    async def _fetch(self) -> None:
        self._fetched_at = self._clock()  # a failure counts too: it is not repeated for every bad token
        try:
            document = await asyncio.to_thread(self._get)
            keys = {}
            for raw in document["keys"][:_MAX_KEYS]:
                if raw.get("use", "sig") != "sig" or raw.get("kty") not in ("RSA", "EC"):
                    continue
                key = jwt.PyJWK(raw)
                if key.algorithm_name in _ALGORITHMS:
                    keys[raw.get("kid")] = key
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            self._problem = f": {error}"
            return  # the older keys stay: an issuer that is down for a moment locks nobody out
        self._keys = keys

    def _get(self) -> Any:
        if urlsplit(self._url).scheme not in ("https", "http", "file"):
            raise ValueError(self._url)
        request = urllib.request.Request(self._url, headers={"Accept": _ACCEPT})
        if self._token_file is not None:
            request.add_header("Authorization", f"Bearer {self._token_file.read_text(encoding='ascii').strip()}")
        context = None
        if self._ca_file is not None:
            import ssl

            context = ssl.create_default_context(cafile=str(self._ca_file))
        with urllib.request.urlopen(request, timeout=_FETCH_SECONDS, context=context) as response:
            raw = response.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise ValueError("too large")
        return json.loads(raw)
