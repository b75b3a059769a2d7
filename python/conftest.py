"""What the tests of all packages share: branches are counted by examples, not by drawn cases."""

from collections.abc import Generator

import coverage
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Tests of properties run unmeasured: they draw thousands of cases, each measured line of which would cost twice its time.

    So 100 % of the branches is what examples reach, which a change of a generator cannot take away.
    """
    measured = coverage.Coverage.current() if item.get_closest_marker("hypothesis") else None
    if measured is None:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()
