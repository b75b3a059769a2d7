"""Loading: which paths lead to a handler, and what a refusal says. In this process; exit codes are tested in process/."""

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

import asya_runtime

SOURCE = """
import functools, os
from os import system
import subprocess as worker
def process(p): return p
async def later(p): return p
def two(a, b): return a
def none(): return 1
def keyword(p, *, level): return p
def relaxed(p, *rest, level=1, **others): return p
class Text:
    limit = 5
    def process(self, p): return p
    @staticmethod
    def static(p): return p
    class Inner:
        def process(self, p): return "inner"
class Empty:
    pass
class NeedsPath:
    def __init__(self, model_path): pass
    def process(self, p): return p
class Fails:
    def __init__(self, mode: str = "raise"):
        if mode == "raise": raise RuntimeError("no model")
        if mode == "silent": raise RuntimeError
        raise SystemExit(0)
    def process(self, p): return p
class Called:
    async def __call__(self, p): return p
class Generator:
    async def process(self, p): yield p
called = Called()
text = Text()
half = functools.partial(later)
listing = functools.partial(functools.partial(os.listdir))
joined = " ".join
value = 5
"""


def load(app: Path, handler: str, **environ: str) -> asya_runtime.Handler:
    """Load as the worker does, from an application with `SOURCE` as ``handlers.py``."""
    if not (app / "handlers.py").exists():
        (app / "handlers.py").write_text(SOURCE)
        (app / "broken.py").write_text("import no_such_package_here\n")
        (app / "failing.py").write_text("raise SystemExit(3)\n")
        (app / "syntax.py").write_text("def process(p:\n")
        (app / "package").mkdir()
        (app / "package" / "__init__.py").write_text("")
        (app / "package" / "inner.py").write_text("def process(p): return p\n")
    importlib.invalidate_caches()
    settings = asya_runtime.Settings({"ASYA_HANDLER": handler, **environ})
    return asya_runtime.load_handler(settings, environ, [str(app)])


@pytest.mark.parametrize(
    ("handler", "is_async"),
    [
        ("handlers.process", False),
        ("handlers.later", True),
        ("handlers.relaxed", False),
        ("handlers.Text.process", False),
        ("handlers.Text.static", False),
        ("handlers.Text.Inner.process", False),
        ("handlers.text.process", False),
        ("handlers.called", True),
        ("handlers.Generator.process", True),
        ("handlers.half", True),
        ("package.inner.process", False),
    ],
)
def test_path_leads_to_a_handler(app: Path, handler: str, is_async: bool) -> None:
    assert load(app, handler).is_async is is_async


