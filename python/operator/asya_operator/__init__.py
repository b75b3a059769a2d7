"""The operator: makes of each AsyncActor its workload, queue and scaling. It knows no message and no payload."""
