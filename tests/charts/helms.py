"""Runs both Helms: `run` a command, `told` one whose answer follows from its arguments and files alone, kept by their content.

Called by `render` and the tests of this folder. Helm 3 is a process per command. Helm 4 answers in one process per test process
(ci/cluster/go/tools/helms), which is its own command line without the start; `test_engines` compares the two. The programs are those of
ci/helm.sh.
"""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("helm3", "helm4")
MOST_KEPT = 8000


class Refused(Exception):
    """Helm said no; the text is its message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gave."""

    out: str
    err: str
    failed: bool


def folder() -> Path | None:
    """Where ci/helm.sh puts its programs; None if it has not run for the present inputs."""
    module = ROOT / "ci" / "cluster" / "go" / "tools"
    inputs = [ROOT / "ci" / "helm.sh", module / "go.mod", module / "go.sum", module / "helms" / "main.go"]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:16]
    found = _cache() / "tools" / f"helm-{key}"
    return found if found.is_dir() else None


@cache
def tools() -> Path:
    """The same, which must be there."""
    found = folder()
    assert found is not None, "run ci/helm.sh"
    return found


def run(engine: str, *arguments: str, check: bool = True, process: bool = False) -> Answer:
    """Run one of both Helms.

    Args:
        engine: ``helm3`` or ``helm4``.
        check: raise Refused if it fails.
        process: as a process of its own, Helm 4 too.
    """
    if engine == "helm4" and not process:
        named = any(word.startswith("--namespace") or word == "-n" for word in arguments)
        answer = _helms().ask([*arguments, *([] if named else ["--namespace", "default"])])
    else:
        done = subprocess.run([tools() / engine, *arguments], capture_output=True, text=True, env=_environment(), cwd=ROOT, check=False)
        answer = Answer(done.stdout, done.stderr, done.returncode != 0)
    if check and answer.failed:
        raise Refused("\n".join(line for line in answer.err.splitlines() if "symbolic link" not in line))
    return answer


def told(engine: str, *arguments: str, check: bool = True, turn: int = 0) -> Answer:
    """`run`, or what it said before for the same arguments, charts and files.

    Args:
        engine, check: see `run`.
        turn: another number asks anew.
    """
    kept = kept_file([engine, turn, *map(_content, arguments)])
    if not kept.exists():
        answer = run(engine, *arguments, check=False)
        keep(kept, json.dumps([answer.out, answer.err, answer.failed]))
    answer = Answer(*json.loads(kept.read_text(encoding="utf-8")))
    if check and answer.failed:
        raise Refused(answer.err)
    return answer


def _content(argument: str) -> str:
    """An argument, or a digest of the chart or file that it names."""
    before, sign, after = argument.rpartition("=")
    for prefix, path in (("", Path(argument)), (f"{before}{sign}", Path(after or "-"))):
        if (path / "Chart.yaml").is_file():
            return f"{prefix}{path.name} {content_hash(path.resolve())}"
        if path.is_file():
            return f"{prefix}{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return argument


@cache
def content_hash(path: Path) -> str:
    """Of all files of a chart that templates can see, and of what it links to; charts do not change while tests run."""
    digest = hashlib.sha256()
    for directory, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(set(folders) - {"ci"})
        for file in sorted(set(files) - {"README.md"}):
            digest.update(file.encode() + (Path(directory) / file).read_bytes())
    return digest.hexdigest()


def kept_file(key: Sequence[object]) -> Path:
    """Where an answer with this key is kept, if it is; it is the youngest then."""
    kept = _kept() / hashlib.sha256(json.dumps([tools().name, *key]).encode()).hexdigest()
    with suppress(FileNotFoundError):
        os.utime(kept)
    return kept


def keep(file: Path, text: str) -> None:
    """Write it so that a reader beside never sees a half."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def _cache() -> Path:
    return Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya")


@cache
def _kept() -> Path:
    """The folder of kept answers; those that nobody asked for longest go when there are many."""
    kept = _cache() / "charts"
    kept.mkdir(parents=True, exist_ok=True)
    files = sorted(kept.iterdir(), key=lambda file: file.stat().st_mtime)
    for old in files[:-MOST_KEPT]:
        old.unlink(missing_ok=True)
    return kept


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": _home(), "KUBECONFIG": f"{_home()}/kubeconfig", "GOGC": "off"}


@cache
def _home() -> str:
    home = tempfile.mkdtemp(prefix="asya-helm-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (Path(home) / "kubeconfig").touch(mode=0o600)
    return home


class _Helms:
    """The process that answers for Helm 4; it ends with its standard input."""

    def __init__(self) -> None:
        environment = {**_environment(), "GOGC": "400"}
        self._process = subprocess.Popen(
            [tools() / "helms"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        atexit.register(self.close)

    def ask(self, arguments: list[str]) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"helms ended: {arguments}"
        found = json.loads(line)
        return Answer(found["out"], found["err"], found["failed"])

    def close(self) -> None:
        self._process.communicate(timeout=30)


@cache
def _helms() -> _Helms:
    return _Helms()
