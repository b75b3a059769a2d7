"""The end actors: handlers that store results and failed envelopes."""
