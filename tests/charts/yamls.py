"""YAML read by libyaml, a tenth of the time that PyYAML's own parser takes. Called by the tests of this folder and `tests.monitoring`."""

from collections.abc import Iterator
from typing import Any

import yaml

__all__ = ["read", "read_all"]


def read(text: str) -> Any:
    """The one document of `text`."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def read_all(text: str) -> Iterator[Any]:
    """The documents of `text`, empty ones as None."""
    return yaml.load_all(text, Loader=yaml.CSafeLoader)
