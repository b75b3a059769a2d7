"""Each promise to callers is proved by tests that are there."""

import ast
from pathlib import Path

import pytest

from tests.callers import PROMISES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("place", sorted({place for promise in PROMISES for place in promise.tests}))
def test_what_proves_a_promise_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    if name:
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_variables_of_long_variants_are_read() -> None:
    for promise in PROMISES:
        for variable in promise.variables:
            name = variable.partition("=")[0]
            assert any(name in (ROOT / place.partition("::")[0]).read_text(encoding="utf-8") for place in promise.tests), variable
