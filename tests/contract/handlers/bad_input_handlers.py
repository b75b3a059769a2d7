"""Handlers of the bad-input tests. Each run appends one line to RUNS_FILE: pid and what came, as JSON."""

import array
import datetime
import decimal
import json
import os
import signal
import sys
import threading
import time
from typing import Any


class Unprintable(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _note(what: object) -> None:
    with open(os.environ["RUNS_FILE"], "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "got": what}, allow_nan=True) + "\n")


def _cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"again": ring})
    return ring


def _write_100_mb() -> None:
    line = "x" * 1_000_000
    for _ in range(100):
        sys.stdout.write(line)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(0.05)
        os._exit(3)


RESULTS: dict[str, Any] = {
    "none": lambda: None,
    "empty_list": list,
    "generator": lambda: (item for item in (1, None, "x")),
    "hundred_thousand": lambda: [0] * 100_000,
    "nested": lambda: [[1], [2, [3]]],
    "tuple": lambda: ("a", {"b": 1}),
    "set": lambda: {"in": {1, 2}},
    "bytes": lambda: {"in": [b"x"]},
    "nan": lambda: {"in": float("nan")},
    "decimal": lambda: {"in": decimal.Decimal("1.5")},
    "datetime": lambda: {"in": datetime.datetime(2026, 1, 1)},
    "array": lambda: {"in": array.array("i", [1])},
    "cycle": lambda: {"in": _cycle()},
    "surrogate": lambda: {"in": "\ud800"},
    "two_to_the_70": lambda: {"in": 2**70},
    "last_of_three_is_bad": lambda: [1, 2, {"in": {3}}],
}
RAISES: dict[str, Any] = {
    "exit": lambda: SystemExit(5),
    "interrupt": KeyboardInterrupt,
    "stop": StopIteration,
    "group": lambda: ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    "unprintable": Unprintable,
    "long": lambda: ValueError("y" * 1_000_000),
}
DEEDS: dict[str, Any] = {
    "print_without_newline": lambda: sys.stdout.write("no newline"),
    "print_100_mb": _write_100_mb,
    "close_stdout": lambda: os.close(1),
    "fork": _fork,
    "chdir": lambda: os.chdir("/"),
    "sigterm_handler": lambda: signal.signal(signal.SIGTERM, lambda *_: None),
    "thread": lambda: threading.Thread(target=time.sleep, args=(3600,), daemon=False).start(),
}


def handle(payload: Any) -> Any:
    """Do what the payload says; by default give it back."""
    _note(payload)
    if not isinstance(payload, dict):
        return {"got": payload}
    if payload.get("raise_at_first"):
        marker = os.environ["RUNS_FILE"] + "." + payload["raise_at_first"]
        if not os.path.exists(marker):
            open(marker, "w").close()
            raise ValueError("the first time")
    if "result" in payload:
        return RESULTS[payload["result"]]()
    if "raise" in payload:
        raise RAISES[payload["raise"]]()
    if "deed" in payload:
        DEEDS[payload["deed"]]()
        return {"done": payload["deed"]}
    if "grow" in payload:
        return "g" * int(payload["grow"])
    if "mutate" in payload:
        payload.clear()
        payload["left"] = "other"
        raise ValueError("after the payload was changed")
    return payload


def change_route(envelope: dict[str, Any]) -> Any:
    """Envelope mode: do to the route what the payload says."""
    _note(envelope["payload"])
    payload, route = envelope["payload"], envelope["route"]
    match payload.get("route") if isinstance(payload, dict) else None:
        case "mutate":
            payload["mutated"] = True
        case "remove_visited":
            del route["actors"][0]
        case "change_visited":
            route["actors"][0] = "z"
        case "back":
            route["current"] -= 1
        case "skip":
            route["current"] += 2
        case "fan_out":
            return [envelope, {**envelope, "payload": {"second": True}}]
        case "raise":
            raise ValueError("in envelope mode")
    return envelope
