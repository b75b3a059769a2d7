"""What two components must agree on: the wire, settings, logs, clock and the transports port.

Called by every component. Knows none of them.
"""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"
"""The project's one version: wheel, charts and images carry the same number."""
