"""The gateway: tools for callers, progress and final states of envelopes. It runs no handler."""

from asya_core.ops.stop_early import stop_early

stop_early()
