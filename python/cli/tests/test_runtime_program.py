"""The runtime's command line with and without its bytecode in memory: the same program."""

import subprocess
import sys
from pathlib import Path

import pytest

import asya_runtime
from asya_cli.run.runtime_program import RuntimeProgram


@pytest.fixture
def program():
    found = RuntimeProgram.find()
    yield found
    found.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bytecode is kept in memory on Linux")
def test_runtimes_of_this_interpreter_run_what_one_run_has_compiled(program):
    command, inherited = program.command(None, is_supervised=True)
    assert command == (sys.executable, f"/proc/self/fd/{program.compiled}", asya_runtime.__file__)
    for _ in range(2):
        done = subprocess.run(command, env={}, pass_fds=inherited, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr.startswith("asya-runtime: ASYA_HANDLER is not set; ")


@pytest.mark.parametrize(("python", "is_supervised"), [(Path("/other/python"), True), (None, False)])
def test_another_interpreter_or_no_supervisor_gets_the_source(program, python, is_supervised):
    command, inherited = program.command(python, is_supervised=is_supervised)
    assert command == (str(python or sys.executable), asya_runtime.__file__)
    assert inherited == ()


def test_without_memory_files_it_is_the_source(monkeypatch):
    monkeypatch.delattr("os.memfd_create", raising=False)
    found = RuntimeProgram.find()
    assert found.command(None, is_supervised=True) == ((sys.executable, asya_runtime.__file__), ())
    found.close()
