"""Asya's runtime: loads a user's plain Python handler and answers a sidecar's calls over a Unix socket.

One file, standard library only, Python 3.9+: it is put into users' images as it is. Started as ``python asya_runtime.py`` by the
operator's pod or by ``asya run``; asked by ``python asya_runtime.py --probe ready|live``. Settings: `SETTINGS` below. What a handler may
rely on is in docs/reference/runtime.md, the bytes on the socket are in docs/reference/frames.md. It knows no broker, no queue and no other
actor.

Two processes. The *supervisor* runs no user code: it binds the socket, starts the *worker* in a session of its own, reaps, ticks once a
second and kills a worker that is past a call's limit, even if C code holds the interpreter lock. The worker loads the handler and serves
one peer. Both map the state file beside the socket, so that setting a limit costs no system call.

Sections: contract · errors · frames · settings · state and probes · environment to arguments · loading · results · routes · worker ·
blocking server · asyncio server · supervisor · main.
"""

from __future__ import annotations

# `socket` and `signal` wrap two of these in enums, for 1.3 MB that an idle supervisor has no use for; what a handler patches stays there.
import _socket
import _thread
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, NoReturn
else:
    import _signal as signal

# ------------------------------------------------------------------------------------------------------------------------- contract

__version__ = "0.1.0"
_FILE = (lambda: 0).__code__.co_filename
"""This file, also where `__file__` is something else (`restart_compiled`)."""
PROTOCOL = 1
HELLO, DRAIN, FAULT, CALL, PAYLOADS, ENVELOPES, ERROR = 0x01, 0x02, 0x03, 0x10, 0x20, 0x21, 0x22
KINDS = frozenset((HELLO, DRAIN, FAULT, CALL, PAYLOADS, ENVELOPES, ERROR))

EXIT_REFUSED = 78
"""Exit code of every refusal to start (EX_CONFIG); the last line on stderr says why."""
UNFINISHED_SECONDS = 10
"""How long a frame may stay unfinished, and a peer may take for its HELLO."""
STALLED_SECONDS = 30
"""How long a peer may take nothing of a frame that is being sent to it. A call's limit covers the handler only."""
KILL_AFTER_SECONDS = 1.0
"""How far past its limit a call may be before the worker's process group is killed."""
OVERRUN_SECONDS = 30.0
"""Liveness: a supervisor that has not ticked, or a call that is past its limit, for longer is not live."""
QUIET_SECONDS = 0.2
"""Draining: a peer that has sent no call for that long after DRAIN has seen it; nothing more is read."""
MAX_SLOTS = 64
MAX_ENTRIES = 10_000
MAX_MESSAGE_BYTES = 4096
MAX_TRACEBACK_BYTES = 16384
MAX_MRO = 20
END_ACTORS = ("happy-end", "error-end")

# --------------------------------------------------------------------------------------------------------------------------- errors


class Refusal(Exception):
    """The runtime will not start. One sentence: value, reason, remedy. Ends the process with `EXIT_REFUSED`."""


class CallError(Exception):
    """A call fails with one of the runtime's codes, without an exception of the user's.

    Args:
        code: see docs/reference/runtime.md.
        message: one sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Fault(Exception):
    """The peer broke the protocol: it is told so in a FAULT frame and the connection is closed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


_log_fd = 2


def say(text: str, *, prefix: str = "asya-runtime: ") -> None:
    """Write to the stderr that the process started with. Never raises, whatever the handler did to stderr."""
    data = (prefix + text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(_log_fd, data) :]
    except OSError:
        pass


def flush_streams() -> None:
    """Flush stdout and stderr, which may be closed, replaced or None."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: S110 - a replaced stream may raise anything
            pass


def finish(code: int) -> NoReturn:
    """End this process at once: no atexit handlers, no waiting for a handler's threads."""
    flush_streams()
    os._exit(code)


def cut_middle(text: str, limit_bytes: int) -> str:
    """`text` as valid UTF-8 of at most `limit_bytes`; what is too much is cut out of the middle, and the cut is marked."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit_bytes:
        return data.decode("utf-8")
    mark = f"\n… {len(data) - limit_bytes} bytes cut …\n"
    half = (limit_bytes - len(mark.encode("utf-8"))) // 2
    return data[:half].decode("utf-8", "ignore") + mark + data[-half:].decode("utf-8", "ignore")


def class_name(cls: type) -> str:
    """A class as `mro` spells it: builtins bare, others dotted."""
    module, name = getattr(cls, "__module__", None), getattr(cls, "__qualname__", "?")
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else f"{name}"


def text_of(error: BaseException) -> str:
    """``str(error)``, whatever its ``__str__`` does."""
    try:
        return str(error)
    except BaseException:  # a raising __str__ is the user's too
        return f"<unprintable {type(error).__name__}>"


def format_traceback(error: BaseException) -> str:
    """The traceback without the runtime's own frames above the user's, at most 16 KiB."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == _FILE:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # hostile attributes, recursion, memory
        text = f"Traceback not available: {class_name(type(error))}\n"
    return cut_middle(text, MAX_TRACEBACK_BYTES)


def describe_exception(error: BaseException) -> dict[str, Any]:
    """The body of an ERROR reply for an exception that a handler raised."""
    names = [class_name(cls) for cls in type(error).__mro__ if cls is not object]
    return {
        "code": "handler_error",
        "type": names[0],
        "mro": names[:MAX_MRO],
        "message": cut_middle(text_of(error), MAX_MESSAGE_BYTES),
        "traceback": format_traceback(error),
    }


def describe_failure(error: CallError) -> dict[str, Any]:
    """The body of an ERROR reply for a failure without an exception of the user's."""
    message = cut_middle(error.message, MAX_MESSAGE_BYTES)
    return {"code": error.code, "type": None, "mro": [], "message": message, "traceback": None}


# --------------------------------------------------------------------------------------------------------------------------- frames

_U32 = struct.Struct(">I")
_HEADER = struct.Struct(">IBI")
_REPLY_HEADER = struct.Struct(">IBIBI")
_ONE_ITEM = struct.Struct(">IBIBII")
_MIN_LENGTH = 5


class FrameReader:
    """Turns chunks of a byte stream into frames. Pure: no socket.

    Args:
        max_frame: the largest length field that is accepted; a larger one is refused before its body is read.
    """

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        self.buffer = bytearray()
        self.fault: Fault | None = None

    def feed(self, chunk: bytes) -> list[tuple[int, int, bytes]]:
        """The frames ``(kind, call, body)`` that `chunk` completes, in order.

        Bytes that break the format are reported after the good frames before them: by `fault`, or raised if there are none.
        """
        joined: bytes | bytearray = chunk
        if self.buffer:
            self.buffer += chunk
            joined = self.buffer
        size, start, frames = len(joined), 0, []
        while size - start >= 4:
            (length,) = _U32.unpack_from(joined, start)
            end = start + 4 + length
            if not _MIN_LENGTH <= length <= self.max_frame:
                self.fault = _bad_length(length, self.max_frame)
            elif end > size:
                break
            else:
                _, kind, call = _HEADER.unpack_from(joined, start)
                if kind in KINDS:
                    frames.append((kind, call, bytes(memoryview(joined)[start + 9 : end])))
                    start = end
                    continue
                self.fault = Fault("bad_frame", f"Frame kind is {kind:#04x}; expected one of the seven kinds")
            if frames:
                return frames
            raise self.fault
        if start:
            self.buffer = bytearray(joined[start:])
        elif joined is chunk:
            self.buffer = bytearray(chunk)
        return frames


def _bad_length(length: int, max_frame: int) -> Fault:
    if length < _MIN_LENGTH:
        return Fault("bad_frame", f"Frame length is {length}; expected at least {_MIN_LENGTH}")
    return Fault("frame_too_large", f"Frame of {length} bytes; expected at most {max_frame}")


def encode_frame(kind: int, call: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(body) + _MIN_LENGTH, kind, call) + body


def encode_reply(kind: int, call: int, items: Sequence[bytes], *, fan_out: bool) -> bytes:
    """The bytes of a PAYLOADS or ENVELOPES frame: flags, count, items with their sizes."""
    if len(items) == 1:
        item = items[0]
        return _ONE_ITEM.pack(len(item) + 14, kind, call, fan_out, 1, len(item)) + item
    parts = [b""]
    for item in items:
        parts.append(_U32.pack(len(item)))
        parts.append(item)
    body_length = sum(map(len, parts))
    parts[0] = _REPLY_HEADER.pack(body_length + 10, kind, call, fan_out, len(items))
    return b"".join(parts)


def read_call(call: int, body: bytes) -> tuple[int, bytes]:
    """Limit in milliseconds (0 = none) and message of a CALL frame's body. Raises Fault ``bad_frame``."""
    if call == 0 or len(body) < 4:
        raise Fault("bad_frame", "CALL frame without " + ("a call number" if call == 0 else "a limit"))
    return _U32.unpack_from(body)[0], body[4:]


# ------------------------------------------------------------------------------------------------------------------------- settings

SETTINGS = (
    ("ASYA_HANDLER", "", "the handler: module.function or module.Class.method; required"),
    ("ASYA_HANDLER_MODE", "payload", "payload: the handler gets and gives payloads; envelope: whole envelopes"),
    ("ASYA_CONCURRENCY", "1", "calls at a time, 1 to 64; more than 1 needs an async def handler"),
    ("ASYA_SOURCE_PATH", "", "folder that is searched for the handler's module first"),
    ("ASYA_SOCKET", "/var/run/asya/runtime.sock", "Unix socket for the sidecar; the state file is beside it"),
    ("ASYA_MAX_FRAME_BYTES", "67108864", "largest frame in bytes, 65536 to 1073741824"),
    ("ASYA_MAX_ITEMS", "10000", "most results of one call, 1 to 1000000"),
    ("ASYA_SUPERVISE", "1", "0: one process in the foreground without limits, for a debugger"),
    ("ASYA_PARENT_FD", "", "descriptor of a pipe; when it reads end of file, supervisor and worker end at once"),
)
"""Every setting: name, default, meaning. docs/reference/runtime.md is tested against it."""

