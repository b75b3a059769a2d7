"""The store of envelopes and their events: one port, named SQL in one file, two thin connectors."""
