"""The only module that imports botocore, the core of boto3, for SQS: makes clients, and says what their errors mean.

Not boto3 itself: its layer on top is not needed and costs 45 ms and 3 MB of each sidecar.

Called by the transport and the administration. Knows the API's error codes, nothing of deliveries.
"""

import functools
import threading
from enum import Enum
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

import asya_core
from asya_core.transports.sqs.settings import SqsSettings
from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

__all__ = ["Api", "Fault", "SqsError", "connect", "describe", "error_code", "fault_of", "is_sender_fault", "make_client", "meaning"]

SqsError: Final[tuple[type[Exception], ...]] = (ClientError, BotoCoreError, ValueError)
"""What a call of a client raises; ValueError is botocore's word for a malformed endpoint."""


class Fault(Enum):
    """What an error says about the call."""

    NO_QUEUE = "no queue"
    """There is no such queue; the call did nothing."""
    NOT_SENT = "not sent"
    """The server was not reached; the call did nothing."""
    THROTTLED = "throttled"
    """The server takes no more for now; the call did nothing."""
    UNCERTAIN = "uncertain"
    """No answer, or an error inside the server: the call may have been carried out."""
    DENIED = "denied"
    """Credentials are missing, wrong, expired or without the right."""
    BAD_REQUEST = "bad request"
    """The server understood and will refuse the same again."""


_NAMES: Final = {
    "NonExistentQueue": Fault.NO_QUEUE,
    "QueueDoesNotExist": Fault.NO_QUEUE,
    "RequestThrottled": Fault.THROTTLED,
    "Throttling": Fault.THROTTLED,
    "ThrottlingException": Fault.THROTTLED,
    "ThrottledException": Fault.THROTTLED,
    "RequestThrottledException": Fault.THROTTLED,
    "RequestLimitExceeded": Fault.THROTTLED,
    "TooManyRequestsException": Fault.THROTTLED,
    "KmsThrottled": Fault.THROTTLED,
    "KMS.ThrottlingException": Fault.THROTTLED,
    "OverLimit": Fault.THROTTLED,
    "AccessDenied": Fault.DENIED,
    "AccessDeniedException": Fault.DENIED,
    "AuthFailure": Fault.DENIED,
    "ExpiredToken": Fault.DENIED,
    "ExpiredTokenException": Fault.DENIED,
    "IncompleteSignature": Fault.DENIED,
    "InvalidClientTokenId": Fault.DENIED,
    "InvalidSecurity": Fault.DENIED,
    "InvalidSignatureException": Fault.DENIED,
    "KmsAccessDenied": Fault.DENIED,
    "MissingAuthenticationToken": Fault.DENIED,
    "OptInRequired": Fault.DENIED,
    "RequestExpired": Fault.DENIED,
    "SignatureDoesNotMatch": Fault.DENIED,
    "UnrecognizedClientException": Fault.DENIED,
    "InternalError": Fault.UNCERTAIN,
    "InternalFailure": Fault.UNCERTAIN,
    "ServiceUnavailable": Fault.UNCERTAIN,
}
"""By the name of the error, without its prefix ``AWS.SimpleQueueService.``; others go by the status."""


_STALE: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


_making: Final = threading.Lock()
"""A session is not for several threads; its clients are."""


@functools.cache
def _session() -> Any:
    """One for all clients: each reads and parses the model of the service, 50 ms."""
    return botocore.session.Session()


def make_client(settings: SqsSettings, *, tries: int = 1, connections: int = 10, longest_wait_seconds: float = 0.0) -> Any:
    """A client of SQS, which several threads may use at the same time.

    Args:
        settings: where.
        tries: of each call, by boto3 itself (its mode "standard"); 1: the caller repeats what is worth it.
        connections: kept open.
        longest_wait_seconds: how long the server may hold back an answer.

    Raises RemoteFault ``bad_setting`` if no region is known, Unavailable ``no_credentials`` if the agent that hands them out does not yet.
    A client that was made while there were none never finds any: make another.
    """
    config = Config(
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds + longest_wait_seconds,
        retries={"mode": "standard", "total_max_attempts": tries},
        user_agent_extra=f"asya/{asya_core.__version__}",
        max_pool_connections=connections,
        tcp_keepalive=True,
        parameter_validation=False,
    )
    keys = (
        {"aws_access_key_id": settings.access_key_id, "aws_secret_access_key": settings.secret_access_key} if settings.access_key_id else {}
    )
    try:
        with _making:
            session = _session()
            region = settings.region or session.get_config_variable("region") or settings.fallback_region
            return session.create_client("sqs", region_name=region, endpoint_url=settings.endpoint, config=config, **keys)
    except NoRegionError:
        raise RemoteFault("bad_setting", "SQS has no region", "set AWS_REGION, such as eu-central-1") from None
    except CredentialRetrievalError as error:
        raise Unavailable("no_credentials", f"Credentials cannot be had: {_sentence(error)}", "trying again helps") from error
    except (BotoCoreError, ValueError) as error:
        raise RemoteFault("bad_setting", f"SQS client cannot be made: {_sentence(error)}", "correct endpoint and region") from error