_SOCKET_PATH_BYTES = 107


class Settings:
    """The settings, read once. Attributes are named like the variables, without the prefix."""

    __slots__ = (
        "concurrency",
        "handler",
        "max_frame_bytes",
        "max_items",
        "mode",
        "parent_fd",
        "socket",
        "source_path",
        "state",
        "supervise",
    )

    def __init__(self, environ: Mapping[str, str]) -> None:
        values = {name: environ.get(name) or default for name, default, _ in SETTINGS}
        self.handler = values["ASYA_HANDLER"]
        self.mode = _choice(values, "ASYA_HANDLER_MODE", ("payload", "envelope"))
        self.supervise = _choice(values, "ASYA_SUPERVISE", ("1", "0")) == "1"
        self.concurrency = _integer(values, "ASYA_CONCURRENCY", 1, MAX_SLOTS)
        self.max_frame_bytes = _integer(values, "ASYA_MAX_FRAME_BYTES", 65_536, 1 << 30)
        self.max_items = _integer(values, "ASYA_MAX_ITEMS", 1, 1_000_000)
        self.parent_fd = _integer(values, "ASYA_PARENT_FD", 0, 1 << 20) if values["ASYA_PARENT_FD"] else None
        self.source_path = values["ASYA_SOURCE_PATH"]
        self.socket = os.path.abspath(values["ASYA_SOCKET"])
        self.state = state_path(self.socket)
        if len(os.fsencode(self.socket)) > _SOCKET_PATH_BYTES:
            raise Refusal(f"ASYA_SOCKET {self.socket!r} is over {_SOCKET_PATH_BYTES} bytes; choose a shorter path")


def state_path(socket_path: str) -> str:
    """The file that supervisor, worker and probes share: ``runtime.state`` beside ``runtime.sock``."""
    return os.path.splitext(os.path.abspath(socket_path))[0] + ".state"


def _choice(values: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = values[name]
    if value not in allowed:
        raise Refusal(f"{name} {value!r} is not legal; set it to {' or '.join(allowed)}")
    return value


def _integer(values: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    value = values[name]
    if not (value.isascii() and value.isdigit()) or len(value) > 12 or not lowest <= int(value) <= highest:
        raise Refusal(f"{name} {value!r} is not legal; set it to an integer from {lowest} to {highest}")
    return int(value)


def unknown_settings(environ: Iterable[str]) -> list[str]:
    """One warning per ``ASYA_*`` variable that nobody reads, with the nearest name.

    Left out: what routers read (``ASYA_HANDLER_<ACTOR>``, ``ASYA_FLOW_ACTOR``), what end actors read (``ASYA_CREW_*``, which they check
    themselves), and what Kubernetes injects for Services called ``asya-…``.
    """
    known = [name for name, _, _ in SETTINGS]
    unknown = [name for name in sorted(environ) if name.startswith("ASYA_") and name not in known]
    unknown = [
        name
        for name in unknown
        if not (name.startswith(("ASYA_HANDLER_", "ASYA_CREW_")) or name == "ASYA_FLOW_ACTOR" or _is_service_variable(name))
    ]
    if not unknown:
        return []
    import difflib

    warnings = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, 1, 0.6)
        warnings.append(f"{name} is no setting of the runtime and has no effect" + (f"; did you mean {near[0]}?" if near else ""))
    return warnings


def _is_service_variable(name: str) -> bool:
    import re

    return re.search(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$", name) is not None


# ----------------------------------------------------------------------------------------------------------------- state and probes

TICK, WORKER_PID, LOADED, DRAINING, LIMITS = 0, 1, 2, 3, 8
"""Places in the state file, an array of doubles; from `LIMITS` on one per slot: when the running call ends, 0 if it has no limit."""
STATE_DOUBLES = LIMITS + MAX_SLOTS


def open_state(path: str) -> memoryview[float]:
    """Make the state file anew, all zeros, and map it. Shared with forked children."""
    import mmap

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, STATE_DOUBLES * 8)
        return memoryview(mmap.mmap(fd, STATE_DOUBLES * 8)).cast("d")
    finally:
        os.close(fd)


def probe(kind: str, path: str, now: float) -> str:
    """Why the runtime is not ready or not live; empty if it is. Reads the state file, asks no process.

    Args:
        kind: ``ready``: the handler is loaded and not draining. ``live``: the supervisor ticks, no call is past its limit by 30 s.
        path: the state file.
        now: `time.monotonic`, which all processes of a machine share.
    """
    try:
        with open(path, "rb") as file:
            state = memoryview(file.read(STATE_DOUBLES * 8)).cast("d")
        if len(state) != STATE_DOUBLES:
            return f"state file {path} is incomplete"
    except (OSError, TypeError) as error:
        return f"no runtime has made the state file {path}: {error}"
    if kind == "ready":
        if state[DRAINING]:
            return "draining"
        return "" if state[LOADED] else "the handler is not loaded yet"
    if now - state[TICK] > OVERRUN_SECONDS:
        return f"the supervisor has not ticked for {now - state[TICK]:.0f} s"
    overrun = max((now - end for end in state[LIMITS:] if end), default=0.0)
    return f"a call is {overrun:.0f} s past its limit" if overrun > OVERRUN_SECONDS else ""


# --------------------------------------------------------------------------------------------------------- environment to arguments

_CONTAINER_NAMES = frozenset(("PATH", "HOME", "PWD", "HOSTNAME", "USER", "LANG", "TERM", "SHELL", "TMPDIR", "TZ"))
_CONTAINER_PREFIXES = ("LC_", "LD_", "PYTHON")
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "DSN")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class _NoConversion(Exception):
    """The annotation is none that the environment can fill."""


def convert(text: str, annotation: Any) -> Any:
    """The value of an environment variable as the type that `annotation` names.

    Raises ValueError with what was expected, or `_NoConversion`.
    """
    import typing

    while hasattr(annotation, "__supertype__"):  # NewType
        annotation = annotation.__supertype__
    origin = typing.get_origin(annotation) or annotation
    if _is_union(origin):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1 and len(typing.get_args(annotation)) == 2:
            return convert(text, members[0]) if text else None
        raise _NoConversion
    if origin is typing.Literal:
        return _pick(text, list(typing.get_args(annotation)))
    if not isinstance(origin, type):
        raise _NoConversion
    return _convert_to_class(text, origin)


def _is_union(origin: Any) -> bool:
    import types
    import typing

    return origin is typing.Union or origin is getattr(types, "UnionType", typing.Union)


def _convert_to_class(text: str, cls: type) -> Any:
    import enum
    import pathlib

    if issubclass(cls, enum.Enum):
        return cls(_pick(text, [member.value for member in cls]))
    if cls is str:
        return text
    if cls is bool:
        value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            raise ValueError("expected true, false, 1, 0, yes, no, on or off")
        return value
    if cls is int or cls is float:
        try:
            return cls(text)
        except ValueError:
            raise ValueError("expected an integer" if cls is int else "expected a number") from None
    if issubclass(cls, pathlib.PurePath):
        return cls(text)
    if cls in (list, tuple, dict):
        return _json_of(text, cls)
    raise _NoConversion


def _json_of(text: str, cls: type) -> Any:
    import json

    expected = "a JSON object" if cls is dict else "a JSON array"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"expected {expected}") from None
    if not isinstance(value, dict if cls is dict else list):
        raise ValueError(f"expected {expected}")
    return tuple(value) if cls is tuple else value


def _pick(text: str, values: list[Any]) -> Any:
    for value in values:
        if (text.strip().lower() if isinstance(value, bool) else text) == (str(value).lower() if isinstance(value, bool) else str(value)):
            return value
    raise ValueError("expected one of " + ", ".join(str(value) for value in values[:20]))


def annotations_of(cls: type) -> dict[str, Any]:
    """The annotations of ``cls.__init__`` with strings resolved; one that cannot be resolved is left out."""
    import typing

    init: Any = cls.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(init)
    except Exception:  # noqa: S110 - a name that does not exist, or a syntax that this Python does not know: try one by one
        pass
    try:
        raw = dict(getattr(init, "__annotations__", {}))
    except Exception:  # Python 3.14 evaluates all of them here; one unknown name spoils it
        raw = _forward_references(init)
    hints = {}
    for name, annotation in raw.items():
        holder = type("holder", (), {"__annotations__": {name: annotation}})
        try:
            hints[name] = typing.get_type_hints(holder, globalns=getattr(init, "__globals__", {}))[name]
        except Exception:  # counts as not annotated
            continue
    return hints


def _forward_references(init: Any) -> dict[str, Any]:
    try:
        import annotationlib  # type: ignore[import-not-found, unused-ignore]

        found = annotationlib.get_annotations(init, format=annotationlib.Format.FORWARDREF)
        return {name: value for name, value in found.items() if not isinstance(value, annotationlib.ForwardRef)}
    except Exception:  # before 3.14, or hostile annotations
        return {}


