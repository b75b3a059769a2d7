"""Whether what is wanted is there: the wanted object as a subset of the live one. Pure; called by `plan`.

The API server adds defaults, drops empty values and rewrites quantities, and admission webhooks add more; none of that is a difference.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

__all__ = ["differences", "quantity"]

_KEYS: Final = ("name", "mountPath", "containerPort", "type", "key", "uid")
_QUANTITY: Final = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_SUFFIX: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    **{f"{letter}i": Decimal(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITIES: Final = ("limits", "requests", "sizeLimit", "storage", "divisor")


def quantity(value: object) -> Decimal | None:
    """The number that a Kubernetes quantity stands for (``100m``, ``1Gi``, ``2``, ``1e3``); None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    suffix = match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(match[1]) * Decimal(f"1{suffix}")
    return Decimal(match[1]) * _SUFFIX.get(suffix, Decimal(1))


def differences(wanted: Any, live: Any, path: str = "") -> Iterator[str]:
    """Paths at which `live` lacks what `wanted` has. None means: everything wanted is there.

    Lists of objects with a name (or another key that is unique in both) are compared by it, so that what others added does not matter; all
    other lists must be equal.
    """
    if isinstance(wanted, dict):
        if live is None and _is_empty(wanted):
            return
        if not isinstance(live, dict):
            yield path
            return
        for key, value in wanted.items():
            yield from differences(value, live.get(key), f"{path}.{key}" if path else key)
    elif isinstance(wanted, list):
        yield from _list_differences(wanted, live, path)
    elif not _equal(wanted, live, path):
        yield path


def _list_differences(wanted: list[Any], live: Any, path: str) -> Iterator[str]:
    if not wanted and live is None:
        return
    if not isinstance(live, list):
        yield path
        return
    key = _key(wanted, live)
    if key is None:
        if len(wanted) != len(live):
            yield path
            return
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
        return
    held = {each.get(key): each for each in live}
    for each in wanted:
        yield from differences(each, held.get(each[key]), f"{path}[{each[key]}]")


def _key(wanted: list[Any], live: list[Any]) -> str | None:
    for key in _KEYS:
        if all(isinstance(each, dict) and key in each for each in wanted) and all(isinstance(each, dict) for each in live):
            names = [each[key] for each in wanted]
            others = [each.get(key) for each in live]
            if len(set(map(str, names))) == len(names) and len(set(map(str, others))) == len(others):
                return key
    return None


def _equal(wanted: Any, live: Any, path: str) -> bool:
    if wanted == live:
        return True
    if live is None:
        return _is_empty(wanted)
    if any(f".{word}" in path for word in _QUANTITIES):
        one, other = quantity(wanted), quantity(live)
        return one is not None and one == other
    return False


def _is_empty(value: Any) -> bool:
    """What the API server leaves out when it stores an object."""
    if isinstance(value, dict):
        return all(_is_empty(each) for each in value.values())
    return value is None or value is False or value in ("", 0, [])
