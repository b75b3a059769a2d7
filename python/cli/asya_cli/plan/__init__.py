"""What a change of values files adds, removes, renames and restarts, and what is still queued for whom it removes."""