def signature_of(target: Any) -> Any:
    """``inspect.signature`` of the callable itself, not of what it wraps; annotations unevaluated where Python can."""
    import inspect

    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(target, follow_wrapped=False, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(target, follow_wrapped=False)


def arguments_for(cls: type, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What ``cls(**arguments)`` gets from the environment, and warnings. Raises Refusal.

    Only parameters whose upper-case name is set are filled; all others keep their default, which each must have.
    """
    import inspect

    try:
        parameters = list(signature_of(cls).parameters.values())
    except (ValueError, TypeError):  # a class of an extension module
        return {}, []
    hints: dict[str, Any] | None = None
    arguments: dict[str, Any] = {}
    warnings = []
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        where = f"{cls.__qualname__}.__init__ parameter '{parameter.name}'"
        if parameter.default is inspect.Parameter.empty:
            raise Refusal(f"{where} has no default; give it one, which the environment variable {parameter.name.upper()} overrides")
        name = parameter.name.upper()
        if name not in environ or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            continue
        if name in _CONTAINER_NAMES or name.startswith(_CONTAINER_PREFIXES):
            warnings.append(f"{where} is not filled from {name}, which every container has; rename the parameter to set it")
            continue
        if hints is None:
            hints = annotations_of(cls)
        arguments[parameter.name] = _argument(environ[name], parameter, hints=hints, where=where)
    return arguments, warnings


def _argument(text: str, parameter: Any, *, hints: Mapping[str, Any], where: str) -> Any:
    import typing

    annotation = hints.get(parameter.name, typing.Any)
    if annotation is typing.Any or annotation is parameter.empty:
        annotation = str if parameter.default is None else type(parameter.default)
    spelled = getattr(annotation, "__name__", None) if isinstance(annotation, type) and not typing.get_args(annotation) else None
    spelled = spelled or str(annotation).replace("typing.", "")
    name = parameter.name.upper()
    shown = "" if any(word in name for word in _SECRET_WORDS) else f" {text[:80]!r}"
    try:
        return convert(text, annotation)
    except ValueError as error:
        raise Refusal(
            f"environment variable {name}{shown} does not convert to {spelled} for {where}: {text_of(error)}; change or unset {name}"
        ) from None
    except _NoConversion:
        raise Refusal(
            f"environment variable {name}{shown} cannot fill {where}: no conversion to {spelled}; unset {name} or annotate a plain type"
        ) from None


# -------------------------------------------------------------------------------------------------------------------------- loading

_MAX_HANDLER_LENGTH = 500


class Handler:
    """The loaded handler.

    Attributes:
        call: takes one argument.
        is_async: an ``async def``, generator or not: it runs in the event loop.
        warnings: one sentence each.
    """

    __slots__ = ("call", "is_async", "warnings")

    def __init__(self, call: Callable[[Any], Any], *, is_async: bool, warnings: list[str]) -> None:
        self.call = call
        self.is_async = is_async
        self.warnings = warnings


class _UserFailure(Exception):
    """The user's code failed while loading. `__cause__` is what it raised."""


def prepare_path(settings: Settings) -> list[str]:
    """Put the handler's folders first in ``sys.path`` and take out what the interpreter put there for this file. Gives the folders."""
    is_safe_path = getattr(sys.flags, "safe_path", sys.flags.isolated)
    if __name__ == "__main__" and sys.path and not is_safe_path:
        del sys.path[0]
    roots = [os.getcwd()]
    if settings.source_path:
        if not os.path.isdir(settings.source_path):
            raise Refusal(f"ASYA_SOURCE_PATH {settings.source_path!r} is no directory; mount the source there or unset it")
        roots.insert(0, os.path.abspath(settings.source_path))
    sys.path[:0] = roots
    return roots


def load_handler(settings: Settings, environ: Mapping[str, str], roots: list[str]) -> Handler:
    """Import the module, build the class if there is one, check the callable. Raises Refusal, or `_UserFailure`."""
    path = settings.handler
    segments = check_path(path)
    module, rest = _import_longest(path, segments, roots=roots)
    owner, target = _walk(path, module, rest=rest)
    warnings: list[str] = []
    if isinstance(owner, type) and not _is_bound_to_class(owner, rest[-1]):
        _refuse_standard(path, target)
        arguments, warnings = arguments_for(owner, environ)
        try:
            instance = owner(**arguments)
        except BaseException as error:  # the user's __init__ may raise anything, SystemExit too
            raise _UserFailure(
                f"ASYA_HANDLER {path!r}: {owner.__qualname__}.__init__ raised {_one_line(error)}; fix it or its settings"
            ) from error
        target = getattr(instance, rest[-1])
    if isinstance(target, type) or not callable(target):
        raise Refusal(_not_callable(path, target))
    _refuse_standard(path, target)
    _check_one_argument(path, target)
    is_async = is_async_callable(target)
    if settings.concurrency > 1 and not is_async:
        raise Refusal(f"ASYA_CONCURRENCY {settings.concurrency} needs an async def handler; make {path!r} one or set ASYA_CONCURRENCY to 1")
    return Handler(target, is_async=is_async, warnings=warnings)


def check_path(path: str) -> list[str]:
    """The segments of a handler path. Raises Refusal for anything but dotted ASCII names without leading underscores.

    Look-alike letters and private names are refused so that what runs is what a reader of the values file sees.
    """
    import re

    if not path:
        raise Refusal("ASYA_HANDLER is not set; set it to module.function or module.Class.method, such as text_processor.process")
    if len(path) > _MAX_HANDLER_LENGTH or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+", path, re.ASCII):
        guess = re.sub(r"[/:]+", ".", re.sub(r"^\./|\.py(?=[:.]|$)", "", path.strip().replace("\\", "/"))).strip(".")
        fits = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+", guess, re.ASCII) and guess != path
        remedy = f"did you mean {guess!r}?" if fits else "write it in ASCII as module.function or module.Class.method"
        raise Refusal(f"ASYA_HANDLER {path[:120]!r} is no dotted path; {remedy}")
    segments = path.split(".")
    for segment in segments:
        if segment.startswith("_"):
            raise Refusal(f"ASYA_HANDLER {path!r} names {segment!r}, which is private; give the handler a name without leading underscore")
    return segments


def is_standard_module(name: str) -> bool:
    """Whether the module of that name, imported or not, is built in or comes with Python; a user's own of the same name does not count."""
    import importlib.util

    if name in sys.builtin_module_names:
        return True
    top = name.partition(".")[0]
    try:
        spec = sys.modules[top].__spec__ if top in sys.modules else importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return False
    origin = spec.origin if spec is not None else None
    if origin in ("built-in", "frozen"):
        return True
    if not isinstance(origin, str):
        return False
    home = os.path.dirname(os.path.realpath(os.__file__))
    inside = os.path.realpath(origin)
    return inside.startswith(home + os.sep) and "-packages" not in inside[len(home) :]


def _import_longest(path: str, segments: list[str], *, roots: list[str]) -> tuple[Any, list[str]]:
    """The module that is the longest importable prefix, and the segments after it."""
    import importlib

    if is_standard_module(segments[0]):
        raise Refusal(
            f"ASYA_HANDLER {path!r} is in Python's standard library; name a function of your own, in a module not called {segments[0]!r}"
        )
    for count in range(len(segments) - 1, 0, -1):
        name = ".".join(segments[:count])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise _import_failure(path, name, error=error) from error
        except BaseException as error:  # importing runs the user's code, which may raise anything
            raise _import_failure(path, name, error=error) from error
        rest = segments[count:]
        if len(rest) > 1 and hasattr(module, "__path__") and not hasattr(module, rest[0]):
            break
        return module, rest
    raise Refusal(_not_found(path, segments, roots=roots))


def _import_failure(path: str, name: str, *, error: BaseException) -> _UserFailure:
    if isinstance(error, ModuleNotFoundError):
        remedy = f"install {error.name!r} in the image or correct the import"
    else:
        remedy = "the traceback above shows where"
    return _UserFailure(f"ASYA_HANDLER {path!r}: importing {name!r} raised {_one_line(error)}; {remedy}")


def _one_line(error: BaseException) -> str:
    text = " ".join(text_of(error).split())
    return class_name(type(error)) + (f": {text[:300]}" if text else "")


def _walk(path: str, module: Any, *, rest: list[str]) -> tuple[Any, Any]:
    """The last object of the path and the one that holds it."""
    owner, target = None, module
    for index, segment in enumerate(rest):
        owner = target
        try:
            target = getattr(owner, segment)
        except AttributeError:
            held = ".".join([module.__name__, *rest[:index]])
            raise Refusal(_no_attribute(path, owner, held=held, missing=rest[index:])) from None
    return owner, target


def _is_bound_to_class(cls: type, name: str) -> bool:
    """Whether the attribute needs no instance: a static or class method, a nested class, an object held by the class."""
    import inspect

    static = inspect.getattr_static(cls, name)
    return isinstance(static, (staticmethod, classmethod, type)) or not (hasattr(static, "__get__"))


def _refuse_standard(path: str, target: Any) -> None:
    import functools

    while isinstance(target, functools.partial):
        target = target.func
    function = getattr(target, "__func__", target)
    home = getattr(function, "__module__", None)
    if home is None:
        holder = getattr(function, "__objclass__", None) or type(getattr(function, "__self__", function))
        home = getattr(holder, "__module__", None)
    if isinstance(home, str) and is_standard_module(home):
        raise Refusal(f"ASYA_HANDLER {path!r} leads to {home}, which is Python's own; name a function that you wrote, it may call this one")


def _not_callable(path: str, target: Any) -> str:
    if isinstance(target, type):
        names = [f"{path}.{name}" for name in _methods_of(target)]
        near = f"name a method, such as {names[0]!r}" if names else "give it a method that takes the payload and name that"
        return f"ASYA_HANDLER {path!r} is a class; {near}"
    return f"ASYA_HANDLER {path!r} is of type {class_name(type(target))} and cannot be called; name a function or a method"


def _methods_of(cls: type) -> list[str]:
    return [name for name, value in vars(cls).items() if not name.startswith("_") and callable(value) and not isinstance(value, type)]


def _check_one_argument(path: str, target: Any) -> None:
    import inspect

    try:
        signature = signature_of(target)
    except (ValueError, TypeError):  # no signature to be had, as for many extension functions
        return
    try:
        signature.bind(None)
    except TypeError:
        required = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.default is inspect.Parameter.empty
            and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        ]
        takes = f"requires {len(required)} arguments ({', '.join(required)})" if required else "takes no argument"
        raise Refusal(f"ASYA_HANDLER {path!r} {takes}; a handler is called with exactly one, give all others a default") from None


def is_async_callable(target: Any) -> bool:
    """Whether calling `target` gives a coroutine or an async generator: ``async def``, also behind partial or ``__call__``."""
    import functools
    import inspect

    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = getattr(type(target), "__call__", target)  # noqa: B004
    return inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)


# ------------------------------------------------------------------------------------------------------------------- did you mean


