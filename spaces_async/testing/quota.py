"""The Hub's request quota: fixed windows. Pure arithmetic."""

from __future__ import annotations

import math
from typing import Literal

from attrs import define, field, frozen
from attrs.validators import ge, gt

__all__ = ["Quota", "QuotaWindow"]


@frozen
class Quota:
    """How many calls a window allows.

    Attributes:
        limit: Calls in one window.
        window: Seconds that a window lasts.
        phase: None starts a window with its first call. A number puts the bounds at
            that time plus multiples of the window, whoever calls.
    """

    limit: int = field(default=1000, validator=ge(0))
    window: float = field(default=300.0, validator=gt(0))
    phase: float | None = None


@define
class QuotaWindow:
    """What one caller has used of their quota.

    Attributes:
        quota: The quota; may be replaced, which takes effect with the next call.
        started: When the present window began; None before the first call.
        used: How many calls it has had.
    """

    quota: Quota
    started: float | None = None
    used: int = 0

    def take(self, now: float) -> bool:
        """Count a call; False if nothing was left, and then it does not count."""
        self._roll(now)
        if self.used >= self.quota.limit:
            return False
        self.used += 1
        return True

    def spend(self, calls: int, now: float) -> None:
        """Use up calls at once, as another program with the same token would."""
        self._roll(now)
        self.used = min(self.quota.limit, self.used + calls)

    def remaining(self, now: float) -> int:
        """Return what is left at that time."""
        self._roll(now)
        return max(0, self.quota.limit - self.used)

    def resets_in(self, now: float) -> float:
        """Return the seconds until the window ends: more than 0."""
        started = self._roll(now)
        return started + self.quota.window - now

    def headers(
        self, now: float, rounding: Literal["ceil", "floor"] = "ceil"
    ) -> dict[str, str]:
        """Return `RateLimit` and `RateLimit-Policy` as the Hub writes them."""
        left = self.resets_in(now)
        seconds = math.ceil(left) if rounding == "ceil" else math.floor(left)
        limit, window = self.quota.limit, self.quota.window
        return {
            "RateLimit": f'"api";r={self.remaining(now)};t={seconds}',
            "RateLimit-Policy": f'"fixed window";"api";q={limit};w={window:g}',
        }

    def _roll(self, now: float) -> float:
        """Begin a new window if the last one is over; return the window's start."""
        # A window that runs is kept as it is: computing its start again might give
        # another number by rounding, and with it a new window.
        if self.started is not None and now < self.started + self.quota.window:
            return self.started
        started = now
        if self.quota.phase is not None:
            turns = math.floor((now - self.quota.phase) / self.quota.window)
            started = self.quota.phase + turns * self.quota.window
            # A remainder that rounding eats would announce a window of no length.
            if started + self.quota.window <= now:
                started += self.quota.window
        self.started, self.used = started, 0
        return started
