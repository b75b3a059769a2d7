"""The command of the runtime's container: process 1 misses no SIGTERM, whatever it does first."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asya_operator.desired.runtime import start_command, stop_hook

ROOT = Path(__file__).parents[3]
NAMESPACE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]

FILE = """
import os, signal, sys
sys.stdout.write(f"{os.getpid()} {sys.flags.no_site} {sys.flags.dont_write_bytecode} {sys.argv[1:]}\\n")
sys.stdout.flush()
sys.stdin.readline()
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
"""


@pytest.fixture(scope="module")
def namespace():
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL, timeout=60).returncode:
        message = "no PID namespace can be made here: run as root, or allow user namespaces"
        assert not os.environ.get("CI"), message
        pytest.skip(message)
    return NAMESPACE


def test_process_1_hears_a_sigterm_from_before_its_handler(namespace, tmp_path):
    file = tmp_path / "file.py"
    file.write_text(FILE)
    with subprocess.Popen([*namespace, *start_command([sys.executable, "-B"], str(file))], stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "1 0 1 []\n"
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                os.kill(int(children.read()), signal.SIGTERM)
            process.stdin.write("\n")
            process.stdin.close()
            assert process.wait(60) == 7
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("interpreter", "is_held"),
    [
        (["python3"], True),
        (["/opt/conda/bin/python3.13t", "-X", "dev"], True),
        (["python3", "-m", "coverage", "run"], False),
        (["coverage", "run"], False),
        (["tini", "--", "python3"], False),
    ],
)
def test_only_a_plain_python_is_started_twice(interpreter, is_held):
    made = start_command(interpreter, "/f.py")
    assert (made != [*interpreter, "/f.py"]) == is_held
    assert made[: len(interpreter)] == interpreter
    assert made[-1] == "/f.py"
    assert bool(stop_hook(interpreter)) == is_held


def test_hook_before_the_stop_waits_until_process_1_hears():
    script = "import signal, sys; sys.stdin.readline(); signal.signal(signal.SIGTERM, print); sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, text=True) as deaf:
        *python, text = stop_hook([sys.executable])["preStop"]["exec"]["command"]
        hook = subprocess.Popen([*python, text.replace("/proc/1/", f"/proc/{deaf.pid}/")])
        with pytest.raises(subprocess.TimeoutExpired):
            hook.wait(0.5)
        deaf.stdin.write("\n")
        deaf.stdin.flush()
        assert hook.wait(60) == 0
        assert "SigCgt:\t0000000000004" in Path(f"/proc/{deaf.pid}/status").read_text()


@pytest.mark.parametrize("component", ["sidecar", "operator", "gateway"])
def test_our_images_start_like_the_runtime(component):
    text = (ROOT / "python" / component / "Dockerfile").read_text()
    [entry_point] = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert json.loads(entry_point) == [*start_command(["python"], "-m"), f"asya_{component}"]