def _not_found(path: str, segments: list[str], *, roots: list[str]) -> str:
    where = " and ".join(roots)
    missing = ".".join(segments[:-1])
    near = suggest_handler(segments, modules_below(roots))
    remedy = f"did you mean {near!r}?" if near else "put the file there or set ASYA_SOURCE_PATH to its folder"
    return f"ASYA_HANDLER {path!r}: there is no module {missing!r} in {where}; {remedy}"


_MAX_MODULES = 2000


def modules_below(roots: Sequence[str]) -> dict[str, str]:
    """Dotted names of the Python files in `roots`, about `_MAX_MODULES` and four levels deep at most, with their paths."""
    found: dict[str, str] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            depth = 0 if folder == root else folder[len(root) :].strip(os.sep).count(os.sep) + 1
            folders[:] = sorted(
                name
                for name in folders
                if name.isidentifier()
                and name not in ("__pycache__", "node_modules", "venv")
                and depth < 3
                and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            )
            prefix = os.path.relpath(folder, root).replace(os.sep, ".") + "." if folder != root else ""
            for file in sorted(files):
                if (
                    file.endswith(".py")
                    and file[:-3].isidentifier()
                    and os.path.realpath(os.path.join(folder, file)) != os.path.realpath(_FILE)
                ):
                    name = prefix[:-1] if file == "__init__.py" else prefix + file[:-3]
                    if name:
                        found.setdefault(name, os.path.join(folder, file))
            if len(found) > _MAX_MODULES:
                return found
    return found


def suggest_handler(segments: Sequence[str], modules: Mapping[str, str]) -> str:
    """The most likely path that was meant, from the modules that exist; empty if none is near.

    In order: leading segments too many (``src.text_processor.process`` with ``text_processor.py`` there), leading segments missing, a
    typing error. What comes after the module is taken over if the file defines it, else replaced by the nearest definition.
    """
    import difflib

    for start in range(1, len(segments) - 1):
        for end in range(len(segments) - 1, start, -1):
            name = ".".join(segments[start:end])
            if name in modules:
                return _with_member(name, segments[end:], modules)
    for end in range(len(segments) - 1, 0, -1):
        tail = "." + ".".join(segments[:end])
        longer = sorted((name for name in modules if name.endswith(tail)), key=lambda name: (name.count("."), name))
        if longer:
            return _with_member(longer[0], segments[end:], modules)
    for end in range(len(segments) - 1, 0, -1):
        near = difflib.get_close_matches(".".join(segments[:end]), list(modules), 1, 0.7)
        if near:
            return _with_member(near[0], segments[end:], modules)
    return ""


def _with_member(module: str, rest: Sequence[str], modules: Mapping[str, str]) -> str:
    defined = members_of_file(modules[module])
    wanted = ".".join(rest)
    if not defined or wanted in defined:
        return f"{module}.{wanted}"
    return f"{module}.{nearest_member(wanted, defined) or wanted}"


def members_of_file(path: str) -> list[str]:
    """Public functions, and methods as ``Class.method``, that a file defines; empty if it cannot be read. The file is not run."""
    import ast

    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(1_000_000))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.append(node.name)
        elif isinstance(node, ast.ClassDef):
            names += [f"{node.name}.{item.name}" for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def nearest_member(wanted: str, defined: Sequence[str]) -> str:
    """The definition nearest to `wanted`: the same method of a class, a near spelling, or the only one there is."""
    import difflib

    last = wanted.rpartition(".")[2]
    same = [name for name in defined if name.rpartition(".")[2] == last]
    if same:
        return same[0]
    near = difflib.get_close_matches(wanted, defined, 1, 0.5)
    return near[0] if near else (defined[0] if len(defined) == 1 else "")


def _no_attribute(path: str, owner: Any, *, held: str, missing: list[str]) -> str:
    if isinstance(owner, type):
        defined = _methods_of(owner)
    else:
        spaces = getattr(owner, "__dict__", {})
        own = [(name, value) for name, value in spaces.items() if not name.startswith("_") and callable(value)]
        own = [(name, value) for name, value in own if getattr(value, "__module__", None) == getattr(owner, "__name__", None)]
        defined = [name for name, value in own if not isinstance(value, type)]
        defined += [f"{name}.{method}" for name, value in own if isinstance(value, type) for method in _methods_of(value)]
    near = nearest_member(".".join(missing), defined)
    remedy = f"did you mean '{held}.{near}'?" if near else "name a function or method that is there"
    return f"ASYA_HANDLER {path!r}: {held!r} has no {missing[0]!r}; {remedy}"


# -------------------------------------------------------------------------------------------------------------------------- results

_HINTS = {
    "set": "use sorted(…) or list(…)",
    "frozenset": "use sorted(…) or list(…)",
    "bytes": "use .decode() or base64",
    "bytearray": "use .decode() or base64",
    "memoryview": "use .tobytes().decode() or base64",
    "datetime.datetime": "use .isoformat()",
    "datetime.date": "use .isoformat()",
    "datetime.time": "use .isoformat()",
    "datetime.timedelta": "use .total_seconds()",
    "decimal.Decimal": "use float(…) or str(…)",
    "fractions.Fraction": "use float(…) or str(…)",
    "uuid.UUID": "use str(…)",
    "complex": "use [z.real, z.imag]",
    "numpy.ndarray": "use .tolist()",
    "array.array": "use .tolist()",
    "pandas.core.frame.DataFrame": "use .to_dict('records')",
    "pandas.core.series.Series": "use .tolist()",
    "torch.Tensor": "use .tolist()",
}
_MAX_PATH_LENGTH = 4000
_PLAIN = frozenset((str, int, float, bool, type(None)))


def hint_for(value: Any) -> str:
    """What to write instead, so that JSON can hold it."""
    cls = type(value)
    known = _HINTS.get(class_name(cls))
    if known:
        return known
    for attribute, hint in (
        ("model_dump", "use .model_dump(mode='json')"),
        ("tolist", "use .tolist()"),
        ("isoformat", "use .isoformat()"),
        ("__fspath__", "use str(…)"),
        ("__dataclass_fields__", "use dataclasses.asdict(…)"),
        ("_asdict", "use ._asdict()"),
        ("__next__", "use list(…)"),
        ("__members__", "use .value"),
        ("keys", "use dict(…)"),
        ("__iter__", "use list(…)"),
    ):
        if hasattr(cls, attribute):
            return hint
    return "use .value" if hasattr(cls, "_member_map_") else "convert it to dict, list, str, int, float, bool or None"


def _step(path: str, key: str) -> str:
    import json

    if key.isidentifier() and key.isascii() and len(key) <= 60:
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key[:60])}]"


def _scalar_problem(value: Any) -> str:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "is text with a lone surrogate; encode it with errors='replace' first"
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return f"is {value!r}, which JSON does not know; use None or a number"
    elif isinstance(value, int) and value.bit_length() > 2048:
        try:
            str(value)
        except ValueError:
            return "is an integer with too many digits; use str(…) of a smaller one"
    return ""


def _key_problem(mapping: Mapping[Any, Any]) -> str:
    """What is wrong with the keys of a mapping: a type that JSON cannot hold, or two that become the same string."""
    taken = set()
    for key in mapping:
        problem = _scalar_problem(key)
        if problem:
            return "has a key that " + problem
        if isinstance(key, str):
            spelled = str(key)
        elif key is None or isinstance(key, bool):
            spelled = {None: "null", True: "true", False: "false"}[key]
        elif isinstance(key, int):
            spelled = int.__repr__(key)
        elif isinstance(key, float):
            spelled = float.__repr__(key)
        else:
            return f"has a key of type {class_name(type(key))}; use str(…)"
        if spelled in taken:
            return f"has two keys that become {spelled[:60]!r} in JSON; keep one"
        taken.add(spelled)
    return ""


def find_problem(root: Any, path: str) -> str:
    """Why `root` cannot be JSON, with the place: ``$.items[3].score is of type set; use list(…)``. Empty if nothing is found."""
    stack: list[tuple[Any, str, bool]] = [(root, path, False)]
    above: set[int] = set()
    while stack:
        value, where, leaving = stack.pop()
        if leaving:
            above.discard(id(value))
            continue
        if len(where) > _MAX_PATH_LENGTH:  # longer and longer paths would cost the square of the depth
            return f"{where[:200]}… is nested too deeply; make it flatter"
        if value is None or isinstance(value, (str, int, float)):
            problem = _scalar_problem(value)
        elif isinstance(value, (dict, list, tuple)):
            problem = "contains itself; build it without the cycle" if id(value) in above else ""
            if not problem and isinstance(value, dict):
                problem = _key_problem(value)
            if not problem:
                above.add(id(value))
                stack.append((value, where, True))
                pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
                is_list = not isinstance(value, dict)
                stack.extend(
                    (item, f"{where}[{key}]" if is_list else _step(where, key if isinstance(key, str) else str(key)), False)
                    for key, item in reversed(pairs)
                )
        else:
            problem = f"is of type {class_name(type(value))}; {hint_for(value)}"
        if problem:
            return f"{where} {problem}"
    return ""


def has_other_keys(root: Any) -> bool:
    """Whether any mapping in `root` has a key that is no string. `root` has been encoded: it has no cycle and no foreign type."""
    if type(root) in _PLAIN:
        return False
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    return True
            value = value.values()
        for item in value:
            if type(item) not in _PLAIN and isinstance(item, (dict, list, tuple)):
                stack.append(item)
    return False


