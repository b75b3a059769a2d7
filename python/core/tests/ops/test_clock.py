"""The clocks."""

import pytest

from asya_core.ops.clock import FakeClock, SystemClock


def test_time_passes_on_both_readings_when_told() -> None:
    clock = FakeClock()
    before = clock.monotonic(), clock.wall()
    clock.advance(2.5)
    assert (clock.monotonic() - before[0], clock.wall() - before[1]) == (2.5, 2.5)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_setting_the_wall_clock_lets_no_time_pass(jump: float) -> None:
    clock, calls = FakeClock(), []
    clock.on_advance(lambda: calls.append(clock.monotonic()))
    before = clock.monotonic()
    clock.set_wall(clock.wall() + jump)
    assert clock.monotonic() == before
    assert calls == []


def test_listeners_hear_of_each_advance() -> None:
    clock, calls = FakeClock(monotonic=10), []
    clock.on_advance(lambda: calls.append(clock.monotonic()))
    clock.advance(1)
    clock.advance(0)
    assert calls == [11, 11]


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot advance"):
        FakeClock().advance(-1)


def test_system_clock_reads_seconds() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.wall() > 1_700_000_000
