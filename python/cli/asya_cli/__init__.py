"""The `asya` command: data on stdout, talk on stderr, exit codes that mean something.

Called by people and scripts. Imports `asya_core`; other components are started as processes, never imported.
"""