class Json:
    """JSON in and out as the runtime wants it: strict UTF-8, compact, no NaN. Made once: `json.dumps` makes one per call."""

    def __init__(self) -> None:
        import json

        def refuse(name: str) -> NoReturn:
            raise ValueError(f"{name} is no JSON")

        self._decode = json.JSONDecoder(parse_constant=refuse).decode
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

    def read(self, body: bytes) -> Any:
        """The value of a message. Raises CallError ``bad_message``."""
        try:
            return self._decode(str(body, "utf-8"))
        except UnicodeDecodeError as error:
            raise CallError("bad_message", f"Message is not UTF-8 at byte {error.start}") from None
        except RecursionError:
            raise CallError("bad_message", "Message is nested too deeply") from None
        except (ValueError, OverflowError, MemoryError) as error:
            raise CallError("bad_message", f"Message cannot be parsed: {cut_middle(text_of(error), 200)}") from None

    def write(self, value: Any, path: str = "$") -> bytes:
        """`value` as JSON text. Raises CallError ``result_not_serialisable`` with the place below `path` and what to do."""
        try:
            data = self._encode(value).encode("utf-8")
        except Exception as error:  # TypeError, ValueError, UnicodeEncodeError, RecursionError, or a subclass's own
            problem = find_problem(value, path) or f"{path} cannot be encoded: {_one_line(error)}"
            raise CallError("result_not_serialisable", "Result " + problem) from None
        if has_other_keys(value):
            problem = find_problem(value, path)
            if problem:
                raise CallError("result_not_serialisable", "Result " + problem)
        return data


# --------------------------------------------------------------------------------------------------------------------------- routes

_ABSENT = object()


class Before:
    """What an envelope-mode handler may not change, taken before it runs."""

    __slots__ = ("actors", "current", "deadline", "id", "is_end", "parent_id")

    def __init__(self, envelope: Mapping[str, Any], *, is_end: bool) -> None:
        route = envelope.get("route")
        actors = route.get("actors") if isinstance(route, dict) else None
        if not isinstance(route, dict) or not isinstance(actors, list):
            raise CallError("bad_message", "Message has no route with a list of actors")
        self.actors = tuple(actors)
        self.current = route.get("current", 0)
        if type(self.current) is not int or not 0 <= self.current <= len(self.actors):
            raise CallError("bad_message", f"Message has a route whose current is not an integer from 0 to {len(self.actors)}")
        self.id = envelope.get("id", _ABSENT)
        self.parent_id = envelope.get("parent_id", _ABSENT)
        self.deadline = envelope.get("deadline", _ABSENT)
        self.is_end = is_end


def check_output(output: Any, before: Before, *, single: bool, path: str = "$") -> tuple[dict[str, Any], Any]:
    """Head and payload of one envelope that a handler returned. Raises CallError with the rule that it breaks.

    A `current` that was left alone is advanced. An output with ``error`` set, and what an end actor returns, is passed on as it is.

    Args:
        output: what the handler returned, or one item of it.
        before: the input.
        single: the output is not an item of a list: it keeps the input's id.
        path: where it is in the result, for the message.
    """
    if not isinstance(output, dict) or not isinstance(output.get("route"), dict) or "payload" not in output:
        kind = class_name(type(output))
        raise CallError("not_an_envelope", f"Result {path} of type {kind} is no dict with route and payload; return the envelope or None")
    head = {key: value for key, value in output.items() if key != "payload"}
    if not single:
        head.setdefault("id", before.id)
    if before.is_end or head.get("error") is not None:
        return head, output["payload"]
    head["route"] = _checked_route(head["route"], before, path=path)
    _check_reserved(head, before, single=single, path=path)
    return head, output["payload"]


def _checked_route(route: dict[str, Any], before: Before, *, path: str) -> dict[str, Any]:
    actors, current, done = route.get("actors"), route.get("current", before.current), before.current + 1
    if not isinstance(actors, (list, tuple)):
        raise CallError("route_entry_invalid", f"Result {path}.route.actors is no list")
    if tuple(actors[:done]) != before.actors[:done]:
        raise CallError("route_past_changed", f"Result {path}.route.actors: entries 0 to {before.current} may not change")
    if type(current) is not int:
        raise CallError("route_current_invalid", f"Result {path}.route.current is no integer; expected {done}")
    if current == before.current:
        current = done
    own = before.actors[before.current].partition(":")[0] if before.current < len(before.actors) else ""
    if not done <= current <= len(actors):
        raise CallError("route_current_invalid", f"Result {path}.route.current is {current}; expected {done}")
    for entry in actors[done:current]:
        if not isinstance(entry, str) or entry.partition(":")[0] != own:
            raise CallError(
                "route_current_invalid", f"Result {path}.route.current is {current}; it skips entries of other actors, expected {done}"
            )
    if tuple(actors[done:]) != before.actors[done:]:
        _check_entries(actors, done, path=path)
    return {**route, "actors": actors, "current": current}


def _check_entries(actors: Sequence[Any], start: int, *, path: str) -> None:
    import re

    legal = re.compile(r"(?=[^:]{1,53}(?::|\Z))[a-z](?:[-a-z0-9]*[a-z0-9])?(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?").fullmatch
    if len(actors) > MAX_ENTRIES:
        raise CallError("route_entry_invalid", f"Result {path}.route.actors has {len(actors)} entries; expected at most {MAX_ENTRIES}")
    for index in range(start, len(actors)):
        entry = actors[index]
        if not isinstance(entry, str) or not legal(entry):
            raise CallError(
                "route_entry_invalid", f"Result {path}.route.actors[{index}] is {str(entry)[:80]!r}; expected the name of an actor"
            )
        if entry.partition(":")[0] in END_ACTORS:
            raise CallError("route_entry_invalid", f"Result {path}.route.actors[{index}] is {entry!r}; leave end actors to the sidecar")


def _check_reserved(head: Mapping[str, Any], before: Before, *, single: bool, path: str) -> None:
    def reserved(key: str, rule: str) -> CallError:
        return CallError("envelope_key_reserved", f"Result {path}.{key} {rule}")

    for key, value in (("parent_id", before.parent_id), ("deadline", before.deadline)):
        if head.get(key, _ABSENT) != value:
            raise reserved(key, "may not be changed")
    if "asya_claim" in head:
        raise reserved("asya_claim", "is the sidecar's; return the payload itself")
    if single and head.get("id", _ABSENT) != before.id:
        raise reserved("id", "may not be changed; only items of a list may have ids of their own")
    if not _is_id(head.get("id")):
        raise reserved("id", "is not 1–128 characters of [A-Za-z0-9._:-]")
    if not isinstance(head.get("headers", {}), dict):
        raise reserved("headers", "is no dict")


def _is_id(value: Any) -> bool:
    import re

    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", value, re.ASCII) is not None


# --------------------------------------------------------------------------------------------------------------------------- worker

_RECV_BYTES = 262_144
_forked = False
"""Set in children that a handler forks: one that comes back out of the handler ends there."""


class Peer:
    """The connected sidecar.

    Attributes:
        lock: held while a frame is written; the drain thread writes too.
        actor: the actor's name from HELLO.
        reply_limit: the largest frame that both sides accept.
        begun: calls that were begun.
        may_begin: calls that may be: one for each slot, and one more for each answer before DRAIN. The sidecar counts alike, and so knows
            which of the calls that it handed ahead have not been begun.
    """

    def __init__(self, sock: _socket.socket, max_frame: int, slots: int) -> None:
        self.sock = sock
        self.begun = 0
        self.may_begin = slots
        self.is_draining = False
        self.lock = _thread.allocate_lock()
        self.reader = FrameReader(max_frame)
        self.actor = ""
        self.reply_limit = max_frame
        self.scratch = memoryview(bytearray(_RECV_BYTES))
        self.is_greeted = False
        self.began = time.monotonic()

    def send(self, frame: bytes, *, is_answer: bool = False, is_drain: bool = False) -> None:
        """Write one frame, blocking until the kernel has it. Raises OSError, also when the peer takes nothing for `STALLED_SECONDS`."""
        try:
            with self.lock:
                self.is_draining |= is_drain
                self.sock.sendall(frame)
                if is_answer and not self.is_draining:
                    self.may_begin += 1
        except BlockingIOError:
            say(f"the sidecar has taken nothing of a frame of {len(frame)} bytes for {STALLED_SECONDS} s; closing the connection")
            raise

    def begin(self) -> bool:
        """Whether the next call may be begun; it counts as begun then."""
        if self.begun == self.may_begin:
            return False
        self.begun += 1
        return True

    def receive(self) -> list[tuple[int, int, bytes]] | None:
        """The frames of one read, None at end of file. Raises OSError, Fault; BlockingIOError is time-out for an unfinished frame only."""
        reader = self.reader
        try:
            size = self.sock.recv_into(self.scratch)  # a fresh buffer per read would be mapped and unmapped each time
        except BlockingIOError:
            size = -1
        if size > 0:
            frames = reader.feed(bytes(self.scratch[:size]))
            if not reader.buffer:
                self.began = 0.0
                return frames
        elif size == 0:
            return None
        else:
            frames = []
        self.check_pace(has_progress=bool(frames))
        return frames

    def check_pace(self, *, has_progress: bool) -> None:
        """Raises Fault if a frame has been unfinished, or HELLO has been missing, for too long."""
        if self.is_greeted and not self.reader.buffer:
            self.began = 0.0
            return
        now = time.monotonic()
        if has_progress or not self.began:
            self.began = now
        elif now - self.began >= UNFINISHED_SECONDS - 0.5:
            what = "Frame is unfinished" if self.reader.buffer else "No HELLO"
            raise Fault("bad_frame", f"{what} after {UNFINISHED_SECONDS} s")

    def greet(self, body: bytes, json: Json) -> None:
        """Take the sidecar's HELLO. Raises Fault."""
        try:
            hello = json.read(body)
        except CallError as error:
            raise Fault("bad_frame", f"HELLO is no JSON: {error.message}") from None
        protocol = hello.get("protocol") if isinstance(hello, dict) else None
        if protocol != PROTOCOL:
            raise Fault("protocol_mismatch", f"Sidecar speaks protocol {str(protocol)[:20]}; the runtime {__version__} speaks {PROTOCOL}")
        actor, limit = hello.get("actor"), hello.get("max_frame")
        if not isinstance(actor, str) or type(limit) is not int or limit < 1024:
            raise Fault("bad_frame", "HELLO needs actor, a string, and max_frame, an integer of at least 1024")
        self.actor = actor
        self.reply_limit = min(self.reply_limit, limit)
        self.is_greeted = True

    def close(self, fault: Fault | None = None) -> None:
        """Close, telling the peer why. Never raises."""
        try:
            if fault is not None:
                body = f'{{"code":"{fault.code}","message":{_quoted(fault.message)}}}'.encode()
                self.sock.settimeout(1.0)
                self.send(encode_frame(FAULT, 0, body))
        except OSError:
            pass
        try:
            self.sock.close()
        except OSError:
            pass


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


