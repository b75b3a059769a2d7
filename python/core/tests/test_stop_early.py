"""Process 1 of a container ends on a SIGTERM that comes before its own handlers."""

import signal
import subprocess
import sys

import pytest

PACKAGES = ("asya_sidecar", "asya_operator", "asya_gateway")
HELD = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); os.kill(me, signal.SIGTERM)"


@pytest.mark.parametrize(("pid", "code"), [(1, 0), (2, -signal.SIGTERM)], ids=["process 1", "any other process"])
@pytest.mark.parametrize("package", PACKAGES)
def test_process_1_ends_well_on_an_early_sigterm(package: str, pid: int, code: int) -> None:
    # The kernel ignores signals for process 1 without a handler; here the number is only told.
    script = (
        f"import os, signal; me = os.getpid(); os.getpid = lambda: {pid}; import {package}; os.kill(me, signal.SIGTERM); signal.pause()"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == code


@pytest.mark.parametrize(("pid", "code"), [(1, 0), (2, -signal.SIGTERM)], ids=["process 1", "any other process"])
def test_sigterm_that_was_held_back_is_heard_by_the_import(pid: int, code: int) -> None:
    script = f"import os, signal; me = os.getpid(); os.getpid = lambda: {pid}; {HELD}; import {PACKAGES[0]}"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == code
