"""Envelopes that ended in error-end: find them, look at them, send them again."""
