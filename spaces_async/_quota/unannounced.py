"""The pace where the Hub does not say how many calls are left. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    import random

INITIAL_CONCURRENCY: Final = 16.0
"""Requests in flight at first."""

MIN_SECONDS_BETWEEN_CUTS: Final = 1.0
"""Requests that are refused together cut the limit once."""

MAX_HOLD_SECONDS: Final = 300.0
"""The longest hold after a 429 that does not say how long: the documented window."""


@define
class ConcurrencyLimit:
    """How many requests may be in flight (additive increase, multiplicative decrease).

    The limit grows by one with each full round of good responses, and is halved by a
    429 or 503. For example, at a limit of 16 each good response adds 1/16; after 16 of
    them the limit is about 17, and after a 429 about 8.

    Attributes:
        limit: The limit; whole requests count.
        cut_at: When it was last halved.
    """

    limit: float = INITIAL_CONCURRENCY
    cut_at: float = float("-inf")

    def increase(self) -> None:
        """Note a good response."""
        self.limit += 1.0 / self.limit

    def decrease(self, now: float) -> None:
        """Note a 429 or 503."""
        if now - self.cut_at >= MIN_SECONDS_BETWEEN_CUTS:
            self.limit = max(1.0, self.limit / 2.0)
            self.cut_at = now


class HoldBackoff:
    """How long all calls are held after a 429 that does not say how long.

    The first hold is 1 to 2 s. Each further 429 doubles it, up to 300 s, until a good
    response arrives or there was no such 429 for 300 s.

    Attributes:
        refusals: How many there were. Set it to 0 at a good response.
    """

    def __init__(self, rng: random.Random) -> None:
        """Start with the shortest hold.

        Args:
            rng: Spreads the holds of several clients.
        """
        self._rng = rng
        self.refusals = 0
        self._last_refusal = float("-inf")

    def next_hold(self, now: float) -> float:
        """Note such a 429; return the seconds to hold all calls."""
        if now - self._last_refusal > MAX_HOLD_SECONDS:
            self.refusals = 0
        self._last_refusal = now
        self.refusals += 1
        longest = min(2.0 ** min(self.refusals, 9), MAX_HOLD_SECONDS)
        return self._rng.uniform(longest / 2, longest)
