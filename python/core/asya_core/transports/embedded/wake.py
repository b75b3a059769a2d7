"""Wake-up between processes: a consumer binds a datagram socket in a folder, a publisher sends it a byte after its commit.

Called by the embedded transport. Knows no SQL and no loop. A lost byte costs a poll interval, never a message; so every failure here is
silent.

A socket's name is ``<hash of the queue>-<pid>-<random>``, 8 + 1 + 7 + 1 + 4 characters at most. A Unix socket's path may have 107 bytes on
Linux (unix(7)); where the folder's path is longer, its sockets are reached through ``/proc/self/fd``, and without that there are none.
"""

import errno
import hashlib
import os
import secrets
import socket
from pathlib import Path
from typing import Final

__all__ = ["Doorbells"]

_MAX_PATH_BYTES: Final = 107
_NAME_BYTES: Final = 22


class Doorbells:
    """The sockets of one queue file's consumers. One thread; raises nothing.

    Args:
        folder: where they are, made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sender: socket.socket | None = None
        self._folder_fd = -1
        self._prefix: str | None = None
        try:
            folder.mkdir(exist_ok=True)
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
            self._prefix = self._find_prefix()
        except OSError:  # no folder can be made here, or no descriptor is left: polling remains
            pass

    def _find_prefix(self) -> str | None:
        if len(os.fsencode(self._folder)) + 1 + _NAME_BYTES <= _MAX_PATH_BYTES:
            return f"{self._folder}/"
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        prefix = f"/proc/self/fd/{self._folder_fd}/"
        return prefix if os.path.isdir(prefix) else None

    def listen(self, queue: str) -> socket.socket | None:
        """A bound, non-blocking socket that gets a byte after each commit with messages for `queue`; None if that is not possible.

        Also removes sockets whose process is gone.
        """
        if self._prefix is None:
            return None
        self._sweep()
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            bell.setblocking(False)
            bell.bind(f"{self._prefix}{_hash(queue)}-{os.getpid()}-{secrets.token_hex(2)}")
        except OSError:
            bell.close()
            return None
        return bell

    def silence(self, bell: socket.socket) -> None:
        """Close a socket of `listen` and remove it."""
        try:
            name = bell.getsockname()
            bell.close()
            os.unlink(name)
        except OSError:
            pass

    def ring(self, queue: str) -> None:
        """Wake the consumers of `queue`."""
        beginning = _hash(queue)
        for name in self._names():
            if name.startswith(beginning):
                self._knock(name)

    def close(self) -> None:
        """Let go of the folder; sockets of `listen` are the caller's. Idempotent."""
        self._prefix = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    def _names(self) -> list[str]:
        if self._prefix is None:
            return []
        try:
            return os.listdir(self._prefix)
        except OSError:
            return []

    def _knock(self, name: str) -> None:
        if self._sender is None or self._prefix is None:
            return
        try:
            self._sender.sendto(b"\x01", self._prefix + name)
        except OSError as error:  # a full socket has a byte waiting already
            if error.errno == errno.ECONNREFUSED:
                self._remove(name)

    def _sweep(self) -> None:
        for name in self._names():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(f"{self._prefix}{name}")
                except ConnectionRefusedError:
                    self._remove(name)
                except OSError:
                    pass

    def _remove(self, name: str) -> None:
        try:
            os.unlink(f"{self._prefix}{name}")
        except OSError:
            pass


def _hash(queue: str) -> str:
    return hashlib.sha256(queue.encode()).hexdigest()[:8]
