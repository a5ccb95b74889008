"""The arithmetic of a quota window. Pure.

The Hub counts calls in fixed windows. Each response says how many calls are left
(`Quota.remaining`) and in how many seconds the window ends (`Quota.reset`). Responses
overtake each other and the seconds are rounded, so a `Window` keeps bounds: the lowest
number of calls left, the latest possible end, and the earliest possible end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from attrs import define

from spaces_async._wire.ratelimit import ROUNDING_SECONDS

if TYPE_CHECKING:
    from spaces_async._wire.ratelimit import Quota

WindowOrder = Literal["same", "next", "past"]
"""Which window a response describes: the known one, a later or an earlier one."""


@define
class Window:
    """What is known about the current window, on one clock.

    Attributes:
        left: Calls left, the lowest number of all responses; None if unknown.
        ends: The latest possible end of the window; None if unknown.
        limit: Calls per window; kept from one window to the next.
        known_since: When the first request was sent that reported this window.
        not_before: The earliest possible end of the window.
    """

    left: int | None = None
    ends: float | None = None
    limit: int | None = None
    known_since: float = -math.inf
    not_before: float = -math.inf

    def forget_if_over(self, now: float) -> bool:
        """Forget the window if it has ended; return whether it has."""
        if self.ends is None or now < self.ends:
            return False
        self.left = self.ends = None
        self.known_since, self.not_before = now, -math.inf
        return True

    def note(self, quota: Quota, *, sent: float, received: float) -> WindowOrder:
        """Update the window from a response.

        Args:
            quota: The quota that the response reported.
            sent: When the request was sent.
            received: When the response arrived.

        Returns:
            Which window the response described. A past one changes nothing.
        """
        if quota.limit is not None:
            self.limit = quota.limit
        over = self.forget_if_over(received)
        # Upper bound of the end: the Hub computed `t` before `received` and may have
        # rounded it down. Lower bound: computed after `sent`, perhaps rounded up.
        # For example, sent at 10.0, received at 10.4, t=189: the window ends between
        # 198.0 and 200.4.
        latest = received + quota.reset + ROUNDING_SECONDS
        earliest = sent + quota.reset - ROUNDING_SECONDS
        if sent < self.known_since and latest < self.not_before:
            return "past"
        if self.left is None or self.ends is None or earliest > self.ends:
            # Nothing is known, or the response describes a later window.
            over = over or self.ends is not None
            self.left, self.ends = quota.remaining, latest
            self.known_since, self.not_before = sent, earliest
            return "next" if over else "same"
        # The lowest number is right: responses overtake each other, and the Hub's
        # servers may disagree. Every bound holds, so the tightest one does, too.
        self.left = min(self.left, quota.remaining)
        self.ends = min(self.ends, latest)
        self.not_before = max(self.not_before, earliest)
        return "same"

    def mark_used_up(self, until: float) -> None:
        """Record a 429: no calls are left until the given time."""
        self.left, self.ends = 0, until

    def available(self, in_flight: int, *, reserve: float = 0.0) -> int | None:
        """Return how many more calls may be sent now; None if nothing is known.

        `left` may or may not include the calls in flight already, so all of them are
        subtracted.

        Args:
            in_flight: Number of calls in flight.
            reserve: Share of the whole window to keep unused.
        """
        if self.left is None:
            return None
        kept = math.ceil(reserve * self.limit) if reserve and self.limit else 0
        return self.left - in_flight - kept
