"""Which boot of the machine we are in, so that times of its monotonic clock can be told from those before a restart.

Called when a queue file is opened. Knows no SQL.

**Why the monotonic clock.** Several processes compare `visible_at`, so they need one clock. The wall clock is one, but it is set: an hour
forward would hand every message in work to a second consumer, an hour back would hide delayed retries for an hour (experiment F24). On one
machine (and the file is on a local disk) the monotonic clock is one too and cannot be set. Its price is that it starts anew with the
machine; that is noticed here, and `QueueFile` then moves the times over by way of the wall clock, once.
"""

from pathlib import Path

__all__ = ["boot_id", "is_same_boot"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's identity of this boot, or '' on a system without one."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def is_same_boot(before: tuple[str, float], now: tuple[str, float]) -> bool:
    """Whether two (boot id, monotonic seconds) are of one boot. Without ids a clock that went back betrays a restart."""
    return before[0] == now[0] and (bool(now[0]) or before[1] <= now[1])
