"""Objects in a folder, one file each: a mounted volume, a laptop, tests.

Opened by `location`. An object is written to a file of another name, flushed to the disk, and then linked to its own name, which fails if
that exists: a reader sees all of it or nothing, and the first writer wins. Several processes and machines may share the folder. Every step
below the root goes through descriptors of folders and follows no symbolic link, so that no key and no link in the folder leads out of it.
"""

import errno
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from asya_core.objects.base import ObjectInfo, check_key, check_prefix
from asya_core.wire.errors import AsyaError, Refused, Unavailable

__all__ = ["DirectoryStore"]

_DRAFT: Final = "~"
"""What names of unfinished files begin with; no key has it."""
_STALE_SECONDS: Final = 3600.0
"""Drafts that are older were left by a killed process; they are removed when their folder is first written to."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What `link` says on file systems without hard links; there a look and a rename do, which two writers at once may both pass."""
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryStore:
    """Keeps objects in a folder that exists. See `asya_core.objects.base.ObjectStore`.

    Args:
        root: the folder; links on the way to it are followed.
        clock: wall clock in seconds, for the age of drafts.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._swept: set[str] = set()

    @property
    def location(self) -> str:
        """``file:///folder``."""
        return f"file://{self._root}"

    def put_if_absent(self, key: str, body: bytes) -> bool:
        """See the port. Durable: the file, its folder, and the folder above a new folder are flushed to the disk."""
        folder, name = _split(check_key(key))
        with self._translated(f"{key} cannot be written"), self._folder(folder, make=True) as descriptor:
            if folder not in self._swept:
                self._swept.add(folder)
                self._remove_stale(descriptor)
            draft = f"{_DRAFT}{uuid.uuid4().hex}"
            try:
                _write(draft, body, descriptor)
                is_new = _publish(draft, name, descriptor)
            finally:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=descriptor)
            if not is_new and not _is_object(name, descriptor):
                raise Refused("storage_refused", f"{self.location}: {key} is no file", "move away what is there")
            # Also where the object was there: who wrote it may have been killed before this.
            os.fsync(descriptor)
        return is_new

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        """See the port."""
        folder, name = _split(check_key(key))
        with self._translated(f"{key} cannot be read", absent=key), self._folder(folder) as descriptor:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            with os.fdopen(file, "rb") as opened:
                size = os.fstat(file).st_size
                if limit_bytes is not None and size > limit_bytes:
                    raise Refused("object_too_large", f"Object {key} in {self.location} has {size} bytes; at most {limit_bytes} are taken")
                return opened.read()

    def exists(self, key: str) -> bool:
        """See the port."""
        try:
            folder, name = _split(check_key(key))
            with self._translated(f"{key} cannot be looked for", absent=key), self._folder(folder) as descriptor:
                return _is_object(name, descriptor)
        except Refused as refusal:
            if refusal.code == "no_such_object":
                return False
            raise

    def list(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """See the port. Reads the names of one folder and of those below it: linear in what is there."""
        folder = check_prefix(prefix).rpartition("/")[0]
        try:
            with self._translated("cannot be listed", absent=prefix), self._folder(folder) as descriptor:
                begin = f"{folder}/" if folder else ""
                keys = sorted(key for key in _names(descriptor, begin) if key.startswith(prefix) and key > after)
                found = (info for key in keys if (info := _info(key, descriptor, len(begin))) is not None)
                return list(islice(found, limit))
        except Refused as refusal:
            if refusal.code == "no_such_object":
                return []
            raise

    def close(self) -> None:
        """Nothing is held between calls."""

    # -------------------------------------------------------------------------------------------------------------- inside

    @contextmanager
    def _folder(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder of a key."""
        descriptor = self._open_root()
        try:
            for segment in folder.split("/") if folder else ():
                deeper = _step(descriptor, segment, make=make)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused("no_such_storage", f"Folder {self._root} does not exist", "mount the volume there, or make the folder") from error

    def _remove_stale(self, descriptor: int) -> None:
        with suppress(OSError):
            for name in os.listdir(descriptor):
                if name.startswith(_DRAFT) and self._clock() - os.stat(name, dir_fd=descriptor).st_mtime > _STALE_SECONDS:
                    os.unlink(name, dir_fd=descriptor)

    @contextmanager
    def _translated(self, problem: str, *, absent: str | None = None) -> Iterator[None]:
        try:
            yield
        except AsyaError:
            raise
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if absent is None:
                raise self._unavailable(problem, error) from error
            raise Refused("no_such_object", f"There is no object {absent} in {self.location}") from error
        except OSError as error:
            raise self._meaning(problem, error) from error

    def _meaning(self, problem: str, error: OSError) -> AsyaError:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return Unavailable("storage_full", f"{self.location}: {problem}: {_reason(error)}", "make room on the volume or enlarge it")
            case errno.EACCES | errno.EPERM:
                hint = f"give user {os.geteuid()} or group {os.getegid()} the right to read and write there, such as by fsGroup"
                return Refused("access_denied", f"{self.location}: {problem}: {_reason(error)}", hint)
            case errno.EROFS:
                return Unavailable("storage_unavailable", f"{self.location}: {problem}: {_reason(error)}", "mount the volume for writing")
            case errno.ELOOP:
                return Refused(
                    "storage_refused", f"{self.location}: {problem}: a symbolic link is in its path", "replace the link by a folder or file"
                )
            case _:
                return self._unavailable(problem, error)

    def _unavailable(self, problem: str, error: OSError) -> AsyaError:
        return Unavailable("storage_unavailable", f"{self.location}: {problem}: {_reason(error)}", "look at the volume and its mount")


def _split(key: str) -> tuple[str, str]:
    folder, _, name = key.rpartition("/")
    return folder, name


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _step(descriptor: int, segment: str, *, make: bool) -> int:
    """A descriptor of the folder `segment` in an open folder."""
    try:
        return os.open(segment, _FOLDER_FLAGS, dir_fd=descriptor)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):  # another process was quicker
        os.mkdir(segment, dir_fd=descriptor)
    os.fsync(descriptor)
    return os.open(segment, _FOLDER_FLAGS, dir_fd=descriptor)


def _write(name: str, body: bytes, descriptor: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=descriptor)
    with os.fdopen(file, "wb") as opened:
        opened.write(body)
        opened.flush()
        os.fsync(file)


def _publish(draft: str, name: str, descriptor: int) -> bool:
    """Give the draft its own name unless that exists; whether it was given."""
    try:
        os.link(draft, name, src_dir_fd=descriptor, dst_dir_fd=descriptor, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(draft, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            return True
        return False
    return True


def _is_object(name: str, descriptor: int) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)


def _names(descriptor: int, begin: str) -> Iterator[str]:
    """Keys of the files in an open folder and below."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                if not entry.name.startswith(_DRAFT):
                    yield begin + entry.name
            elif entry.is_dir(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    deeper = os.open(entry.name, _FOLDER_FLAGS, dir_fd=descriptor)
                    try:
                        yield from _names(deeper, f"{begin}{entry.name}/")
                    finally:
                        os.close(deeper)


def _info(key: str, descriptor: int, skipped: int) -> ObjectInfo | None:
    try:
        found = os.stat(key[skipped:], dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:  # removed since
        return None
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
