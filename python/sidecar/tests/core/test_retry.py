"""Which failures are tried again, and after how long."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_sidecar.retry import RetryPolicy, crash_delay, end_actor_delay, full_jitter


@pytest.mark.parametrize(
    ("include", "exclude", "mro", "expected"),
    [
        ((), (), ("ValueError", "Exception"), True),
        (("ValueError",), (), ("ValueError", "Exception"), True),
        (("Exception",), (), ("ValueError", "Exception"), True),
        (("KeyError",), (), ("ValueError", "Exception"), False),
        (("Timeout",), (), ("requests.exceptions.Timeout", "OSError"), True),
        (("requests.exceptions.Timeout",), (), ("requests.exceptions.Timeout",), True),
        (("other.Timeout",), (), ("requests.exceptions.Timeout",), False),
        ((), ("ValueError",), ("ValueError", "Exception"), False),
        (("Exception",), ("ValueError",), ("ValueError", "Exception"), False),
        (("Exception",), ("ValueError",), ("KeyError", "Exception"), True),
    ],
)
def test_policy_names_match_any_class_and_exclude_wins(
    include: tuple[str, ...], exclude: tuple[str, ...], mro: tuple[str, ...], expected: bool
) -> None:
    assert RetryPolicy(include=include, exclude=exclude).takes(mro) is expected


@given(st.integers(1, 5000), st.floats(0.01, 100), st.floats(1, 10), st.floats(0.01, 1000), st.integers())
def test_delay_lies_in_its_bounds(attempt: int, initial: float, factor: float, longest: float, seed: int) -> None:
    delay = full_jitter(longest, initial, factor, attempt, Random(seed))
    assert 0 < delay <= longest
    if attempt == 1:
        assert delay <= initial


def test_policy_delay_obeys_policy_and_transport() -> None:
    policy = RetryPolicy(initial_seconds=10, factor=10, max_seconds=1000)
    assert max(policy.delay(9, Random(seed)) for seed in range(200)) <= 512
    assert max(policy.delay(1, Random(seed)) for seed in range(200)) <= 10
    assert max(policy.delay(9, Random(seed), 5000) for seed in range(200)) > 512


def test_crashes_wait_one_two_four_seconds_up_to_512() -> None:
    assert [crash_delay(attempt) for attempt in (1, 2, 3, 10, 11, 5000)] == [1, 2, 4, 512, 512, 512]


def test_end_actors_wait_up_to_512_seconds() -> None:
    assert 256 < max(end_actor_delay(50, Random(seed)) for seed in range(100)) <= 512
