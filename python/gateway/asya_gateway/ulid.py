"""Envelope ids: ULIDs, which sort by time. Arithmetic only; time and randomness are handed in."""

from typing import Final

__all__ = ["new_ulid"]

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_ulid(milliseconds: int, randomness: bytes) -> str:
    """26 characters of Crockford's base 32: 48 bits of `milliseconds` since 1970, 80 bits of `randomness` (10 bytes)."""
    number = (milliseconds << 80) | int.from_bytes(randomness[:10], "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
