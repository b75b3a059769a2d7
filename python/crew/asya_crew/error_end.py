"""Handler of ``error-end``: keeps the records of envelopes that failed for good.

``ASYA_HANDLER=asya_crew.error_end.store``, ``ASYA_HANDLER_MODE=envelope``. `store` takes an envelope, keeps it as
``errors/<id>.json`` and gives it back with ``asya_stored``. It is made when it is first asked for, so that importing this module reads no
environment and ends no process.
"""

from asya_crew.record import Kind
from asya_crew.starting import handler_or_exit
from asya_crew.storing import Handler

store: Handler


def __getattr__(name: str) -> Handler:
    if name != "store":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    handler = globals()["store"] = handler_or_exit(Kind.ERROR)
    return handler
