"""Starts that are refused: exit 78, one sentence last on stderr, the user's traceback above it."""

from collections.abc import Callable
from typing import Any

import pytest

SOURCE = """
from os import system
import os
def process(p): return p
def two(a, b): return a
def none(): return 1
class Text:
    def process(self, p): return p
class NeedsPath:
    def __init__(self, model_path): pass
    def process(self, p): return p
class Fails:
    def __init__(self, mode: str = "raise"):
        if mode == "raise": raise RuntimeError("no model")
        raise SystemExit(0)
    def process(self, p): return p
class Typed:
    def __init__(self, threshold: float = 0.5, api_key: int = 1, other: object = None): pass
    def process(self, p): return p
value = 5
"""


@pytest.mark.parametrize(
    ("handler", "environ", "words"),
    [
        ("", {}, ["ASYA_HANDLER is not set"]),
        ("src.handlers.process", {}, ["no module 'src.handlers'", "did you mean 'handlers.process'?"]),
        ("handler.process", {}, ["did you mean 'handlers.process'?"]),
        ("handlers.proces", {}, ["'handlers' has no 'proces'", "did you mean 'handlers.process'?"]),
        ("handlers.Text.proces", {}, ["did you mean 'handlers.Text.process'?"]),
        ("handlers.Text", {}, ["is a class", "'handlers.Text.process'"]),
        ("handlers.value", {}, ["type int", "cannot be called"]),
        ("handlers.two", {}, ["requires 2 arguments (a, b)"]),
        ("handlers.none", {}, ["takes no argument"]),
        ("handlers.process", {"ASYA_CONCURRENCY": "2"}, ["async def"]),
        ("handlers.process", {"ASYA_CONCURRENCY": "65"}, ["ASYA_CONCURRENCY '65'", "from 1 to 64"]),
        ("handlers.process", {"ASYA_HANDLER_MODE": "payloads"}, ["ASYA_HANDLER_MODE 'payloads'", "payload or envelope"]),
        ("handlers.process", {"ASYA_SOURCE_PATH": "/no/such"}, ["ASYA_SOURCE_PATH '/no/such'"]),
        ("handlers.NeedsPath.process", {}, ["parameter 'model_path'", "no default", "MODEL_PATH"]),
        ("handlers.Fails.process", {}, ["__init__ raised RuntimeError: no model"]),
        ("handlers.Fails.process", {"MODE": "exit"}, ["__init__ raised SystemExit"]),
        ("handlers.Typed.process", {"THRESHOLD": "high"}, ["THRESHOLD 'high'", "float", "'threshold'"]),
        ("handlers.Typed.process", {"API_KEY": "hunter2"}, ["API_KEY does not convert to int"]),
        ("handlers.Typed.process", {"OTHER": "x"}, ["OTHER", "no conversion to object"]),
        ("broken.process", {}, ["importing 'broken' raised ModuleNotFoundError", "'no_such_package_here'"]),
        ("os.system", {}, ["standard library"]),
        ("builtins.eval", {}, ["standard library"]),
        ("handlers.system", {}, ["Python's own"]),
        ("handlers.os.system", {}, ["Python's own"]),
        ("a.b;c", {}, ["no dotted path"]),
        ("handlers:process", {}, ["did you mean 'handlers.process'?"]),
        ("./handlers.py:process", {}, ["did you mean 'handlers.process'?"]),
        ("hаndlers.process", {}, ["no dotted path", "ASCII"]),
        ("ｏs.system", {}, ["no dotted path"]),
        ("handlers.__import__", {}, ["private"]),
        ("handlers._private", {}, ["private"]),
        ("handlers", {}, ["no dotted path"]),
        ("subprocess.run", {}, ["standard library"]),
        ("pickle.loads", {}, ["standard library"]),
    ],
)
def test_start_is_refused_with_one_sentence(start: Callable[..., Any], handler: str, environ: dict[str, str], words: list[str]) -> None:
    runtime = start(handler, SOURCE, files={"broken.py": "import no_such_package_here\n"}, **environ)
    assert runtime.wait() == 78
    last = runtime.last_line()
    assert last.startswith("asya-runtime: ")
    assert [word for word in words if word not in last] == []
    assert "hunter2" not in runtime.stderr()


def test_import_error_of_the_user_is_shown_above_without_our_frames(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "def helper():\n    import no_such_package_here\nhelper()\n")
    assert runtime.wait() == 78
    assert "handlers.py" in runtime.stderr()
    assert "asya_runtime.py" not in runtime.stderr()


def test_unknown_setting_is_one_warning_with_the_nearest_name(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", SOURCE, ASYA_HANDLER_OTHER="x.y", ASYA_CONCURENCY="1", ASYA_GW_SERVICE_HOST="10.0.0.1")
    runtime.connect()
    assert runtime.stderr().splitlines() == [
        "asya-runtime: ASYA_CONCURENCY is no setting of the runtime and has no effect; did you mean ASYA_CONCURRENCY?"
    ]


def test_environment_fills_init_with_conversion(start: Callable[..., Any]) -> None:
    source = """
from __future__ import annotations
import enum, pathlib, typing
class Colour(enum.Enum):
    RED = "red"
class All:
    def __init__(self, text: str = "", number: int = 0, share: float = 0.0, flag: bool = False, file: pathlib.Path = pathlib.Path("."),
                 names: typing.List[str] = (), table: dict = None, colour: Colour = None, kind: typing.Literal["a", "b"] = "a",
                 maybe: typing.Optional[int] = 3, bare=1, unknown: Missing = "x", home: str = "untouched", kept: int = 9):
        self.all = [text, number, share, flag, str(file), names, table, colour.name, kind, maybe, bare, unknown, home, kept]
    def process(self, p): return {"all": self.all}
"""
    environ = {
        "TEXT": "t",
        "NUMBER": "5",
        "SHARE": "0.25",
        "FLAG": "Yes",
        "FILE": "/x",
        "NAMES": '["n"]',
        "TABLE": '{"a":1}',
        "COLOUR": "red",
    }
    environ |= {"KIND": "b", "MAYBE": "", "BARE": "7", "UNKNOWN": "u", "HOME": "/root"}
    runtime = start("handlers.All.process", source, **environ)
    _, (_, items) = runtime.connect().payload(0)
    assert items[0]["all"] == ["t", 5, 0.25, True, "/x", ["n"], {"a": 1}, "RED", "b", None, 7, "u", "untouched", 9]
    assert "is not filled from HOME" in runtime.stderr()
