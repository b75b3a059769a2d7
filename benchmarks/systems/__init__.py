"""One adapter per system that is measured. Each knows its own system and nothing of the others."""
