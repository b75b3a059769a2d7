"""The sidecar: takes messages from a queue to the handler beside it and sends on what comes back."""
