"""Claims: references that travel in place of large payloads. Their keys are made and checked here.

Called by sidecars and the gateway, which keep the objects themselves. Pure. Source: docs/reference/envelope.md, "Large payloads".
"""

import re
from typing import Final

from asya_core.wire.digest import sha256_hex
from asya_core.wire.envelope import Claim

__all__ = ["is_claim_key", "make_claim"]

_HEX: Final = 16
_KEY: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,128}}/[0-9]{{1,5}}-([0-9a-f]{{{_HEX}}})")


def make_claim(envelope_id: str, hop: int, payload: bytes) -> Claim:
    """The claim of a payload: key ``<id>/<hop>-<16 hex digits of its SHA-256>``, a pure function of the arguments.

    The ids ``.`` and ``..``, which no folder can be called, become ``h:`` and 32 hex digits of their SHA-256, as in long ids of children.
    """
    sha256 = sha256_hex(payload)
    if envelope_id in (".", ".."):
        envelope_id = "h:" + sha256_hex(envelope_id.encode())[:32]
    return Claim(key=f"{envelope_id}/{hop}-{sha256[:_HEX]}", bytes=len(payload), sha256=sha256)


def is_claim_key(claim: Claim) -> bool:
    """Whether a sidecar or gateway could have made the key: nobody makes a sidecar read other objects."""
    found = _KEY.fullmatch(claim.key)
    return found is not None and claim.key.partition("/")[0] not in (".", "..") and claim.sha256.startswith(found[1])