class Worker:
    """The process with the user's code: loads the handler, answers calls.

    Args:
        settings: the settings.
        listener: the listening socket; the supervisor's stays open when this process dies.
        control: a pipe: a byte means drain, end of file that the supervisor is gone. None without a supervisor.
        state: the mapped state file.
        last_exit: how the last worker ended, for HELLO.
    """

    def __init__(
        self, settings: Settings, listener: _socket.socket, *, control: int, state: memoryview[float], last_exit: dict[str, int] | None
    ) -> None:
        self.settings = settings
        self.listener = listener
        self.control = control
        self.state = state
        self.last_exit = last_exit
        self.peer: Peer | None = None
        self.lock = _thread.allocate_lock()
        self.draining = False
        self.calls = 0
        self.json = Json()
        self.handler = Handler(lambda argument: argument, is_async=False, warnings=[])
        self._loop: Any = None

    # -- life

    def run(self) -> NoReturn:
        """Load, then serve until drained. Ends the process."""
        _prepare_streams()
        _thread.start_new_thread(self._watch_control, ())
        os.register_at_fork(after_in_child=self._forget_sockets)
        try:
            self._load()
        except Refusal as refusal:
            flush_streams()
            say(str(refusal))
            finish(EXIT_REFUSED)
        except _UserFailure as failure:
            flush_streams()
            cause = failure.__cause__
            if cause is not None:
                say(format_load_failure(cause), prefix="")
            say(str(failure))
            finish(EXIT_REFUSED)
        if _forked:
            finish(0)
        _import_for_calls()
        import gc

        gc.collect()
        gc.freeze()
        self.state[LOADED] = 1.0
        (serve_async if self.handler.is_async else serve_blocking)(self)
        finish(0)

    def _load(self) -> None:
        if self.last_exit is None:
            for warning in unknown_settings(os.environ):
                say(warning)
        roots = prepare_path(self.settings)
        self.handler = load_handler(self.settings, os.environ, roots)
        for warning in self.handler.warnings:
            say(warning)

    def _watch_control(self) -> None:
        """Runs in a thread of its own, so that DRAIN is said in the middle of a call too."""
        while True:
            try:
                order = os.read(self.control, 1)
            except OSError:
                return
            if not order:
                os.killpg(0, signal.SIGKILL)
            self._drain()

    def _drain(self) -> None:
        if not self.state[LOADED]:
            finish(0)
        with self.lock:
            self.draining = True
            peer = self.peer
            if peer is None:
                try:
                    self.listener.shutdown(_socket.SHUT_RDWR)
                except OSError:
                    pass
                return
        try:
            peer.send(encode_frame(DRAIN, 0), is_drain=True)
            seen = -1
            while seen != self.calls:
                seen = self.calls
                time.sleep(QUIET_SECONDS)
            peer.sock.shutdown(_socket.SHUT_RD)  # what has arrived is still read; then end of file ends the serving loop
        except OSError:
            pass

    def _forget_sockets(self) -> None:
        global _forked
        _forked = True
        for fd in (self.control, self.listener.detach(), self.peer.sock.detach() if self.peer else -1):
            try:
                os.close(fd)
            except OSError:
                pass

    # -- connections

    def accept(self) -> Peer | None:
        """The next peer, HELLO said; None when draining. Raises OSError if that peer is gone already."""
        try:
            fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        except OSError:
            if self.draining:
                return None
            raise
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        sock.settimeout(None)  # a handler may have called socket.setdefaulttimeout
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, struct.pack("@ll", UNFINISHED_SECONDS, 0))
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("@ll", STALLED_SECONDS, 0))
        peer = Peer(sock, self.settings.max_frame_bytes, self.settings.concurrency)
        with self.lock:
            if self.draining:
                peer.close()
                return None
            try:
                sock.sendall(encode_frame(HELLO, 0, self.hello()))
            except OSError:
                peer.close()
                raise
            self.peer = peer
        return peer

    def hello(self) -> bytes:
        """The body of our HELLO."""
        settings = self.settings
        return self.json.write(
            {
                "protocol": PROTOCOL,
                "runtime": __version__,
                "python": ".".join(map(str, sys.version_info[:3])),
                "handler": settings.handler,
                "mode": settings.mode,
                "concurrency": settings.concurrency,
                "ahead": settings.concurrency,
                "max_frame": settings.max_frame_bytes,
                "last_exit": self.last_exit,
            }
        )

    def part(self, peer: Peer, fault: Fault | None = None) -> None:
        """The peer is gone, or is sent away with a FAULT."""
        with self.lock:
            self.peer = None
        if fault is not None:
            say(f"closed the connection to the sidecar, {fault.code}: {fault.message}")
        peer.close(fault)

    def take(self, peer: Peer, frame: tuple[int, int, bytes]) -> tuple[int, int, bytes] | None:
        """``(call, limit in ms, message)`` if the frame is a CALL, None if it was something else. Raises Fault."""
        kind, call, body = frame
        if kind == CALL and peer.is_greeted:
            limit, message = read_call(call, body)
            self.calls += 1
            return call, limit, message
        if kind == HELLO and not peer.is_greeted:
            peer.greet(body, self.json)
        elif kind == FAULT:
            say(f"the sidecar closed the connection: {body[:500].decode('utf-8', 'replace')}")
            raise ConnectionResetError
        else:
            raise Fault("bad_frame", f"Frame of kind {kind:#04x} {'is not for the runtime' if peer.is_greeted else 'before HELLO'}")
        return None

    # -- one call

    def argument_of(self, peer: Peer, message: bytes) -> tuple[Any, Before | None, Any]:
        """What the handler gets, what it may not change (envelope mode), and the envelope's id. Raises CallError ``bad_message``."""
        envelope = self.json.read(message)
        if not isinstance(envelope, dict) or "payload" not in envelope:
            raise CallError("bad_message", "Message is no JSON object with a payload")
        if self.settings.mode == "payload":
            return envelope["payload"], None, envelope.get("id")
        return envelope, Before(envelope, is_end=peer.actor in END_ACTORS), envelope.get("id")

    def encode_result(self, peer: Peer, call: int, *, result: Any, before: Before | None) -> bytes:
        """The reply frame for a result whose coroutine or generator has been run. Raises CallError."""
        write = self.json.write
        fan_out = isinstance(result, (list, tuple))
        if fan_out and len(result) > self.settings.max_items:
            raise _too_many(self.settings.max_items)
        outputs: Sequence[Any] = result if fan_out else (() if result is None else (result,))
        fan_out = fan_out and len(outputs) > 0
        items: list[bytes] = []
        for index, output in enumerate(outputs):
            path = f"$[{index}]" if fan_out else "$"
            if before is None:
                items.append(write(output, path))
            else:
                head, payload = check_output(output, before, single=not fan_out, path=path)
                items.append(write(head, path))
                items.append(write(payload, path + ".payload"))
        frame = encode_reply(PAYLOADS if before is None else ENVELOPES, call, items, fan_out=fan_out)
        if len(frame) - 4 > peer.reply_limit:
            raise CallError(
                "reply_too_large", f"Result is {len(frame) - 4} bytes; expected at most {peer.reply_limit} (ASYA_MAX_FRAME_BYTES)"
            )
        return frame

    def encode_error(self, peer: Peer, call: int, *, error: BaseException, envelope_id: Any) -> bytes:
        """The ERROR frame, after telling stderr. Never raises."""
        name = f" on envelope {envelope_id[:128]!r}" if isinstance(envelope_id, str) else ""
        if isinstance(error, CallError):
            body = describe_failure(error)
            say(f"{error.code}{name}: {body['message']}")
        else:
            body = describe_exception(error)
            say(f"the handler failed{name}\n{body['traceback']}")
        data = self.json.write(body)
        if len(data) + _MIN_LENGTH > peer.reply_limit:
            data = self.json.write({**body, "mro": body["mro"][:2], "message": cut_middle(body["message"], 200), "traceback": None})
        return encode_frame(ERROR, call, data)

    def run_to_end(self, result: Any, limit_ms: int) -> Any:
        """The value of what a plain function returned: coroutines and generators are run to their end."""
        import inspect

        if inspect.isgenerator(result):
            return drain_generator(result, self.settings.max_items)
        if inspect.isasyncgen(result) or inspect.isawaitable(result):
            import asyncio

            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                asyncio.set_event_loop(self._loop)
            running = asyncio.wait_for(settle(result, self.settings.max_items), limit_ms / 1000 if limit_ms else None)
            expired: tuple[type[BaseException], ...] = (asyncio.TimeoutError,)
            started = time.monotonic()
            try:
                return self._loop.run_until_complete(running)
            except expired:
                if limit_ms and time.monotonic() - started >= limit_ms / 1000:
                    raise _expired(limit_ms) from None
                raise
        return result


def _too_many(limit: int) -> CallError:
    return CallError("too_many_items", f"Result has over {limit} items (ASYA_MAX_ITEMS); return fewer")


def _expired(limit_ms: int) -> CallError:
    return CallError("timeout", f"Handler was cancelled at its limit of {limit_ms / 1000:g} s")


def drain_generator(generator: Any, limit: int) -> list[Any]:
    """All items of a generator. Raises CallError ``too_many_items`` at the first one over `limit`."""
    items: list[Any] = []
    for item in generator:
        if len(items) == limit:
            generator.close()
            raise _too_many(limit)
        items.append(item)
    return items


async def settle(result: Any, limit: int) -> Any:
    """The value of a coroutine, the items of a generator of either kind, or `result` itself."""
    import inspect

    if inspect.isawaitable(result):
        result = await result
    if inspect.isasyncgen(result):
        items: list[Any] = []
        async for item in result:
            if len(items) == limit:
                await result.aclose()
                raise _too_many(limit)
            items.append(item)
        return items
    return drain_generator(result, limit) if inspect.isgenerator(result) else result


