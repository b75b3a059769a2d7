"""Settings: one frozen object per component, read once from a mapping of environment variables.

A component declares a frozen dataclass whose fields are made by `setting`; that class is the one table from which the reader, the printer
of ``--print-settings`` and the reference page are made. Called by each component's ``__main__``; reads no environment by itself.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from asya_core.wire.errors import RemoteFault

__all__ = [
    "EXIT_REFUSED_SETTINGS",
    "Kind",
    "Listen",
    "Setting",
    "choice",
    "duration",
    "integer",
    "json_object",
    "listen",
    "markdown_table",
    "parse_duration",
    "path",
    "print_settings",
    "read_settings",
    "setting",
    "settings_table",
    "size",
    "text",
    "url",
]

EXIT_REFUSED_SETTINGS: Final = 78
"""Exit code of a process whose settings are refused (EX_CONFIG of sysexits.h)."""
PREFIX: Final = "ASYA_"
T = TypeVar("T")
SettingsT = TypeVar("SettingsT")

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE: Final = re.compile(r"(\d+)(Ki|Mi|Gi|k|M|G)?B?", re.ASCII)
_BYTES: Final = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_FOREIGN: Final = re.compile(r"ASYA_HANDLER_.*|ASYA_.*_SERVICE_(HOST|PORT(_.*)?)|ASYA_.*_PORT(_.*)?")
"""Variables that are nobody's typing error: routers' mapping, and what Kubernetes injects for a Service whose name begins with asya."""


class Listen(NamedTuple):
    """Where to listen.

    Attributes:
        host: an address; empty means all.
        port: 0 means any free one.
    """

    host: str
    port: int


class Kind(NamedTuple):
    """What a value looks like.

    Attributes:
        name: a word for the table, such as ``duration``.
        expected: how the error sentence goes on after "expected".
        parse: text → value; raises ValueError, whose text is not shown.
    """

    name: str
    expected: str
    parse: Callable[[str], Any]


class Setting(NamedTuple):
    """One row of a component's table.

    Attributes:
        name: the environment variable.
        kind: what its value looks like.
        help: one sentence: meaning, unit, why this default.
        default: the text that stands for the absent variable; None if absent means absent (the field is None), see `required`.
        required: the process refuses to start without it.
        secret: its value is never printed.
    """

    name: str
    kind: Kind
    help: str
    default: str | None = None
    required: bool = False
    secret: bool = False


def setting(
    name: str, kind: Kind, help: str, *, default: str | None = None, required: bool = False, secret: bool = False
) -> Any:  # the field's own annotation is what type checkers see, as with `dataclasses.field`
    """A field of a settings class. Arguments as in `Setting`."""
    row = Setting(name=name, kind=kind, default=default, required=required, secret=secret, help=help)
    return dataclasses.field(metadata={"setting": row})


def settings_table(settings_class: type) -> tuple[Setting, ...]:
    """The rows of a settings class, in the order of its fields."""
    return tuple(each.metadata["setting"] for each in dataclasses.fields(settings_class))


def read_settings(settings_class: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """The settings in `environment`. An empty value counts as absent.

    Raises RemoteFault ``bad_setting`` for the first of: an ``ASYA_`` variable that is none of the table's (with the nearest name), a
    required one that is absent, a value that is not of its kind. Variables of routers (``ASYA_HANDLER_*``) and those that Kubernetes
    injects for Services (``ASYA_…_SERVICE_HOST``, ``ASYA_…_PORT`` and the like) are passed over.
    """
    table = settings_table(settings_class)
    _refuse_unknown(environment, {row.name for row in table})
    values: dict[str, Any] = {}
    for each, row in zip(dataclasses.fields(settings_class), table, strict=True):  # type: ignore[arg-type]
        given = environment.get(row.name) or row.default
        if given is None:
            if row.required:
                raise RemoteFault("bad_setting", f"{row.name} is not set; expected {row.kind.expected}", f"set it: {row.help}")
            values[each.name] = None
            continue
        values[each.name] = _parse(row, given)
    return settings_class(**values)


def print_settings(settings: object, environment: Mapping[str, str]) -> str:
    """One line ``NAME=value`` per setting as it was read, a note behind those that are defaults; secrets as ``***``."""
    lines = []
    for row in settings_table(type(settings)):
        given = environment.get(row.name)
        shown = given or row.default or ""
        if row.secret and shown:
            shown = "***"
        lines.append(f"{row.name}={shown}" + ("" if given else "  # default"))
    return "\n".join(lines) + "\n"


def markdown_table(settings_class: type) -> str:
    """The table of the reference page."""
    lines = ["| setting | kind | default | meaning |", "|---|---|---|---|"]
    for row in settings_table(settings_class):
        default = "required" if row.required else "–" if row.default is None else f"`{row.default}`"
        lines.append(f"| `{row.name}` | {row.kind.name} | {default} | {row.help} |")
    return "\n".join(lines) + "\n"


def _parse(row: Setting, given: str) -> Any:
    try:
        return row.kind.parse(given)
    except (ValueError, RecursionError):
        shown = "***" if row.secret else repr(given if len(given) <= 80 else given[:77] + "…")
        raise RemoteFault("bad_setting", f"{row.name} is {shown}; expected {row.kind.expected}", "correct the value") from None


def _refuse_unknown(environment: Mapping[str, str], known: set[str]) -> None:
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or _FOREIGN.fullmatch(name):
            continue
        import difflib  # for a refusal only

        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "remove it, or see the list that --print-settings prints"
        raise RemoteFault("bad_setting", f"{name} is no setting of this process", hint)


# ----------------------------------------------------------------------------------------------------------------------- kinds


def _checked(convert: Callable[[str], T], check: Callable[[T], bool]) -> Callable[[str], T]:
    def parse(given: str) -> T:
        value = convert(given)
        if not check(value):
            raise ValueError(given)
        return value

    return parse


def text(expected: str = "text", *, check: Callable[[str], bool] = bool) -> Kind:
    """Any text for which `check` holds; gives `str`."""
    return Kind(name="text", expected=expected, parse=_checked(str, check))


def choice(*values: str) -> Kind:
    """One of `values`; gives `str`."""
    names = " or ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
    return Kind(name=", ".join(values), expected=names, parse=_checked(str, values.__contains__))


def integer(least: int, most: int, *, word: str | None = None) -> Kind:
    """A whole number; gives `int`, or None for `word`."""

    def parse(given: str) -> int | None:
        if given == word:
            return None
        if not given.isascii() or not given.isdigit():
            raise ValueError(given)
        value = int(given)
        if not least <= value <= most:
            raise ValueError(given)
        return value

    expected = f"a whole number from {least} to {most}" + (f", or {word}" if word else "")
    return Kind(name="integer" + (f" or `{word}`" if word else ""), expected=expected, parse=parse)


def parse_duration(given: str) -> float:
    """Seconds of a time such as ``5m``, ``250ms``, ``1h30m``. Raises ValueError."""
    if not _DURATION.fullmatch(given):
        raise ValueError(given)
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(given))


def duration(least_seconds: float, most_seconds: float, expected: str) -> Kind:
    """A time such as ``5m``, ``330s``, ``250ms``, ``1h30m``; gives seconds as `float`."""
    return Kind(
        name="duration",
        expected=f"a duration such as 5m, 330s or 250ms, {expected}",
        parse=_checked(parse_duration, lambda value: least_seconds <= value <= most_seconds),
    )


def _size(given: str) -> int:
    match = _SIZE.fullmatch(given)
    if match is None:
        raise ValueError(given)
    return int(match[1]) * _BYTES[match[2]]


def size(least: int, most: int) -> Kind:
    """A number of bytes such as ``16Mi``, ``200k``, ``1048576``; gives `int`."""
    return Kind(
        name="size",
        expected=f"a size in bytes such as 16Mi, 200k or 1048576, from {least} to {most}",
        parse=_checked(_size, lambda value: least <= value <= most),
    )


def json_object() -> Kind:
    """A JSON object; gives `dict`."""

    def parse(given: str) -> dict[str, Any]:
        value = json.loads(given)
        if not isinstance(value, dict):
            raise ValueError(given)
        return value

    return Kind(name="JSON object", expected="a JSON object", parse=parse)


def path() -> Kind:
    """A path of the file system; gives `pathlib.Path`."""
    return Kind(name="path", expected="a path", parse=_checked(Path, lambda value: "\0" not in str(value)))


def url(*schemes: str) -> Kind:
    """An address of one of `schemes` without user, query and fragment; gives `str` without a trailing slash."""
    pattern = re.compile(rf"(?:{'|'.join(schemes)})://[^/?#@\s]+(?:/[^?#\s]*)?")
    expected = f"an address such as {schemes[0]}://host:8081, without user, query and fragment"
    return Kind(
        name="URL", expected=expected, parse=lambda given: _checked(str, lambda value: bool(pattern.fullmatch(value)))(given).rstrip("/")
    )


def listen() -> Kind:
    """``host:port``, ``:port`` or ``off``; gives `Listen`, or None for ``off``."""

    def parse(given: str) -> Listen | None:
        if given == "off":
            return None
        host, colon, port = given.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(given)
        return Listen(host.removeprefix("[").removesuffix("]"), int(port))

    return Kind(name="address", expected="host:port, :port or off", parse=parse)
