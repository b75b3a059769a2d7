"""One module per benchmark: its parameters, its metric, its targets."""
