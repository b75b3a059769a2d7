"""Words that the resource's definition and the operator's own checks share. Constants only."""

from typing import Final

__all__ = ["DURATION_PATTERN", "OWN_ENV_PREFIXES", "RUNTIME_CONTAINER", "SIDECAR_CONTAINER"]

DURATION_PATTERN: Final = "^[0-9]+(ms|s|m|h)$"
OWN_ENV_PREFIXES: Final = ("ASYA_HANDLER", "ASYA_FLOW_", "ASYA_CREW_")
"""Variables of the container `asya-runtime` with ASYA_ that are the user's."""
RUNTIME_CONTAINER: Final = "asya-runtime"
SIDECAR_CONTAINER: Final = "asya-sidecar"
