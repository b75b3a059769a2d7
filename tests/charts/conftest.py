"""Helm must be there; a test may run once per engine; points of the check list."""

import os

import pytest

from tests.charts.helms import ENGINES, folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "point(number): the point of docs/reference/chart-checklist.md that this test proves")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if folder() is None and not os.environ.get("CI"):
        for item in items:
            if "/tests/charts/" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="both Helms are missing: run ci/helm.sh"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each of both Helms."""
    return str(request.param)
