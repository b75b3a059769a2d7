"""The manifest, the tests and the page agree."""

import ast
from functools import cache
from pathlib import Path

from tests.behaviours import BEHAVIOURS, page

ROOT = Path(__file__).parents[2]


@cache
def marks() -> dict[str, list[str]]:
    """Behaviour ids named by marks in test files, with where."""
    found: dict[str, list[str]] = {}
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "python").rglob("test_*.py")]:
        text = path.read_text(encoding="utf-8")
        if ".behaviour" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "behaviour"
                and isinstance(node.args[0], ast.Constant)
            ):
                found.setdefault(node.args[0].value, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_every_promise_is_proved_by_a_test() -> None:
    assert sorted(BEHAVIOURS.keys() - marks().keys()) == []


def test_every_mark_names_a_promise() -> None:
    assert {identity: where for identity, where in marks().items() if identity not in BEHAVIOURS} == {}


def test_every_promise_names_a_page_that_exists() -> None:
    assert [behaviour.source for behaviour in BEHAVIOURS.values() if not (ROOT / behaviour.source).exists()] == []


def test_the_page_of_promises_is_made_from_the_manifest() -> None:
    assert (ROOT / "docs/reference/behaviours.md").read_text() == page()
