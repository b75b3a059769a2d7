"""Archives whose bytes follow from their content alone: no times, owners or orders of this machine. Called by `charts` and `images`."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

__all__ = ["add", "compress", "normalise"]

BLOCK = 1 << 20


def add(tar: tarfile.TarFile, name: str, content: bytes | Path, *, epoch: int = 0) -> None:
    """Add one file, readable by all, of root, changed at `epoch`."""
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = 0o644, epoch
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    member.size = content.stat().st_size
    with content.open("rb") as stream:
        tar.addfile(member, stream)


def compress(source: Iterable[bytes], to: IO[bytes]) -> None:
    """gzip without name and time."""
    with gzip.GzipFile(filename="", mode="wb", fileobj=to, compresslevel=6, mtime=0) as zipped:
        for block in source:
            zipped.write(block)


def normalise(package: Path, *, epoch: int) -> None:
    """Rewrite a .tgz in place: the same regular files, in the order of their names, all changed at `epoch`."""
    with tarfile.open(package) as tar:
        files = {member.name: _content(tar, member) for member in tar.getmembers() if member.isfile()}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        # Helm takes Chart.yaml first when it lists a package; the rest has no order.
        for name in sorted(files, key=lambda each: (each.count("/") != 1 or not each.endswith("/Chart.yaml"), each)):
            add(tar, name, files[name], epoch=epoch)
    with package.open("wb") as stream:
        compress([plain.getvalue()], stream)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    assert stream is not None
    return stream.read()
