"""SHA-256, of what is named by its content. Pure.

`hashlib` is imported at the first use: that takes 2 ms, and most sidecars never name anything so.
"""

__all__ = ["sha256_hex"]


def sha256_hex(data: bytes) -> str:
    """64 lower-case hex digits of the SHA-256 of `data`."""
    import hashlib

    return hashlib.sha256(data).hexdigest()
