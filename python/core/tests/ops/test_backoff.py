"""The n-th delay lies in (0, ceiling]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_core.ops.backoff import Backoff


@pytest.mark.parametrize(("n", "ceiling"), [(1, 1.0), (2, 2.0), (3, 4.0), (10, 300.0), (100_000, 300.0)])
def test_ceiling_doubles_up_to_the_maximum(n: int, ceiling: float) -> None:
    assert Backoff(initial_seconds=1.0, max_seconds=300.0).ceiling_seconds(n) == ceiling


@given(n=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True), factor=st.floats(1, 10))
def test_delay_is_over_nothing_and_at_most_the_ceiling(n: int, draw: float, factor: float) -> None:
    backoff = Backoff(initial_seconds=0.1, max_seconds=10.0, factor=factor)
    assert 0 < backoff.delay_seconds(n, lambda: draw) <= backoff.ceiling_seconds(n) <= 10.0


def test_delay_spans_the_whole_range() -> None:
    backoff = Backoff(initial_seconds=1.0, max_seconds=8.0)
    assert [backoff.delay_seconds(3, lambda draw=draw: draw) for draw in (0.0, 0.5, 0.75)] == [4.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("initial", "maximum", "factor"), [(0, 1, 2), (-1, 1, 2), (2, 1, 2), (1, 2, 0.5), (float("nan"), 1, 2), (1, float("nan"), 2)]
)
def test_senseless_bounds_are_refused(initial: float, maximum: float, factor: float) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(initial_seconds=initial, max_seconds=maximum, factor=factor)


def test_delays_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        Backoff(initial_seconds=1, max_seconds=1).ceiling_seconds(0)
