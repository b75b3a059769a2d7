"""What a handler may do to its process; the next call must work all the same."""

import os
import signal
import socket
import sys
import threading
import time


def fork_and_return():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)


def close_standard_descriptors():
    for fd in (0, 1, 2):
        os.close(fd)


def change_directory():
    os.chdir("/")


def ignore_signals():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def handle_sigterm():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("of the handler"))
    os.kill(os.getpid(), signal.SIGTERM)


def leave_a_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()


def ring_after_the_call(error=ValueError):
    def ring(*_):
        raise error("ring")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def ring_with_an_oserror():
    ring_after_the_call(TimeoutError)


def ring_with_an_interrupt():
    ring_after_the_call(KeyboardInterrupt)


def replace_streams():
    sys.stderr = None
    sys.stdout = 5


def limit_all_sockets():
    socket.setdefaulttimeout(0.001)


def empty_the_path():
    sys.path.clear()
    os.environ.clear()


def recurse():
    return recurse()


def start_processes():
    import subprocess

    subprocess.Popen(["sleep", "1000"])
    subprocess.run(["true"], check=True)


def process(p):
    """Runs the function that the payload names, if there is one."""
    if isinstance(p, str):
        globals()[p]()
    return p
