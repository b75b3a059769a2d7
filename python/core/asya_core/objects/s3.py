"""Objects in a bucket of S3 or of a storage that speaks its protocol. The only module that imports boto3 for objects.

Opened by `location`. Writes are conditional (``If-None-Match: *``) and carry the body's SHA-256, which the storage checks before it keeps
anything. A storage that answers "not implemented" to the condition gets a look and a plain put from then on. Buckets are never made.

Tries: boto3's "standard" mode repeats what failed by throttling, 5xx or a broken connection, with full jitter (botocore 1.44,
``retries/standard.py``). A put whose answer was lost and that took effect is told by 412 at the next try, which means done.
"""

import base64
import hashlib
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

import asya_core
from asya_core.objects.base import ObjectInfo, check_key, check_prefix
from asya_core.objects.location import S3Access, S3Location
from asya_core.wire.errors import AsyaError, Refused, Unavailable

__all__ = ["S3Store"]

T = TypeVar("T")

_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden", "AccountProblem"})
_BAD_CREDENTIALS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "UnrecognizedClientException"})
_STALE_CREDENTIALS: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "307", "400"}
)
_BUSY: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "RequestTimeout", "OperationAborted",
     "ConditionalRequestConflict", "InternalError", "ServiceUnavailable", "BadDigest", "XAmzContentSHA256Mismatch"}
)  # fmt: skip
"""Codes under 500 that another try may cure: throttling, a slow upload, a conflict with a writer of the same key, bytes hurt on the way."""


