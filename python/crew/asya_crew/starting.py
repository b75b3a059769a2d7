"""Builds an end actor's handler from the environment, or refuses to start with one line. Called when the runtime looks the handler up."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from asya_core.objects.location import DirectoryLocation, open_store
from asya_core.ops.settings import EXIT_REFUSED_SETTINGS
from asya_core.wire.errors import RemoteFault
from asya_crew.record import Kind
from asya_crew.settings import read_crew_settings, s3_access
from asya_crew.storing import Handler, handler_of

__all__ = ["build", "handler_or_exit"]


def build(kind: Kind, environment: Mapping[str, str]) -> Handler:
    """The handler. Raises RemoteFault ``bad_setting`` with one sentence.

    A folder that is missing is refused here, as a volume is mounted before the process starts. A bucket is not looked for: a storage that
    is away for a while must not keep the actor from starting.
    """
    settings = read_crew_settings(environment)
    location = settings.storage_url
    if isinstance(location, DirectoryLocation) and not location.path.is_dir():
        raise RemoteFault(
            "bad_setting", f"ASYA_CREW_STORAGE_URL is {location}, which is no folder here", "mount the volume there, or correct the value"
        )
    return handler_of(kind, open_store(location, s3_access(settings, environment)))


def handler_or_exit(kind: Kind) -> Handler:
    """The handler, or the end of the process: one line on standard error, exit code 78.

    Not raised: the runtime would print a traceback above, which says nothing to who wrote a values file.
    """
    try:
        return build(kind, os.environ)
    except RemoteFault as fault:
        _refuse(fault)


def _refuse(fault: RemoteFault) -> NoReturn:
    sys.stderr.write(f"asya-crew: {fault}\n")
    sys.stderr.flush()
    os._exit(EXIT_REFUSED_SETTINGS)
