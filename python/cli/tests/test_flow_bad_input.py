"""``asya flow`` against bad input, as a real process: message, exit code, and no file written or changed.

The rejected constructs are those of the compiler's own tests. Numbers: situations of the flow language.
"""

# ruff: noqa: E501 (a case is a line)

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from constructs import FILES, REFUSED, module

from tests import forked

pytestmark = pytest.mark.unmeasured  # nothing of what the command's branches are counted of
GOOD = "from h import a\n\n\ndef flow(p):\n    p = a(p)\n    p['x'] = 1\n    return p\n"
OTHER = "from h import b\n\n\ndef flow(p):\n    if p['y']:\n        p = b(p)\n    return p\n"
WAIT = 60


def asya(*words: object, cwd: Path, before: Sequence[str] = (), **more: object) -> "subprocess.CompletedProcess[bytes]":
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    environ = {**variables, **more.pop("env", {})}  # type: ignore[dict-item]
    if not before and not more and "LC_ALL" not in environ:
        return forked.run(["flow", *map(str, words)], cwd=cwd, env=environ)
    words = (*before, sys.executable, "-m", "asya_cli", "flow", *map(str, words))
    return subprocess.run(words, cwd=cwd, capture_output=True, timeout=WAIT, env=environ, check=False, **more)  # type: ignore[call-overload,no-any-return]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below `folder` with its content; None for a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(GOOD, encoding="utf-8")
    return tmp_path


def one_of_each_code() -> dict[str, str]:
    """Code → the text of a file that is refused with it."""
    files = {code: module(body) for _, body, code in REFUSED}
    return files | {code: text for _, text, code in FILES if "\ud800" not in text}


@pytest.mark.parametrize(("code", "text"), one_of_each_code().items(), ids=one_of_each_code())
def test_rejected_construct_exits_1_with_its_code_and_place_and_writes_nothing(place: Path, code: str, text: str) -> None:
    (place / "flow.py").write_text(text, encoding="utf-8")
    before = tree(place)
    done = asya("compile", "flow.py", "-o", "compiled", cwd=place)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b"")
    assert any(line.startswith("[-] flow.py:") and f": FLOW{code[1:]} " in line for line in said.splitlines()), said
    assert "Traceback" not in said
    assert tree(place) == before


LONG = "handler_" + "x" * 60
INPUTS: dict[str, tuple[str, list[str], int, str]] = {
    "empty file": ("", [], 1, "FLOW101 no function of this file can be the flow: it defines no function"),
    "only comments": ("# nothing\n", [], 1, "FLOW101"),
    "syntax error": ("def flow(p:\n    return p\n", [], 1, "flow.py:1:9: FLOW002 Python cannot read this: '(' was never closed"),
    "two candidate flows": (
        "def f(p):\n    p = h(p)\n    return p\ndef g(p):\n    p = h(p)\n    return p\n",
        [], 1, "flow.py:4:5: FLOW103 2 functions may be the flow: f (line 1), g (line 4)",
    ),
    "flow that is not there": (GOOD, ["--flow", "other"], 1, "FLOW102 there is no function 'other' in this file; functions at its top level: flow"),
    "handler that is nowhere": (GOOD, ["--actors", "actors"], 1, "flow.py:5:9: FLOW507 no values file runs 'h.a' or is called 'a'"),
    "two handlers, one actor": ("def f(p):\n    p = A_b(p)\n    p = a_B(p)\n    return p\n", [], 1, "flow.py:3:9: FLOW501 handler 'a_B' and handler 'A_b' are both the actor 'a-b'"),
    "handler called as a router": ("def f(p):\n    p = start_f(p)\n    return p\n", [], 1, "FLOW501 handler 'start_f' and router 'start_f' are both"),
    "too long a handler": (f"def f(p):\n    p = {LONG}(p)\n    return p\n", [], 1, f"FLOW502 handler '{LONG}' gives the actor name"),
    "no legal name": ("def f(p):\n    p = _(p)\n    return p\n", [], 1, "FLOW502 handler '_' gives the actor name ''"),
    "no such file": ("", ["--no-file"], 2, "--no-file"),
    "sub-flow": (GOOD, ["--subflow", "a=inline"], 1, "FLOW413 --subflow a: sub-flows cannot be compiled yet"),
    "sub-flow in no known way": (GOOD, ["--subflow", "a"], 2, "a= says no way; expected NAME=inline or NAME=actor"),
    "width 0": (GOOD, ["--plot-width", "0"], 2, "'--plot-width': 0 is not in the range x>=1"),
    "width below 0": (GOOD, ["--plot-width", "-5"], 2, "'--plot-width': -5 is not in the range x>=1"),
    "width that is no number": (GOOD, ["--plot-width", "wide"], 2, "'--plot-width'"),
    "pass that is none": (GOOD, ["--print-after", "x"], 2, "'x' is no pass; expected one of lower, drop_unreachable, split_routers"),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_bad_input_has_its_message_and_exit_code_and_nothing_is_written(place: Path, name: str) -> None:
    text, options, code, said = INPUTS[name]
    (place / "flow.py").write_text(text, encoding="utf-8")
    (place / "actors").mkdir()
    (place / "actors" / "b.yaml").write_text("handler: h.b\n", encoding="utf-8")
    before = tree(place)
    done = asya("compile", "flow.py", "-o", "compiled", *options, cwd=place)
    found = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, b""), found
    assert said in found
    assert "Traceback" not in found
    assert tree(place) == before


