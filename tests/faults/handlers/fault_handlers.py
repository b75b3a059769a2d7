"""Handlers of the fault experiments. Each run leaves a line in the file RUNS_FILE: who, which number, in which process."""

import os
import time

_ACTOR = os.environ.get("WHO", "?")
_RUNS = os.open(os.environ["RUNS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _ran(payload):
    os.write(_RUNS, f"{_ACTOR} {payload['n']} {os.getpid()}\n".encode())


def passes(payload):
    """Enriches the payload."""
    _ran(payload)
    return {**payload, _ACTOR: True}


def takes_a_moment(payload):
    """Takes as many milliseconds as the payload says."""
    _ran(payload)
    time.sleep(payload.get("ms", 5) / 1000)
    return {**payload, _ACTOR: True}


def multiplies(payload):
    """One envelope becomes three."""
    _ran(payload)
    return [{**payload, "part": part} for part in range(3)]


def fails_at_first(payload):
    """Raises in the first run of each number; a file per number remembers it across processes."""
    _ran(payload)
    try:
        os.close(os.open(os.path.join(os.environ["ONCE_FOLDER"], str(payload["n"])), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {**payload, _ACTOR: True}
    raise ConnectionError("first time")


def dies_on(payload):
    """Kills its own process for numbers that the payload marks."""
    _ran(payload)
    if payload.get("deadly"):
        os.kill(os.getpid(), 9)
    return {**payload, _ACTOR: True}


def hangs_on(payload):
    """Never returns for numbers that the payload marks."""
    _ran(payload)
    while payload.get("hang"):
        time.sleep(3600)
    return {**payload, _ACTOR: True}
