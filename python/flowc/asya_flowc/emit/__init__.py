"""Emission: the program as routers.py, values, graph and tools. Each module makes one artifact's text; none decides anything."""
