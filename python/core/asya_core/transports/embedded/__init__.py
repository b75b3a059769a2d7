"""The transport over one SQLite file, for laptops and tests."""

from asya_core.transports.embedded.admin import EmbeddedAdmin
from asya_core.transports.embedded.transport import EmbeddedTransport

__all__ = ["EmbeddedAdmin", "EmbeddedTransport"]
