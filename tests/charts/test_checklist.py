"""The check list tells the truth: each point has tests or a reason, each mark a point, and the page is up to date."""

from tests.charts.checklist import PAGE, POINTS, marks, page


def test_there_are_ninety_points() -> None:
    assert sorted(POINTS) == list(range(1, 91))


def test_every_point_has_a_test_or_a_reason_why_not() -> None:
    proved = marks()
    assert [number for number, point in POINTS.items() if number not in proved and not point.missing] == []


def test_every_mark_names_a_point() -> None:
    assert set(marks()) <= set(POINTS)


def test_the_page_is_what_make_generate_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make generate"
