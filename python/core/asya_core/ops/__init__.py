"""What every process needs to run well: settings, logs, metrics, clock, backoff."""
