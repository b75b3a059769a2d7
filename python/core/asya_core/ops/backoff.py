"""How long to wait before the n-th try: exponential growth with full jitter. Arithmetic only.

Called by whoever reconnects or retries. Knows no clock and holds no state; randomness is handed in.

Full jitter (a delay drawn evenly between nothing and the ceiling) spreads clients that failed together better than a ceiling with a little
noise: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from collections.abc import Callable

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """A growing delay.

    Attributes:
        initial_seconds: ceiling of the first delay; over 0.
        max_seconds: ceiling of every delay; at least `initial_seconds`.
        factor: growth of the ceiling from one delay to the next; at least 1.

    Raises ValueError for values outside these bounds.
    """

    initial_seconds: float
    max_seconds: float
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not self.initial_seconds > 0:
            raise ValueError(f"Backoff initial_seconds is {self.initial_seconds}; expected over 0")
        if not self.max_seconds >= self.initial_seconds:
            raise ValueError(f"Backoff max_seconds is {self.max_seconds}; expected at least initial_seconds ({self.initial_seconds})")
        if not self.factor >= 1:
            raise ValueError(f"Backoff factor is {self.factor}; expected at least 1")

    def ceiling_seconds(self, n: int) -> float:
        """The longest that the n-th delay may be, n from 1: min(max, initial × factorⁿ⁻¹). Raises ValueError for n < 1."""
        if n < 1:
            raise ValueError(f"Delay number is {n}; expected 1 or more")
        try:
            return min(self.max_seconds, self.initial_seconds * self.factor ** (n - 1))
        except OverflowError:
            return self.max_seconds

    def delay_seconds(self, n: int, random: Callable[[], float]) -> float:
        """The n-th delay, n from 1: evenly drawn from (0, ceiling], never 0.

        Args:
            n: which delay.
            random: gives a number in [0, 1), as `random.random` does.
        """
        return self.ceiling_seconds(n) * (1.0 - random())
