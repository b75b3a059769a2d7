"""The ConfigMap with the runtime's file, one per namespace and version of the file; how it is started, and stopped in time. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Final

from asya_operator.desired.labels import MANAGED_BY, MANAGER, runtime_name

__all__ = ["RUNTIME_KEY", "runtime_config_map", "start_command", "stop_hook"]

RUNTIME_KEY = "asya_runtime.py"
_PYTHON: Final = re.compile(r"(?:.*/)?python[0-9.]*t?")
_HOLD_SIGTERM: Final = (
    "import _signal, posix, sys; _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTERM]); "
    "posix.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Linux drops a SIGTERM of process 1 without a handler, but never a blocked one, which outlives exec too; the runtime unblocks it."""

_AWAIT_HEARING: Final = """\
import time
end = time.monotonic() + 10
while time.monotonic() < end:
    with open("/proc/1/status") as file:
        masks = [int(line[7:], 16) for line in file if line[:7] in ("SigBlk:", "SigCgt:")]
    if any(mask >> 14 & 1 for mask in masks):
        break
    time.sleep(0.01)
"""
"""Ends when process 1 holds SIGTERM back or has a handler for it, after 10 s at the latest."""


def runtime_config_map(namespace: str, source: bytes) -> dict[str, Any]:
    """An immutable ConfigMap, named by the file's hash, so that pods of two versions never share one."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": runtime_name(source),
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "asya"},
        },
        "immutable": True,
        "data": {RUNTIME_KEY: source.decode()},
    }


def start_command(interpreter: Sequence[str], file: str) -> list[str]:
    """What the runtime's container runs: a Python that only holds SIGTERM back, and becomes the Python that reads `file`.

    Reading the file takes many times as long as that first start, and a pod that is deleted meanwhile would live on until its grace period
    is over. An interpreter that is not Python itself, or runs a module, gets the file alone. Our images have such an entry point too.
    """
    if not _PYTHON.fullmatch(interpreter[0]) or "-m" in interpreter:
        return [*interpreter, file]
    return [*interpreter, "-S", "-c", _HOLD_SIGTERM, *interpreter[1:], file]


def stop_hook(interpreter: Sequence[str]) -> dict[str, Any]:
    """A container's ``lifecycle`` for processes that `start_command` starts; empty for an interpreter that is started otherwise.

    The kubelet stops what it has just started at once if the pod was deleted meanwhile, which meets the moments before Python's first line.
    It runs this hook before it sends SIGTERM.
    """
    if not _PYTHON.fullmatch(interpreter[0]) or "-m" in interpreter:
        return {}
    return {"preStop": {"exec": {"command": [*interpreter, "-S", "-c", _AWAIT_HEARING]}}}
