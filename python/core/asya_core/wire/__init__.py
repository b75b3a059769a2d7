"""The wire contract: pure data and arithmetic, no I/O."""
