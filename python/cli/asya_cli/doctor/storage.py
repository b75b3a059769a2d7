"""Checks of the end actors' storage: can it be read, can it be written to?

Called by `asya_cli.commands.doctor`. Writes one small object, ``doctor/probe.json``, the first time; it stays, as nothing here deletes.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from asya_cli.doctor.check import Check, bad, good
from asya_core.objects import ObjectStore
from asya_core.wire.errors import AsyaError

__all__ = ["of_storage"]

_PROBE: Final = "doctor/probe.json"


def of_storage(objects: ObjectStore) -> Iterator[Check]:
    """The checks. Raises Unavailable, Refused if it cannot be read."""
    with closing(objects):
        objects.list("errors/", limit=1)
        yield good("storage", f"{objects.location} can be read")
        try:
            objects.put_if_absent(_PROBE, b"{}")
        except AsyaError as error:
            yield bad(
                "storage writable", error.message, error.hint or "give the right to write below the prefix; see docs/reference/storage.md"
            )
        else:
            yield good("storage writable", f"{_PROBE} is there")