def format_load_failure(error: BaseException) -> str:
    """The traceback of a failed import or ``__init__``, without the frames of the runtime and of the import machinery."""
    import traceback

    trace = error.__traceback__
    while trace is not None and (trace.tb_frame.f_code.co_filename == _FILE or "importlib" in trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # hostile attributes
        return f"Traceback not available: {class_name(type(error))}"


def _prepare_streams() -> None:
    global _log_fd
    import fcntl

    _log_fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 10)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        except (AttributeError, ValueError, OSError):
            pass


def _import_for_calls() -> None:
    """Import what a call may need now, so that a handler that changes directory or sys.path cannot get in between."""
    import difflib  # noqa: F401
    import inspect  # noqa: F401
    import re  # noqa: F401
    import traceback  # noqa: F401


# ------------------------------------------------------------------------------------------------------------------ blocking server


def serve_blocking(worker: Worker) -> None:
    """Serve peers one after the other, calls one after the other, in the main thread. Returns when drained.

    Two system calls per call: one receive, one send.
    """
    while not worker.draining:
        try:
            peer = worker.accept()
        except BaseException as error:
            if is_stray(error):
                _stray(error)
            continue
        if peer is None:
            return
        fault = None
        try:
            _serve_peer(worker, peer)
        except Fault as reason:
            fault = reason
        except BaseException as error:
            if is_stray(error):  # in the middle of a frame, perhaps: the connection cannot be used any more
                _stray(error)
        worker.part(peer, fault)


def _serve_peer(worker: Worker, peer: Peer) -> None:
    state = worker.state
    while True:
        try:
            frames = peer.receive()
        except BaseException as error:
            if not is_stray(error):
                raise
            _stray(error)
            continue
        if frames is None:
            return
        for index, frame in enumerate(frames):
            taken = worker.take(peer, frame)
            if taken is None:
                continue
            if index + 2 < len(frames):
                raise Fault("too_many_calls", "Over 1 call at a time and 1 ahead")
            if not peer.begin():
                continue  # handed ahead, and not begun before DRAIN was said: the sidecar gives it back
            call, limit_ms, message = taken
            if limit_ms:
                state[LIMITS] = time.monotonic() + limit_ms / 1000
            try:
                reply = _answer(worker, peer, call=call, limit_ms=limit_ms, message=message)
            finally:
                state[LIMITS] = 0.0
            peer.send(reply, is_answer=True)
        if peer.reader.fault is not None:
            raise peer.reader.fault


def _answer(worker: Worker, peer: Peer, *, call: int, limit_ms: int, message: bytes) -> bytes:
    envelope_id = None
    try:
        argument, before, envelope_id = worker.argument_of(peer, message)
        result = worker.handler.call(argument)
        if result.__class__ is not dict:
            result = worker.run_to_end(result, limit_ms)
        if _forked:
            finish(0)
        return worker.encode_result(peer, call, result=result, before=before)
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a handler are errors of that call, not of the process
        reply = worker.encode_error(peer, call, error=error, envelope_id=envelope_id)
        if _forked:
            finish(1)
        return reply


def is_stray(error: BaseException) -> bool:
    """Whether a signal handler that the user's code left behind raised it, of whatever type: what the runtime expects ends in this file."""
    if not isinstance(error, (OSError, Fault)):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename != _FILE


def _stray(error: BaseException) -> None:
    say(f"an exception outside of any call, probably from a signal handler, is ignored\n{format_traceback(error)}")


# ------------------------------------------------------------------------------------------------------------------- asyncio server


class _Call:
    """A running call of the asyncio server."""

    __slots__ = ("before", "envelope_id", "is_expired", "limit_ms", "number", "peer", "slot", "task", "timer")

    def __init__(self, number: int, peer: Peer, *, slot: int, limit_ms: int) -> None:
        self.number = number
        self.peer = peer
        self.slot = slot
        self.limit_ms = limit_ms
        self.is_expired = False
        self.before: Before | None = None
        self.envelope_id: Any = None
        self.task: Any = None
        self.timer: Any = None


class AsyncServer:
    """Serves one peer at a time, up to `ASYA_CONCURRENCY` calls at a time, in one event loop that lives as long as the process.

    As many more may be handed ahead; each is begun when a slot is free, without a round trip to the sidecar.
    """

    def __init__(self, worker: Worker, loop: Any) -> None:
        self.worker = worker
        self.loop = loop
        self.peer: Peer | None = None
        self.running: dict[int, _Call] = {}
        self.waiting: dict[int, tuple[int, bytes]] = {}
        self.free = list(range(worker.settings.concurrency))[::-1]
        self.pace: Any = None

    def listen(self) -> None:
        """Wait for the next peer."""
        self.loop.add_reader(self.worker.listener.fileno(), self._connect)

    def _connect(self) -> None:
        try:
            peer = self.worker.accept()
        except OSError:
            return
        self.loop.remove_reader(self.worker.listener.fileno())
        if peer is None:
            self._stop_if_drained()
            return
        self.peer = peer
        self.loop.add_reader(peer.sock.fileno(), self._read)
        self.pace = self.loop.call_later(UNFINISHED_SECONDS, self._check_pace)

    def _check_pace(self) -> None:
        if self.peer is None:
            return
        try:
            self.peer.check_pace(has_progress=False)
        except Fault as fault:
            self._part(fault)
        else:
            began = self.peer.began
            self.pace = self.loop.call_later(
                began + UNFINISHED_SECONDS - time.monotonic() if began else UNFINISHED_SECONDS, self._check_pace
            )

    def _read(self) -> None:
        peer = self.peer
        if peer is None:
            return
        try:
            frames = peer.receive()
            if frames is None:
                self._part(None)
                return
            for frame in frames:
                taken = self.worker.take(peer, frame)
                if taken is not None:
                    self._queue(*taken)
            self._start_waiting(peer)
            if peer.reader.fault is not None:
                raise peer.reader.fault
        except Fault as fault:
            self._part(fault)
        except OSError:
            self._part(None)

    def _queue(self, number: int, limit_ms: int, message: bytes) -> None:
        slots = self.worker.settings.concurrency
        if len(self.running) + len(self.waiting) == 2 * slots:
            raise Fault("too_many_calls", f"Over {slots} calls at a time and {slots} ahead")
        if number in self.running or number in self.waiting:
            raise Fault("bad_frame", f"Call {number} is open already")
        self.waiting[number] = (limit_ms, message)

    def _start_waiting(self, peer: Peer) -> None:
        waiting = self.waiting
        while waiting and self.free and peer.begin():
            number = next(iter(waiting))
            self._start(peer, number, *waiting.pop(number))

    def _start(self, peer: Peer, number: int, limit_ms: int, message: bytes) -> None:
        call = _Call(number, peer, slot=self.free.pop(), limit_ms=limit_ms)
        self.running[number] = call
        if limit_ms:
            self.worker.state[LIMITS + call.slot] = time.monotonic() + limit_ms / 1000
            call.timer = self.loop.call_later(limit_ms / 1000, self._expire, call)
        call.task = self.loop.create_task(self._run(call, message))
        call.task.add_done_callback(lambda task: self._finish(call, task))

    async def _run(self, call: _Call, message: bytes) -> bytes:
        worker = self.worker
        try:
            argument, call.before, call.envelope_id = worker.argument_of(call.peer, message)
            result = await settle(worker.handler.call(argument), worker.settings.max_items)
            if _forked:
                finish(0)
            if call.is_expired:
                raise _expired(call.limit_ms)
            return worker.encode_result(call.peer, call.number, result=result, before=call.before)
        except BaseException as error:
            if _forked:
                finish(1)
            shown = _expired(call.limit_ms) if call.is_expired else error
            return worker.encode_error(call.peer, call.number, error=shown, envelope_id=call.envelope_id)

    def _expire(self, call: _Call) -> None:
        call.is_expired = True
        call.task.cancel()

    def _finish(self, call: _Call, task: Any) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self.worker.state[LIMITS + call.slot] = 0.0
        del self.running[call.number]
        self.free.append(call.slot)
        if call.peer is self.peer or (self.peer is None and self.worker.draining):
            if task.cancelled():  # before its first step
                reply = self.worker.encode_error(call.peer, call.number, error=_expired(call.limit_ms), envelope_id=None)
            else:
                reply = task.result()
            try:
                call.peer.send(reply, is_answer=True)
                self._start_waiting(call.peer)
            except OSError:
                if self.peer is not None:
                    self._part(None)
        self._after_part()

    def _part(self, fault: Fault | None) -> None:
        """End of file, a broken connection, or a peer that is sent away. While draining, running calls are still answered."""
        peer, self.peer = self.peer, None
        self.waiting.clear()
        if peer is None:
            return
        self.pace.cancel()
        self.loop.remove_reader(peer.sock.fileno())
        if not (self.worker.draining and fault is None):
            self.worker.part(peer, fault)
            for call in list(self.running.values()):
                call.task.cancel()
        self._after_part()

    def _after_part(self) -> None:
        """A new peer is greeted only when no call of the last one is left: HELLO is readiness."""
        if self.peer is None and not self.running:
            if self.worker.draining:
                self.loop.stop()
            else:
                self.listen()

    def _stop_if_drained(self) -> None:
        if self.worker.draining:
            self.loop.stop()


def serve_async(worker: Worker) -> None:
    """Serve in one event loop. Returns when drained."""
    import asyncio

    # Before 3.10 asyncio's locks and queues made while loading belong to the loop that get_event_loop gave them.
    loop = asyncio.new_event_loop() if sys.version_info >= (3, 10) else asyncio.get_event_loop()
    asyncio.set_event_loop(loop)
    server = AsyncServer(worker, loop)
    server.listen()
    while True:
        try:
            loop.run_forever()
        except BaseException as error:  # SystemExit of a task that the handler started, or a signal handler's
            _stray(error)
            continue
        if worker.draining and not server.running:
            return


# ----------------------------------------------------------------------------------------------------------------------- supervisor

QUICK_DEATH_SECONDS = 10.0
FREE_RESTARTS = 3
MAX_BACKOFF_SECONDS = 30.0


