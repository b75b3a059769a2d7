"""The page's files, as they are in the package: plain HTML, CSS and ES modules, without a build step.

Read by `asya_gateway.http.page`, which serves them. Knows no HTTP. What is not ours is in ``vendor/``, with version, hash and licence.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

__all__ = ["Asset", "read_assets"]

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""By ending; a file with another one is not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file.

    Attributes:
        body: as it is.
        compressed: the same, gzip.
        media_type: with the character set.
        etag: in quotes; another one for another content.
    """

    body: bytes
    compressed: bytes
    media_type: str
    etag: str


def read_assets() -> Mapping[str, Asset]:
    """All files by path below this package, such as ``index.html`` or ``vendor/dagre.esm.js``."""
    return {path: _asset(file) for path, file in _walk(files(__package__), "")}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif _ending(entry.name) in _MEDIA_TYPES:
            yield prefix + entry.name, entry


def _asset(file: Traversable) -> Asset:
    body = file.read_bytes()
    return Asset(
        body=body,
        compressed=gzip.compress(body, mtime=0),
        media_type=_MEDIA_TYPES[_ending(file.name)],
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    )


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
