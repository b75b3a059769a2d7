"""Every numbered situation of the language has a test that bears its number."""

import ast
import re
from pathlib import Path

import constructs
import pytest
from situations import LATER, SITUATIONS

FLOWC = Path(__file__).parent
FOLDERS = (FLOWC, FLOWC.parents[1] / "cli" / "tests")
TABLES = (constructs.REFUSED, constructs.ACCEPTED, constructs.WARNED, constructs.FILES)


def numbers_of_tests() -> set[int]:
    names = [
        node.name
        for folder in FOLDERS
        for file in folder.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return {int(number) for name in names for number in _leading(name)}


def _leading(name: str) -> list[str]:
    found = re.match(r"test((?:_\d+)+)_[a-z]", name)
    return found[1].strip("_").split("_") if found else []


@pytest.mark.skipif(not FOLDERS[1].is_dir(), reason="the command's tests are not beside these")
def test_every_situation_has_a_test() -> None:
    shown = numbers_of_tests() | {int(row[0]) for table in TABLES for row in table}
    wanted = set(SITUATIONS) - LATER
    assert wanted - shown == set(), "situations without a test"
    assert shown - set(SITUATIONS) == set(), "tests with a number that no situation has"


def test_situations_are_numbered_without_a_gap() -> None:
    assert list(SITUATIONS) == list(range(1, 106))
