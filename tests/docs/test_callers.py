"""Each promise to callers is proved by tests that are there."""

import pytest

from tests.callers import PROMISES
from tests.docs.pages import ROOT, functions_of


@pytest.mark.parametrize("place", sorted({place for promise in PROMISES for place in promise.tests}))
def test_what_proves_a_promise_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    tests = functions_of(file)
    assert name in tests or not name


def test_variables_of_long_variants_are_read() -> None:
    for promise in PROMISES:
        for variable in promise.variables:
            name = variable.partition("=")[0]
            assert any(name in (ROOT / place.partition("::")[0]).read_text(encoding="utf-8") for place in promise.tests), variable
