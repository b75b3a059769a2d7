"""What the tests of all packages share: which tests are measured for branches."""

from collections.abc import Generator

import coverage
import pytest

EDGES = frozenset({"process", "edges", "objects", "embedded"})
"""Folders of tests whose subject is a process, a socket, a store or a queue file: no pure module."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Branches of the pure modules are counted while examples of them run, and not in what takes long and shows other things.

    Each measured line costs twice its time, those of foreign modules too. Tests of properties draw thousands of cases, tests of edges
    have their work done elsewhere, and a story that is played over and over, or against a server (mark ``unmeasured``), shows no other
    branches the tenth time. So 100 % is what examples reach.
    """
    is_long = item.get_closest_marker("hypothesis") or item.get_closest_marker("unmeasured") or EDGES & {*item.path.parts}
    measured = coverage.Coverage.current() if is_long else None
    if measured is None:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()
