"""The sidecar: takes messages from a queue to the handler beside it and sends on what comes back."""

from asya_core.ops.stop_early import stop_early

stop_early()
