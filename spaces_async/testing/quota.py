"""The Hub's request quota: fixed windows. Pure arithmetic."""

from __future__ import annotations

import math
from typing import Literal

from attrs import define, field, frozen
from attrs.validators import ge, gt

__all__ = ["Quota", "QuotaWindow"]


@frozen
class Quota:
    """The number of calls that a window allows.

    Attributes:
        limit: Calls in one window.
        window: Length of a window in seconds.
        phase: None starts a window with its first call. A number aligns the windows of
            all callers to that time plus multiples of `window`.
    """

    limit: int = field(default=1000, validator=ge(0))
    window: float = field(default=300.0, validator=gt(0))
    phase: float | None = None


@define
class QuotaWindow:
    """One caller's use of the quota.

    Attributes:
        quota: The quota; it may be replaced, with effect from the next call.
        started: When the current window began; None before the first call.
        used: Number of calls in the current window.
    """

    quota: Quota
    started: float | None = None
    used: int = 0

    def take(self, now: float) -> bool:
        """Count a call; False if no quota was left, and then it is not counted."""
        self._roll(now)
        if self.used >= self.quota.limit:
            return False
        self.used += 1
        return True

    def spend(self, calls: int, now: float) -> None:
        """Use up calls, as another program with the same token would."""
        self._roll(now)
        self.used = min(self.quota.limit, self.used + calls)

    def remaining(self, now: float) -> int:
        """Return the calls left at `now`."""
        self._roll(now)
        return max(0, self.quota.limit - self.used)

    def resets_in(self, now: float) -> float:
        """Return the seconds until the window ends; always above 0."""
        started = self._roll(now)
        return started + self.quota.window - now

    def headers(
        self, now: float, rounding: Literal["ceil", "floor"] = "ceil"
    ) -> dict[str, str]:
        """Return `RateLimit` and `RateLimit-Policy` in the Hub's format."""
        left = self.resets_in(now)
        seconds = math.ceil(left) if rounding == "ceil" else math.floor(left)
        limit, window = self.quota.limit, self.quota.window
        return {
            "RateLimit": f'"api";r={self.remaining(now)};t={seconds}',
            "RateLimit-Policy": f'"fixed window";"api";q={limit};w={window:g}',
        }

    def _roll(self, now: float) -> float:
        """Start a new window if the last one is over; return the window's start."""
        # Keep a window that is not over: rounding could give its start another value
        # if it were computed again, and that would be a new window.
        if self.started is not None and now < self.started + self.quota.window:
            return self.started
        started = now
        if self.quota.phase is not None:
            windows = math.floor((now - self.quota.phase) / self.quota.window)
            started = self.quota.phase + windows * self.quota.window
            # If rounding loses the remainder, the window would have no length.
            if started + self.quota.window <= now:
                started += self.quota.window
        self.started, self.used = started, 0
        return started
