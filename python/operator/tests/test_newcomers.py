"""How long first statuses wait for KEDA."""

from asya_operator.memory import Newcomers

A, B, C = ("demo", "a"), ("demo", "b"), ("demo", "c")


def test_one_alone_waits_its_time() -> None:
    newcomers = Newcomers(60.0, 0.5)
    assert [newcomers.wait_seconds(A), newcomers.wait_seconds(A)] == [60.0, 60.0]


def test_the_last_of_many_waits_as_long_as_all_of_them_need() -> None:
    newcomers = Newcomers(60.0, 0.5)
    assert [newcomers.wait_seconds(each) for each in (A, B, C)] == [60.0, 60.5, 61.0]
    newcomers.has_come(A)
    newcomers.has_come(B)
    assert newcomers.wait_seconds(C) == 61.0


def test_after_all_have_come_one_alone_waits_its_time_again() -> None:
    newcomers = Newcomers(60.0, 0.5)
    for each in (A, B):
        newcomers.wait_seconds(each)
    for each in (A, B, C):
        newcomers.has_come(each)
    assert newcomers.wait_seconds(C) == 60.0
