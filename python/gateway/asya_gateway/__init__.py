"""The gateway: tools for callers, progress and final states of envelopes. It runs no handler."""
