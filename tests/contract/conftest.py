"""Fixtures of the contract tests."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import os

    for name in [name for name in os.environ if name.startswith("ASYA_") and not name.startswith("ASYA_TEST_")]:
        monkeypatch.delenv(name)
    yield
    asyncio.set_event_loop(None)