def compiled(place: Path, folder: str = "compiled") -> dict[str, bytes | None]:
    done = asya("compile", "flow.py", "-o", folder, cwd=place)
    assert done.returncode == 0, done.stderr.decode()
    return tree(place / folder)


@pytest.mark.parametrize("folder", ["new", "deep/er/new", "empty", "with blanks", "größe", "link"])
def test_96_100_output_folder_is_made_with_its_parents_and_may_be_empty(place: Path, folder: str) -> None:
    (place / "empty").mkdir()
    (place / "target").mkdir()
    (place / "link").symlink_to(place / "target")
    assert {"routers.py", "flow.dot", "flow.json", "values/start-flow.yaml"} <= set(compiled(place, folder))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("flow.py", "Output folder flow.py is a file"),
        ("flow.py/below", "flow.py/below cannot be written: Not a directory; nothing was changed"),
        ("dangling", "Output folder dangling is a file"),
        ("taken", "is a folder"),
    ],
)
def test_96_output_that_is_a_file_or_has_one_in_its_way_is_refused(place: Path, output: str, said: str) -> None:
    (place / "dangling").symlink_to(place / "nowhere")
    (place / "taken" / "routers.py").mkdir(parents=True)
    before = tree(place)
    done = asya("compile", "flow.py", "-o", output, "--overwrite", cwd=place)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in done.stderr.decode()
    assert tree(place) == before