def error_code(error: ClientError) -> str:
    """The error's name without prefix, such as ``NonExistentQueue`` or ``ReceiptHandleIsInvalid``."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")


def fault_of(error: Exception) -> Fault:
    """What an exception of a call says about it."""
    match error:
        case ClientError():
            return fault_of_code(error_code(error), status=_status(error))
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return Fault.DENIED
        case EndpointConnectionError() | ConnectTimeoutError() | ProxyConnectionError() | SSLError():
            return Fault.NOT_SENT
        case HTTPClientError():
            return Fault.UNCERTAIN
        case _:
            return Fault.NOT_SENT


def fault_of_code(code: str, *, status: int = 400) -> Fault:
    """What the name of an error says, such as one of a failed entry of a batch."""
    found = _NAMES.get(code.removeprefix("AWS.SimpleQueueService."))
    if found is not None:
        return found
    if status in (429, 503):
        return Fault.THROTTLED if status == 429 else Fault.UNCERTAIN
    return Fault.UNCERTAIN if status >= 500 else Fault.BAD_REQUEST


def is_sender_fault(entry: dict[str, Any]) -> bool:
    """Whether a failed entry of a batch would fail again (SenderFault of BatchResultErrorEntry)."""
    return bool(entry.get("SenderFault"))


def meaning(settings: SqsSettings, problem: str, error: Exception) -> AsyaError:
    """The error tree's word for an exception of a call.

    Args:
        settings: for the sentence.
        problem: what could not be done, such as ``queue x cannot be made``.
        error: the exception.
    """
    told = f"{settings.where}: {problem}: {describe(error)}"
    match fault_of(error):
        case Fault.NO_QUEUE:
            return Refused("no_such_queue", f"{settings.where}: {problem}: there is no such queue", "declare it first")
        case Fault.DENIED if isinstance(error, ClientError):
            code, hint = "broker_refused", "correct the credentials, or give their role the rights that docs/how-to/run-on-aws.md lists"
            return Unavailable(code, told, "renew the credentials") if error_code(error) in _STALE else Refused(code, told, hint)
        case Fault.DENIED:
            hint = "give the service account a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return Refused("no_credentials", told, hint)
        case Fault.NOT_SENT | Fault.UNCERTAIN:
            return Unavailable("broker_unavailable", told + _doubt_of_region(settings), "check endpoint, region and network")
        case Fault.THROTTLED:
            return Unavailable("broker_unavailable", told, "trying again helps")
        case Fault.BAD_REQUEST if isinstance(error, ClientError) and error_code(error) == "QueueDeletedRecently":
            return Unavailable("queue_deleted_recently", told, "try again in a minute", retry_after_seconds=60.0)
        case Fault.BAD_REQUEST:
            return Refused("broker_refused", told, "look the code up in the API reference of SQS")


def _doubt_of_region(settings: SqsSettings) -> str:
    """A region that is mistyped shows as a host name that does not exist: the end of a sentence that says so."""
    region = settings.region
    if settings.endpoint is not None or region is None or region in _regions():
        return ""
    import difflib  # here, as every sidecar imports this module and hardly one asks

    near = difflib.get_close_matches(region, _regions(), n=1)
    return f"; SQS has no region {region}{f', did you mean {near[0]}?' if near else ' that is known here'}"


@functools.cache
def _regions() -> tuple[str, ...]:
    session = botocore.session.Session()
    return tuple(region for part in session.get_available_partitions() for region in session.get_available_regions("sqs", part))


class Api:
    """Calls for administration: blocking, repeated by boto3, with errors of our tree.

    Args:
        settings: where and as whom.
        client: of `make_client`.
    """

    def __init__(self, settings: SqsSettings, client: Any) -> None:
        self._settings = settings
        self._client = client

    def call(self, action: str, **arguments: Any) -> Any:
        """Call `action`, such as ``create_queue``; gives the answer. Raises Unavailable and Refused, see `meaning`."""
        try:
            return getattr(self._client, action)(**arguments)
        except SqsError as error:
            about = arguments.get("QueueName") or str(arguments.get("QueueUrl", "")).rpartition("/")[2]
            raise meaning(self._settings, f"{action} {about}".strip(), error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def connect(settings: SqsSettings) -> Api:
    """An `Api` whose calls are tried four times. Nothing is sent yet. Raises RemoteFault ``bad_setting`` if no region is known."""
    return Api(settings, make_client(settings, tries=4))


def describe(error: Exception) -> str:
    """One sentence about an exception of a call; no credentials."""
    if isinstance(error, ClientError):
        return f"the server answered {_status(error)} {error_code(error)}: {_sentence_of(error)}"
    return _sentence(error)


def _sentence_of(error: ClientError) -> str:
    return " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300]


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
