"""The transport over Amazon SQS. Administration is loaded when it is asked for: a sidecar never does."""

from typing import TYPE_CHECKING, Any

from asya_core.transports.sqs.settings import SqsSettings

if TYPE_CHECKING:
    from asya_core.transports.sqs.admin import SqsAdmin
    from asya_core.transports.sqs.transport import SqsTransport

__all__ = ["SqsAdmin", "SqsSettings", "SqsTransport"]


def __getattr__(name: str) -> Any:
    match name:
        case "SqsTransport":
            from asya_core.transports.sqs.transport import SqsTransport

            return SqsTransport
        case "SqsAdmin":
            from asya_core.transports.sqs.admin import SqsAdmin

            return SqsAdmin
    raise AttributeError(f"module {__name__} has no attribute {name}")