def backoff_seconds(quick_deaths: int) -> float:
    """How long to wait before the next worker, after so many that died within 10 s each: three at once, then 1, 2, 4 … 30 s."""
    return 0.0 if quick_deaths <= FREE_RESTARTS else min(MAX_BACKOFF_SECONDS, 2.0 ** (quick_deaths - FREE_RESTARTS - 1))


class Supervisor:
    """Keeps one worker alive and within its limits. Runs no user code, allocates nothing per tick."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock_fd = -1
        self.listener, self.state = self._bind()
        self.pid = 0
        self.control = -1
        self.last_exit: dict[str, int] | None = None
        self.is_draining = False
        self.is_killed_by_us = False
        self.quick_deaths = 0
        self.started_at = 0.0
        self.start_at = 0.0

    def _bind(self) -> tuple[_socket.socket, memoryview[float]]:
        path = self.settings.socket
        folder = os.path.dirname(path)
        try:
            if not os.path.isdir(folder):
                os.makedirs(folder, exist_ok=True)
                os.chmod(folder, 0o770)
            self.lock_fd = lock_file(path + ".lock")
            for stale in (path, self.settings.state):
                if os.path.lexists(stale):
                    os.unlink(stale)
            state = open_state(self.settings.state)
            listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            mask = os.umask(0o117)
            try:
                listener.bind(path)
            finally:
                os.umask(mask)
            listener.listen(16)
        except OSError as error:
            raise Refusal(
                f"ASYA_SOCKET {path!r} cannot be served: {error.strerror}; give the process a folder that it may write to"
            ) from None
        return listener, state

    def run(self) -> int:
        """Until the worker is drained, fails while loading, or the parent dies. Gives the exit code."""
        import select

        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        hear_sigterm()
        poller = select.poll()
        poller.register(wake_read, select.POLLIN)
        parent = self.settings.parent_fd
        if parent is not None:
            os.set_inheritable(parent, False)
            poller.register(parent, select.POLLIN)
        self._inherited = [fd for fd in (wake_read, wake_write, parent) if fd is not None]
        wait_ms = 0  # a SIGTERM that was held back until now comes before the first worker
        while True:
            for fd, _ in poller.poll(wait_ms):
                if fd == parent and not os.read(fd, 4096):
                    self._kill()
                    return 0
                if fd == wake_read and self._on_signals(os.read(fd, 4096)):
                    return 130
            wait_ms = 1000
            now = time.monotonic()
            self.state[TICK] = now
            code = self._reap(now)
            if code is not None:
                return code
            if self.pid:
                self._enforce(now)
            elif now >= self.start_at:
                self._start(now)

    def _on_signals(self, numbers: bytes) -> bool:
        """SIGTERM and the first SIGINT drain. True at the second SIGINT: the worker has been killed."""
        for number in numbers:
            if number == signal.SIGINT and self.is_draining:
                self._kill()
                return True
            if number in (signal.SIGTERM, signal.SIGINT) and not self.is_draining:
                self.is_draining = True
                self.state[DRAINING] = 1.0
                if self.pid:
                    try:
                        os.write(self.control, b"T")
                    except OSError:
                        pass
        return False

    def _start(self, now: float) -> None:
        for slot in range(MAX_SLOTS):
            self.state[LIMITS + slot] = 0.0
        self.state[LOADED] = 0.0
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_worker(read_end, write_end)
        os.close(read_end)
        self.pid, self.control, self.started_at, self.is_killed_by_us = pid, write_end, now, False
        self.state[WORKER_PID] = pid

    def _become_worker(self, read_end: int, write_end: int) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for fd in (*self._inherited, write_end, self.lock_fd):
                os.close(fd)
            os.environ.pop("ASYA_PARENT_FD", None)
            Worker(self.settings, self.listener, control=read_end, state=self.state, last_exit=self.last_exit).run()
        except BaseException as error:
            say(f"the worker failed\n{format_traceback(error)}")
        finally:
            os._exit(70)

    def _enforce(self, now: float) -> None:
        for end in self.state[LIMITS:]:
            if end and now - end > KILL_AFTER_SECONDS and not self.is_killed_by_us:
                say(f"killing worker {self.pid}: a call is {now - end:.1f} s past its limit")
                self.is_killed_by_us = True
                self._kill()

    def _kill(self) -> None:
        """Kill the worker and whatever it started. Its pid is not reaped yet, so neither number can belong to another."""
        if not self.pid:
            return
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except OSError:
                pass

    def _reap(self, now: float) -> int | None:
        """Reap all dead children, orphans that were handed to process 1 too. The exit code if this was the end."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                found = None
            if found is None:
                return 0 if self.is_draining and not self.pid else None
            if found.si_pid == self.pid:
                self._kill()
            _, status = os.waitpid(found.si_pid, 0)
            if found.si_pid == self.pid:
                code = self._worker_ended(status, now)
                if code is not None:
                    return code

    def _worker_ended(self, status: int, now: float) -> int | None:
        is_loaded = bool(self.state[LOADED])
        self.state[LOADED], self.state[WORKER_PID], self.pid = 0.0, 0.0, 0
        os.close(self.control)
        by_signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + by_signal if by_signal else os.WEXITSTATUS(status)
        if self.is_draining:
            return 0 if code == 0 or self.is_killed_by_us else 1
        if not is_loaded:
            if by_signal:
                say(f"the worker was killed by signal {by_signal} while it loaded the handler; if it is 9, memory may be short")
            return code or 70
        self.last_exit = {"signal": by_signal} if by_signal else {"code": code}
        if self.is_killed_by_us:
            self.start_at = now
            return None
        self.quick_deaths = self.quick_deaths + 1 if now - self.started_at < QUICK_DEATH_SECONDS else 1
        delay = backoff_seconds(self.quick_deaths)
        self.start_at = now + delay
        how = f"was killed by signal {by_signal}" if by_signal else f"exited with code {code}"
        say(f"the worker {how}; starting another" + (f" in {delay:g} s" if delay else ""))
        return None

    def remove_files(self) -> None:
        """Take socket and state away, so that nobody connects to a runtime that is gone."""
        for path in (self.settings.socket, self.settings.state):
            try:
                os.unlink(path)
            except OSError:
                pass


def lock_file(path: str) -> int:
    """Lock `path` for this process's life. Raises Refusal if another runtime holds it, OSError."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Refusal(f"ASYA_SOCKET {path[:-5]!r} is served by another runtime; stop it or set another ASYA_SOCKET") from None
    return fd


# ----------------------------------------------------------------------------------------------------------------------------- main


def hear_sigterm() -> None:
    """There is a handler now. The operator's pod holds SIGTERM back until here, since process 1 is not told of one without a handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))


def run_alone(settings: Settings) -> NoReturn:
    """``ASYA_SUPERVISE=0``: one process in the foreground, no limits; breakpoints work. SIGTERM drains."""
    supervisor = Supervisor(settings)
    supervisor.state[TICK] = float("inf")
    supervisor.state[WORKER_PID] = os.getpid()
    read_end, write_end = os.pipe()

    def order_drain(*_: object) -> None:
        supervisor.state[DRAINING] = 1.0
        os.write(write_end, b"T")

    signal.signal(signal.SIGTERM, order_drain)
    hear_sigterm()
    Worker(settings, supervisor.listener, control=read_end, state=supervisor.state, last_exit=None).run()


def restart_compiled(code: Any) -> None:
    """Run this file's code object in a fresh interpreter, from memory; returns if that cannot be done or has been done.

    Compiling a file of this size leaves 6 MB in the process, which the supervisor would hold for ever (measured: 16.3 against 9.8 MB), and
    a script has no bytecode cache. Where there is no memfd (not Linux) the supervisor is merely larger.
    """
    global __file__
    prefix = "/proc/self/fd/"
    if sys.argv[0].startswith(prefix):
        os.close(int(sys.argv[0][len(prefix) :]))
        __file__ = _FILE
        sys.argv[:] = [_FILE]  # a handler's module may read the command line
        return
    try:
        import importlib.util
        import marshal

        fd = os.memfd_create("asya_runtime.pyc", 0)
        with open(fd, "wb", closefd=False) as file:
            file.write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
        given = getattr(sys, "orig_argv", sys.argv)
        flags = [flag for flag in given[1 : len(given) - len(sys.argv)] if flag != "-m"]
        os.execv(sys.executable, [sys.executable, *flags, f"{prefix}{fd}", _FILE])
    except (OSError, AttributeError, ValueError):
        return


def open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open, so that no socket of ours gets one of these numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main(arguments: Sequence[str], code: Any = None) -> int:
    """Start the runtime, or answer a probe. Gives the exit code: 0 drained, 1 probe failed, 78 refused.

    Args:
        arguments: of the command line.
        code: the code object of this module if it runs as a script.
    """
    if len(arguments) == 2 and arguments[0] == "--probe" and arguments[1] in ("ready", "live"):
        path = os.environ.get("ASYA_SOCKET") or {name: default for name, default, _ in SETTINGS}["ASYA_SOCKET"]
        reason = probe(arguments[1], state_path(path), time.monotonic())
        if reason:
            say(f"not {arguments[1]}: {reason}")
        return 1 if reason else 0
    if arguments == ["--version"]:
        print(f"asya-runtime {__version__}")
        return 0
    if arguments and list(arguments) != [_FILE]:
        say(f"arguments {' '.join(arguments)!r} are not known; use none to start, or --probe ready, --probe live, --version")
        return 64
    open_standard_streams()
    try:
        settings = Settings(os.environ)
        if not settings.supervise:
            run_alone(settings)
        if code is not None:
            restart_compiled(code)
        supervisor = Supervisor(settings)
    except Refusal as refusal:
        say(str(refusal))
        return EXIT_REFUSED
    exit_code = supervisor.run()
    supervisor.remove_files()
    return exit_code


if __name__ == "__main__":
    _exit_code = main(sys.argv[1:], sys._getframe().f_code)
    flush_streams()
    os._exit(_exit_code)
