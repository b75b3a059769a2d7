"""One port to move messages, and its implementations."""