class S3Store:
    """Keeps objects in a bucket that exists. See `asya_core.objects.base.ObjectStore`.

    Args:
        place: bucket and prefix.
        access: how the storage is reached.
    """

    def __init__(self, place: S3Location, access: S3Access) -> None:
        self._place = place
        self._access = access
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._lock = threading.Lock()
        self._made: Any = None
        self._is_conditional = True

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return str(self._place)

    def put_if_absent(self, key: str, body: bytes) -> bool:
        """See the port."""
        arguments = {
            "Bucket": self._place.bucket,
            "Key": self._prefix + check_key(key),
            "Body": body,
            "ContentType": "application/json" if key.endswith(".json") else "application/octet-stream",
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        }
        if self._is_conditional:
            try:
                return self._put({**arguments, "IfNoneMatch": "*"}, key)
            except _NotImplementedByStorage:
                self._is_conditional = False
        return not self.exists(key) and self._put(arguments, key)

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        """See the port. The bytes are compared with the checksum that the storage keeps, if it keeps one."""
        check_key(key)

        def read(client: Any) -> bytes:
            answer = client.get_object(Bucket=self._place.bucket, Key=self._prefix + key, ChecksumMode="ENABLED")
            with closing(answer["Body"]) as stream:  # its own __enter__ gives the raw stream, past the comparison of checksums
                if limit_bytes is not None and answer["ContentLength"] > limit_bytes:
                    raise Refused(
                        "object_too_large",
                        f"Object {key} in {self.location} has {answer['ContentLength']} bytes; at most {limit_bytes} are taken",
                    )
                return bytes(stream.read())

        return self._call(f"{key} cannot be read", read, absent=key)

    def exists(self, key: str) -> bool:
        """See the port."""
        check_key(key)
        try:
            self._call(
                f"{key} cannot be looked for",
                lambda client: client.head_object(Bucket=self._place.bucket, Key=self._prefix + key),
                absent=key,
            )
        except Refused as refusal:
            if refusal.code != "no_such_object":
                raise
            self._refuse_missing_bucket()
            return False
        return True

    def list(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """See the port."""
        arguments = {"Bucket": self._place.bucket, "Prefix": self._prefix + check_prefix(prefix), "MaxKeys": limit}
        if after:
            arguments["StartAfter"] = self._prefix + after
        answer = self._call("cannot be listed", lambda client: client.list_objects_v2(**arguments))
        skipped = len(self._prefix)
        return [
            ObjectInfo(each["Key"][skipped:], each["Size"], each["LastModified"].astimezone(UTC)) for each in answer.get("Contents", ())
        ]

    def close(self) -> None:
        """See the port."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    # -------------------------------------------------------------------------------------------------------------- inside

    def _put(self, arguments: dict[str, Any], key: str) -> bool:
        def put(client: Any) -> bool:
            try:
                client.put_object(**arguments)
            except ClientError as error:
                match _status(error):
                    case 412:
                        return False
                    case 501:
                        raise _NotImplementedByStorage from error
                    case _:
                        raise
            return True

        return self._call(f"{key} cannot be written", put)

    def _refuse_missing_bucket(self) -> None:
        """A look for a key has no words in its answer: no such key and no such bucket look alike."""
        self._call("cannot be reached", lambda client: client.head_bucket(Bucket=self._place.bucket), is_bucket=True)

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                access = self._access
                config = Config(
                    connect_timeout=access.connect_timeout_seconds,
                    read_timeout=access.read_timeout_seconds,
                    retries={"mode": "standard", "total_max_attempts": access.tries},
                    s3={"addressing_style": "path" if access.path_style else "auto"},
                    user_agent_extra=f"asya/{asya_core.__version__}",
                    max_pool_connections=64,
                    tcp_keepalive=True,
                )
                # A session of its own: the default one is shared by the process, and not for several threads.
                self._made = boto3.session.Session().client("s3", region_name=access.region, endpoint_url=access.endpoint, config=config)
            return self._made

    def _call(self, problem: str, call: Callable[[Any], T], *, absent: str | None = None, is_bucket: bool = False) -> T:
        try:
            return call(self._client())
        except (ClientError, BotoCoreError, ValueError) as error:  # ValueError: botocore's word for a malformed endpoint
            raise self._meaning(problem, error, absent=absent, is_bucket=is_bucket) from error

    def _meaning(self, problem: str, error: Exception, *, absent: str | None, is_bucket: bool) -> AsyaError:
        where = f"{self.location}: {problem}"
        match error:
            case ClientError():
                return self._refusal(where, error, absent=absent, is_bucket=is_bucket)
            case NoCredentialsError() | PartialCredentialsError():
                self.close()  # the next call looks for credentials anew
                hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the service account a role"
                return Refused("access_denied", f"{where}: no credentials were found", hint)
            case SSLError():
                hint = "check the endpoint's certificate; AWS_CA_BUNDLE names one's own authorities"
                return Unavailable("storage_unavailable", f"{where}: TLS failed: {_sentence(error)}", hint)
            case BotoConnectionError() | HTTPClientError():
                return Unavailable("storage_unavailable", f"{where}: {_sentence(error)}", "check endpoint and network")
            case _:
                return Unavailable("storage_unavailable", f"{where}: {_sentence(error)}", "check endpoint, region and credentials")

    def _refusal(self, where: str, error: ClientError, *, absent: str | None, is_bucket: bool) -> AsyaError:
        code, status = str(error.response.get("Error", {}).get("Code", "")), _status(error)
        told = f"{where}: the storage answered {status} {code}"
        if code == "NoSuchBucket" or (is_bucket and status == 404):
            return Refused(
                "no_such_storage", f"{self.location}: there is no bucket {self._place.bucket}", "make the bucket; it is never made here"
            )
        if absent is not None and (code in _ABSENT or status == 404):
            return Refused("no_such_object", f"There is no object {absent} in {self.location}")
        if code in _STALE_CREDENTIALS:
            return Unavailable("storage_unavailable", told, "the credentials have expired; renew them")
        if code in _BAD_CREDENTIALS:
            self.close()
            return Refused("access_denied", told, "correct the access key and its secret")
        if code == "RequestTimeTooSkewed":
            return Refused("access_denied", told, "set the clock of this machine")
        if code in _DENIED or status in (401, 403):
            hint = f"allow s3:PutObject, s3:GetObject on {self.location}/* and s3:ListBucket on the bucket"
            return Refused("access_denied", told, hint)
        if code in _BUSY or status >= 500 or status in (408, 409, 429):
            return Unavailable("storage_unavailable", told, "trying again helps")
        if code in _ELSEWHERE:
            return Refused("storage_refused", told, "set the bucket's region and the right endpoint")
        return Refused("storage_refused", told, "look the code up in the storage's documentation")


class _NotImplementedByStorage(Exception):
    """The storage has no conditional writes."""


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
