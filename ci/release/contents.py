"""What an image holds: the packages of Debian and of Python that its layers record. Called by `sbom`; knows no format of bills."""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any

__all__ = ["Package", "of_image", "parse_metadata", "parse_status", "read_archive"]

STATUS = "var/lib/dpkg/status"
METADATA = re.compile(r".*/(site|dist)-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """One installed package.

    Attributes:
        kind: "deb" or "pypi", the types of package URLs.
        architecture: of a Debian package, else "".
        licence: as the package itself says it, "" if it does not.
    """

    kind: str
    name: str
    version: str
    architecture: str = ""
    licence: str = ""


def of_image(layers: list[IO[bytes]]) -> list[Package]:
    """Packages of an image, sorted.

    Args:
        layers: uncompressed, lowest first. What an upper one removes or replaces is gone.
    """
    files: dict[str, bytes] = {}
    for layer in layers:
        _apply(layer, files)
    found = set(parse_status(files.pop(STATUS, b"").decode()))
    return sorted(found | {parse_metadata(content.decode()) for content in files.values()})


def read_archive(archive: Path) -> list[Package]:
    """Packages of an image in an archive of ci/images.sh."""
    with tarfile.open(archive) as tar:
        (described,) = json.loads(_layers(tar, ["manifest.json"])[0].read())
        return of_image(_layers(tar, described["Layers"]))


def parse_status(text: str) -> Iterator[Package]:
    """Installed packages of a dpkg status file."""
    for stanza in re.split(r"\n\n+", text.strip()):
        read = HeaderParser().parsestr(stanza)
        if str(read["Status"]).split()[-1:] == ["installed"]:
            yield Package(kind="deb", name=read["Package"], version=read["Version"], architecture=read["Architecture"])


def parse_metadata(text: str) -> Package:
    """The distribution that a METADATA file describes."""
    read = HeaderParser().parsestr(text)
    licence = read["License-Expression"] or read["License"] or ""
    one_line = licence if licence != "UNKNOWN" and len(licence) < 100 and "\n" not in licence else ""
    return Package(kind="pypi", name=re.sub(r"[-_.]+", "-", read["Name"]).lower(), version=read["Version"], licence=one_line)


def _apply(layer: IO[bytes], files: dict[str, bytes]) -> None:
    """Change what is known of the layers below by one more."""
    with tarfile.open(fileobj=layer) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            folder, _, last = name.rpartition("/")
            if last.startswith(".wh."):
                hidden = folder if last == ".wh..wh..opq" else f"{folder}/{last.removeprefix('.wh.')}".lstrip("/")
                for path in [path for path in files if path == hidden or path.startswith(f"{hidden}/")]:
                    del files[path]
            elif member.isfile() and (name == STATUS or METADATA.fullmatch(name)):
                stream: Any = tar.extractfile(member)
                files[name] = stream.read()


def _layers(tar: tarfile.TarFile, names: list[str]) -> list[IO[bytes]]:
    """Open the layers inside an archive of ci/images.sh."""
    return [stream for name in names if (stream := tar.extractfile(name)) is not None]
