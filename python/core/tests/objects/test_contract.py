"""The contract of every object store (asya_core.testing.object_contract), one body over all implementations."""

import pytest

from asya_core.testing.object_contract import OBJECT_CASES, ObjectCase


@pytest.mark.behaviour("objects:contract")
@pytest.mark.parametrize("case", OBJECT_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("implementation", ["directory", "s3"])
def test_store_keeps_its_contract(case: ObjectCase, implementation: str, request: pytest.FixtureRequest) -> None:
    case.body(request.getfixturevalue(f"{implementation}_harness"))
