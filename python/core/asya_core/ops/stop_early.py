"""SIGTERM while a process still imports. Called by the packages of our processes, before anything else is imported.

Process 1 of a container is not told of a SIGTERM until it has a handler of its own, and nobody sends it twice: a pod that is deleted in its
first second would live on until its grace period is over, five and a half minutes by default. So our images hold SIGTERM back from the
first moment, as the operator does for the runtime, and here it is heard. Nothing has been taken yet, so the process just ends.
"""

import os
import signal

__all__ = ["stop_early"]


def stop_early() -> None:
    """Hear SIGTERM from now on. Process 1, which no other process of ours is, ends at once with 0, until another handler is set."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