def no_file_over(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_97_disk_that_fills_amid_writing_leaves_the_last_output(place: Path) -> None:
    before = compiled(place)
    (place / "flow.py").write_text(OTHER, encoding="utf-8")
    done = asya("compile", "flow.py", "-o", "compiled", cwd=place, preexec_fn=no_file_over(2000), env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert (done.returncode, done.stdout) == (1, b"")
    assert "cannot be written: File too large; nothing was changed" in done.stderr.decode()
    assert tree(place / "compiled") == before
    done = asya("compile", "flow.py", "-o", "deep/new", cwd=place, preexec_fn=no_file_over(2000), env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 1
    assert not (place / "deep").exists()


def namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs -o size=16k none /mnt && : >/mnt/x"
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not namespaces(), reason="this machine lets nobody mount in a namespace of his own (unshare -rm)")


def in_mount(place: Path, mount: str) -> "subprocess.CompletedProcess[bytes]":
    """Compile into the folder `mounted`, over which `mount` has mounted something; stdout ends with what is found there."""
    shell = f'cd "$0" && {mount} && "$@"; code=$?; find mounted -mindepth 1 | sort; exit $code'
    return asya(
        "compile",
        "flow.py",
        "-o",
        "mounted",
        cwd=place,
        before=["unshare", "-rm", "sh", "-c", shell, str(place)],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )


@needs_mounts
def test_96_97_read_only_folder_is_refused_for_root_too(place: Path) -> None:
    before = compiled(place, "mounted")
    (place / "flow.py").write_text(OTHER, encoding="utf-8")
    done = in_mount(place, "mount --bind mounted mounted && mount -o remount,bind,ro mounted")
    assert done.returncode == 1
    assert "cannot be written: Read-only file system; nothing was changed" in done.stderr.decode()
    assert done.stdout.decode().split() == sorted(f"mounted/{name}" for name in before)
    assert tree(place / "mounted") == before


@needs_mounts
def test_96_97_full_file_system_is_left_empty(place: Path) -> None:
    (place / "mounted").mkdir()
    done = in_mount(place, "mount -t tmpfs -o size=8k none mounted")
    assert done.returncode == 1
    assert "cannot be written: No space left on device; nothing was changed" in done.stderr.decode()
    assert done.stdout == b""


def test_96_97_folder_without_the_right_to_write_is_refused(place: Path) -> None:
    (place / "locked").mkdir(mode=0o555)
    # Root may write anywhere, unless it has given up its capabilities.
    before = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = asya("compile", "flow.py", "-o", "locked/new", cwd=place, before=before)
    assert done.returncode == 1
    assert "cannot be written: Permission denied; nothing was changed" in done.stderr.decode()


def test_97_foreign_files_stay_whatever_happens(place: Path) -> None:
    (place / "compiled" / "values").mkdir(parents=True)
    (place / "compiled" / "values" / "mine.yaml").write_text("mine\n", encoding="utf-8")
    for text, options, code in (
        (OTHER, [], 1),
        ("def flow(p:\n", ["--overwrite"], 1),
        (OTHER, ["--overwrite"], 0),
        (GOOD, ["--overwrite"], 0),
    ):
        (place / "flow.py").write_text(text, encoding="utf-8")
        assert asya("compile", "flow.py", "-o", "compiled", *options, cwd=place).returncode == code
        assert (place / "compiled" / "values" / "mine.yaml").read_text(encoding="utf-8") == "mine\n"
    assert not (place / "compiled" / "values" / "router-flow-line-5-if.yaml").exists(), "a stale router stays"


def test_98_without_graphviz_a_warning_and_everything_else(place: Path) -> None:
    done = asya("compile", "flow.py", "-o", "compiled", "--plot", cwd=place, env={"PATH": str(place)})
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == [
        "[+] Successfully compiled flow to: compiled/routers.py",
        "[+] Generated graphviz dot file: compiled/flow.dot",
    ]
    assert "[!] no flow.png: Graphviz's dot is not on the PATH; install the package graphviz\n" in done.stderr.decode()
    assert "flow.png" not in json.loads((place / "compiled" / "flow.json").read_text(encoding="utf-8"))["files"]


@pytest.mark.parametrize("width", ["1", "2", "3", "100000"])
def test_98_any_width_from_1_is_fine(place: Path, width: str) -> None:
    done = asya("compile", "flow.py", "-o", "compiled", "--plot-width", width, cwd=place)
    assert done.returncode == 0
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg", "-o", os.devnull, str(place / "compiled" / "flow.dot")], check=True)


@pytest.mark.parametrize("name", ["my flows/größe ¿.py", "link.py"])
def test_100_blanks_unicode_and_links_in_the_sources_path_are_fine(place: Path, name: str) -> None:
    (place / "my flows").mkdir()
    (place / "my flows" / "größe ¿.py").write_text(GOOD, encoding="utf-8")
    (place / "link.py").symlink_to(place / "my flows" / "größe ¿.py")
    done = asya("compile", name, "-o", "out put", cwd=place)
    assert done.returncode == 0, done.stderr.decode()
    assert f"from ../{name}." in (place / "out put" / "routers.py").read_text(encoding="utf-8").splitlines()[0]


def test_100_folder_is_no_source_and_standard_input_is_called_flow(place: Path) -> None:
    done = asya("compile", "my", "-o", "compiled", cwd=place)
    assert (done.returncode, done.stderr.decode().splitlines()[0]) == (1, "[-] my cannot be read: No such file or directory")
    (place / "my").mkdir()
    done = asya("compile", "my", "-o", "compiled", cwd=place)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[0] == "[-] my: FLOW001 this is a folder"
    own = GOOD.replace("from h import a", "def a(p):\n    return p")
    done = asya("compile", "-", "-o", "compiled", cwd=place, input=own.encode())
    assert done.returncode == 0, done.stderr.decode()
    assert 'ASYA_HANDLER_A: "flow.a"' in (place / "compiled" / "values" / "start-flow.yaml").read_text(encoding="utf-8")


def test_51_output_is_utf_8_in_every_locale(place: Path) -> None:
    text = 'def flow(p):\n    """Größe."""\n    p["größe"] = "✓"\n    p = h(p)\n    p = prüfe(p["x"])\n    return p\n'
    (place / "flow.py").write_text(text, encoding="utf-8")
    done = asya("validate", "flow.py", cwd=place, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 1
    assert b"FLOW106" in done.stderr
    (place / "flow.py").write_text(text.replace('prüfe(p["x"])', "h(p)"), encoding="utf-8")
    done = asya("compile", "flow.py", "-o", "compiled", cwd=place, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr
    assert "p['größe'] = '✓'" in (place / "compiled" / "routers.py").read_text(encoding="utf-8")
