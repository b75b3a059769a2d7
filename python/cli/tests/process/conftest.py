"""A project in a temporary folder, and the real `asya` command as a process."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import forked

WAIT = 60
HANDLERS = """
import os, sys, time

def upper(payload):
    return {**payload, "upper": payload["text"].upper()}

def boom(payload):
    raise KeyError("text")

def many(payload):
    return [{"n": n} for n in range(3)]

def odd(payload):
    if payload["n"] == 1:
        raise ValueError("one is odd")
    return payload

def nothing(payload):
    return None

def slow(payload):
    print("call started", flush=True)
    time.sleep(payload["seconds"])
    print("call ended", flush=True)
    return payload

def insert(envelope):
    route = envelope["route"]
    route["actors"].insert(route["current"] + 1, "upper")
    return envelope

class Needs:
    def __init__(self, path_of_model: str):
        pass

    def process(self, payload):
        return payload

class Greets:
    def __init__(self, greeting: str = "hello"):
        self.greeting = greeting

    def process(self, payload):
        return {**payload, "greeting": self.greeting}
"""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")} | {"NO_COLOR": "1"}


@dataclass(frozen=True)
class Project:
    directory: Path
    target: str = ""
    imports: tuple[str, ...] = ()
    """What the processes of a run have before they start; see `forked.start`."""

    def actor(self, name: str, values: str) -> "Project":
        (self.directory / "actors" / f"{name}.yaml").write_text(values, encoding="utf-8")
        return self

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        words = ["run", self.target or str(self.directory), *arguments]
        return forked.run_text(words, cwd=self.directory, env=environment() | more, imports=self.imports)

    def start(self, *arguments: str) -> "Running":
        words = ["-m", "asya_cli", "run", self.target or str(self.directory), *arguments]
        pipe = subprocess.PIPE
        return Running(forked.start(words, env=environment(), cwd=self.directory, stdout=pipe, stderr=pipe, new_session=True))


@dataclass
class Running:
    process: forked.Fork

    def until(self, text: str) -> list[str]:
        """Lines of stderr up to the first that holds `text`; pytest's own time limit bounds the wait."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        raise AssertionError(f"{text!r} never came:\n" + "\n".join(lines))

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT)
        return self.process.returncode, out, err


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "actors").mkdir()
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    made = Project(tmp_path)
    for name in ("upper", "boom", "many", "odd", "nothing", "slow"):
        made.actor(name, f"handler: handlers.{name}\n")
    return made


@pytest.fixture
def running(project: Project) -> "Callable[..., Running]":
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(project.start(*arguments))
        return started[-1]

    yield start  # type: ignore[misc]
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGTERM)
        try:
            each.process.communicate(timeout=WAIT)
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.communicate()
