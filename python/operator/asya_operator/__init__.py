"""The operator: makes of each AsyncActor its workload, queue and scaling. It knows no message and no payload."""

from asya_core.ops.stop_early import stop_early

stop_early()