@pytest.mark.behaviour("runtime:refusal")
@pytest.mark.parametrize(
    ("handler", "environ", "words"),
    [
        ("", {}, ["ASYA_HANDLER is not set"]),
        ("src.handlers.process", {}, ["no module 'src.handlers'", "did you mean 'handlers.process'?"]),
        ("handler.process", {}, ["did you mean 'handlers.process'?"]),
        ("inner.process", {}, ["did you mean 'package.inner.process'?"]),
        ("nothing_like_it.run", {}, ["no module 'nothing_like_it'", "set ASYA_SOURCE_PATH"]),
        ("package.missing.process", {}, ["no module 'package.missing'"]),
        ("package.missing", {}, ["'package' has no 'missing'"]),
        ("handlers.proces", {}, ["'handlers' has no 'proces'", "did you mean 'handlers.process'?"]),
        ("handlers.zzzzzzzz", {}, ["'handlers' has no 'zzzzzzzz'", "name a function or method that is there"]),
        ("handlers.Text.proces", {}, ["did you mean 'handlers.Text.process'?"]),
        ("handlers.Text", {}, ["is a class", "'handlers.Text.process'"]),
        ("handlers.Text.Inner", {}, ["is a class", "'handlers.Text.Inner.process'"]),
        ("handlers.Empty", {}, ["is a class", "give it a method"]),
        ("handlers.value", {}, ["type int", "cannot be called"]),
        ("handlers.value.real", {}, ["type int", "cannot be called"]),
        ("handlers.Text.limit", {}, ["type int", "cannot be called"]),
        ("handlers.two", {}, ["requires 2 arguments (a, b)"]),
        ("handlers.keyword", {}, ["requires 2 arguments (p, level)"]),
        ("handlers.none", {}, ["takes no argument"]),
        ("handlers.process", {"ASYA_CONCURRENCY": "2"}, ["async def"]),
        ("handlers.NeedsPath.process", {}, ["parameter 'model_path'", "no default", "MODEL_PATH"]),
    ],
)
def test_handler_is_refused_with_reason_and_remedy(app: Path, handler: str, environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(asya_runtime.Refusal) as caught:
        load(app, handler, **environ)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("handler", "environ", "words"),
    [
        ("handlers.Fails.process", {}, "Fails.__init__ raised RuntimeError: no model"),
        ("handlers.Fails.process", {"MODE": "silent"}, "Fails.__init__ raised RuntimeError; fix it"),
        ("handlers.Fails.process", {"MODE": "exit"}, "Fails.__init__ raised SystemExit"),
        ("broken.process", {}, "importing 'broken' raised ModuleNotFoundError: No module named 'no_such_package_here'; install"),
        ("failing.process", {}, "importing 'failing' raised SystemExit: 3; the traceback above"),
        ("syntax.process", {}, "importing 'syntax' raised SyntaxError"),
    ],
)
def test_failure_of_the_users_code_is_told_with_its_cause(app: Path, handler: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(asya_runtime._UserFailure) as caught:
        load(app, handler, **environ)
    assert words in str(caught.value)
    assert "asya_runtime.py" not in asya_runtime.format_load_failure(caught.value.__cause__ or caught.value)


@pytest.mark.behaviour("runtime:refusal")
@pytest.mark.parametrize(
    "handler",
    [
        "os.system",
        "posix.system",
        "os.path.join",
        "builtins.eval",
        "builtins.exec",
        "builtins.print",
        "subprocess.run",
        "pickle.loads",
        "marshal.loads",
        "shutil.rmtree",
        "importlib.import_module",
        "ctypes.CDLL",
        "json.loads",
        "sys.exit",
        "handlers.system",
        "handlers.os.system",
        "handlers.worker.run",
        "handlers.listing",
        "handlers.joined",
        "handlers.text.__class__",
        "handlers.process.__globals__",
        "handlers.__import__",
        "__import__.process",
        "__main__.process",
        "_thread.start_new_thread",
        "handlers._private",
        "a.b;c",
        "handlers.process()",
        "handlers.process\n",
        "handlers..process",
        ".handlers.process",
        "handlers.process.",
        "..handlers.process",
        "../handlers.process",
        "/etc/passwd",
        "handlers:process",
        "./handlers.py:process",
        "handlers process",
        "handlers.process,os.system",
        "handlers.lambda x",
        "handlers.1process",
        "handlers",
        ".",
        "..",
        "hаndlers.process",
        "ｏs.system",
        "handlers.prοcess",
        "handlers.process\u200b",
        "handlers.ﬁnd",
        "a." * 300 + "b",
    ],
)
def test_dangerous_or_misleading_path_is_refused(app: Path, handler: str) -> None:
    with pytest.raises(asya_runtime.Refusal, match=r"^ASYA_HANDLER .*; ") as caught:
        load(app, handler)
    assert len(str(caught.value)) < 500 + len(str(app))


@pytest.mark.parametrize(
    ("handler", "guess"),
    [
        ("handlers:process", "handlers.process"),
        ("./handlers.py:process", "handlers.process"),
        ("src/handlers.py:process", "src.handlers.process"),
        ("src\\handlers.process", "src.handlers.process"),
        ("handlers.process ", "handlers.process"),
    ],
)
def test_path_of_another_spelling_is_translated(handler: str, guess: str) -> None:
    with pytest.raises(asya_runtime.Refusal, match=f"did you mean '{guess}'"):
        asya_runtime.check_path(handler)


def test_users_module_with_the_name_of_a_standard_one_is_no_standard_module(app: Path) -> None:
    (app / "turtledemo.py").write_text("def process(p): return p\n")
    importlib.invalidate_caches()
    assert asya_runtime.is_standard_module("turtledemo") is False


@pytest.mark.parametrize(("name", "is_standard"), [("sys", True), ("json", True), ("os", True), ("pytest", False), ("not_there", False)])
def test_standard_modules_are_known(name: str, is_standard: bool) -> None:
    assert asya_runtime.is_standard_module(name) is is_standard


def test_module_without_a_spec_is_no_standard_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("made_by_hand")
    monkeypatch.setitem(sys.modules, "made_by_hand", module)
    assert asya_runtime.is_standard_module("made_by_hand") is False
    del module.__spec__
    assert asya_runtime.is_standard_module("made_by_hand") is False
    monkeypatch.setitem(sys.modules, "a_namespace", types.ModuleType("a_namespace"))
    assert asya_runtime.is_standard_module("a_namespace") is False


def test_callable_without_a_signature_is_taken_as_it_is() -> None:
    class Odd:
        __signature__ = 5

        def __call__(self, p: Any) -> Any:
            return p

    asya_runtime._check_one_argument("x.y", Odd())


def test_source_path_comes_first(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "path", ["/somewhere"])
    (app / "src").mkdir()
    settings = asya_runtime.Settings({"ASYA_SOURCE_PATH": "src"})
    assert asya_runtime.prepare_path(settings) == [str(app / "src"), os.getcwd()]
    assert sys.path == [str(app / "src"), os.getcwd(), "/somewhere"]
    with pytest.raises(asya_runtime.Refusal, match="is no directory"):
        asya_runtime.prepare_path(asya_runtime.Settings({"ASYA_SOURCE_PATH": "no"}))


def test_search_for_modules_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("node_modules", "__pycache__", "not-a-name", "venv", "env/lib", "a/b/c/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "m.py").write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "a" / "__init__.py").write_text("")
    (tmp_path / "a" / "b" / "c" / "m.py").write_text("")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "not a name.py").write_text("")
    os.symlink(asya_runtime._FILE, tmp_path / "asya_runtime.py")
    assert sorted(asya_runtime.modules_below([str(tmp_path)])) == ["a", "a.b.c.m"]
    monkeypatch.setattr(asya_runtime, "_MAX_MODULES", 10)
    for number in range(11):
        (tmp_path / f"m{number}.py").touch()
    second = tmp_path / "second"
    second.mkdir()
    (second / "late.py").touch()
    assert "late" not in asya_runtime.modules_below([str(tmp_path), str(second)])


@pytest.mark.parametrize(
    ("segments", "guess"),
    [
        ("src.app.run", "app.run"),
        ("src.app.rum", "app.run"),
        ("src.app.zz", "app.run"),
        ("deep.run", "pkg.deep.run"),
        ("ap.run", "app.run"),
        ("src.unreadable.run", "unreadable.run"),
        ("src.several.zzzz", "several.zzzz"),
        ("src.several.Other.go", "several.Job.go"),
        ("qqqqqqqqq.run", ""),
    ],
)
def test_nearest_path_is_suggested(tmp_path: Path, segments: str, guess: str) -> None:
    texts = {
        "app": "def run(p): pass\ndef _hidden(): pass\nvalue = 1\n",
        "pkg.deep": "async def run(p): pass\n",
        "unreadable": "def (",
        "several": "class Job:\n    limit = 1\n    def go(self, p): pass\n    def _no(self): pass\ndef other(p): pass\n",
    }
    modules = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        modules[name] = str(tmp_path / f"{name}.py")
    assert asya_runtime.suggest_handler(segments.split("."), modules) == guess
