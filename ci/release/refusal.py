"""Why a release is not made. Raised by every module here, printed by `__main__` as one line."""

__all__ = ["Refused"]


class Refused(Exception):
    """What is wrong, where, and what to do instead, in one line."""
