"""What all tests of the runtime share."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``ASYA_*`` variable of the machine reaches a test."""
    import os

    for name in list(os.environ):
        if name.startswith("ASYA_") and name != "ASYA_CACHE":
            monkeypatch.delenv(name)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, first in ``sys.path``; its modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
