"""One module per command: its options, and what they mean to the code that does the work."""
