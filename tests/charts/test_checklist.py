"""The check list tells the truth: each point has tests or a reason, each mark a point, and the page is up to date."""

import re

from tests.charts.checklist import CRITIQUES, PAGE, POINTS, ROOT, critiques, marks, page


def test_there_are_ninety_points() -> None:
    assert sorted(POINTS) == list(range(1, 91))


def test_every_point_has_a_test_or_a_reason_why_not() -> None:
    proved = marks()
    assert [number for number, point in POINTS.items() if number not in proved and not point.missing] == []


def test_every_mark_names_a_point() -> None:
    assert set(marks()) <= set(POINTS)


def test_the_page_is_what_make_generate_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make generate"


def test_ninety_of_ninety_points_have_a_test_or_a_line_among_our_flaws() -> None:
    text = CRITIQUES.read_text(encoding="utf-8")
    assert text == critiques(), "run make generate"
    told = {int(number) for number in re.findall(r"^\| (\d+) \| .* \| no \| \S.* \|$", text, re.M)}
    assert told.isdisjoint(marks())
    assert sorted(told | set(marks())) == list(range(1, 91))


def test_files_that_prove_a_point_elsewhere_exist() -> None:
    named = {path for point in POINTS.values() for path in re.findall(r"[\w/]+\.py", point.missing)}
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
