"""Handlers of the process tests."""

import os
import time


def identity(payload):
    return payload


def greet(payload):
    return {**payload, "greeting": f"hello {payload['name']}"}


def fail(payload):
    raise ValueError(f"no {payload}")


def refuse_none(payload):
    if payload is None:
        raise ValueError("nothing")
    return payload


def split(payload):
    return [{"n": n} for n in range(payload["count"])]


def end(payload):
    return None


def hang(payload):
    if payload == "hang":
        while True:
            time.sleep(60)
    return payload


def fail_at_first(payload):
    path = payload["path"]
    with open(path, "a", encoding="ascii") as file:
        file.write("x")
    if os.path.getsize(path) < payload["runs"]:
        raise TimeoutError("not yet")
    return payload


def die(payload):
    if payload == "die":
        os.kill(os.getpid(), 9)
    return payload


def wait_or_die(payload):
    if isinstance(payload, dict) and "go" in payload:
        wait_for(payload)
        die("die" if "dies" in payload else None)
    return payload


def wait_for(payload):
    if "runs" in payload:
        with open(payload["runs"], "a", encoding="ascii") as file:
            file.write("x")
    with open(payload["started"], "w", encoding="ascii"):
        pass
    while not os.path.exists(payload["go"]):
        time.sleep(0.01)
    return payload


def grow(payload):
    block = "".join(f"{number:08x}" for number in range(1001))
    return (block * (payload["size"] // len(block) + 1))[: payload["size"] - 2]
