"""Where objects are: reads the address that users set, and opens the store for it.

Called by the crew, and by whoever reads what it stored. Imports boto3 (through `s3`) only for an ``s3://`` address: it costs 0.4 s of start
and 40 MB (1.44, CPython 3.13).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from asya_core.objects.base import ObjectStore, check_key
from asya_core.wire.errors import Refused, RemoteFault

__all__ = ["DirectoryLocation", "Location", "S3Access", "S3Location", "open_store", "parse_location"]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, general purpose buckets."""
_EXPECTED: Final = "expected s3://bucket/prefix or file:///folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """A place in a bucket.

    Attributes:
        bucket: it must exist; it is never made.
        prefix: what all keys begin with, without slashes at its ends; may be empty.
    """

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryLocation:
    """A folder.

    Attributes:
        path: absolute; it must exist; it is never made.
    """

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}"


Location: TypeAlias = S3Location | DirectoryLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How an S3-compatible storage is reached. Credentials are not here: boto3's own chain finds them (environment, files, pod identity).

    Attributes:
        region: None leaves it to boto3's own chain.
        endpoint: address of a storage that is not AWS's; None for AWS.
        path_style: the bucket in the path instead of the host name, as most storages that are not AWS's want it.
        connect_timeout_seconds: for one try.
        read_timeout_seconds: between two pieces of an answer, for one try.
        tries: of one call, the first included; on throttling, 5xx and broken connections, with backoff of at most 20 s.
    """

    region: str | None = None
    endpoint: str | None = None
    path_style: bool = False
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 20.0
    tries: int = 3


def parse_location(address: str) -> Location:
    """The location that `address` names. Raises RemoteFault ``bad_setting`` with one sentence, without the setting's name."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("s3", "file"):
        raise _bad(address, "has no scheme that is known")
    if any(character in rest for character in "?#%@ \t\n\0"):
        raise _bad(address, "has a character that is not legal in it")
    if scheme == "file":
        if not rest.startswith("/"):
            raise _bad(address, "names no absolute folder")
        return DirectoryLocation(path=Path(rest))
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _bad(address, f"has the bucket {bucket!r}, which is no bucket's name")
    prefix = prefix.strip("/")
    if prefix:
        try:
            check_key(prefix)
        except Refused as refusal:
            raise _bad(address, "has a prefix with an empty segment, a dot segment or a character other than [A-Za-z0-9._:=-]") from refusal
    return S3Location(bucket=bucket, prefix=prefix)


def open_store(location: Location, access: S3Access = S3Access()) -> ObjectStore:
    """The store at `location`. Touches no network and no file; what is wrong there shows at the first call.

    Raises RemoteFault ``bad_setting`` if boto3 is needed and not installed.
    """
    if isinstance(location, DirectoryLocation):
        from asya_core.objects.directory import DirectoryStore

        return DirectoryStore(location.path)
    try:
        from asya_core.objects.s3 import S3Store
    except ModuleNotFoundError as error:
        raise RemoteFault(
            "bad_setting", f"Address {location} needs boto3, which is not installed", "pip install 'asya[storage]'"
        ) from error
    return S3Store(location, access)


def _bad(address: str, problem: str) -> RemoteFault:
    return RemoteFault("bad_setting", f"Address {address[:120]!r} {problem}; {_EXPECTED}", "correct the value")
