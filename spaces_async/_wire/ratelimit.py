"""What the Hub says about its limits, and the arithmetic of a quota window.

Pure: texts and instants in, numbers out. The Hub counts calls in fixed windows and
tells on every answer how many are left and when the window ends:

    RateLimit: "api";r=489;t=189
    RateLimit-Policy: "fixed window";"api";q=500;w=300

The second is no valid structured field (RFC 9651), so both are read leniently: what
cannot be understood is ignored, as draft-ietf-httpapi-ratelimit-headers-09 demands.
"""

from __future__ import annotations

import functools
import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MAX_WAIT: Final = 86_400.0
"""Longest wait that is believed: whatever a header says, a day is enough."""

ROUNDING: Final = 1.0
"""`t` is in whole seconds and may be rounded either way."""

_ITEM: Final = re.compile(r'"(?P<name>[^"]*)"(?P<parameters>[^",]*)')
_PARAMETER: Final = re.compile(r";\s*([a-z]+)\s*=\s*(\d{1,15})(?![\d.eE])")
_HINT: Final = re.compile(
    r"(?:try|retry) again in (?:about )?(an?|\d{1,6}) (second|minute|hour|day)",
    re.IGNORECASE,
)
_UNITS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}


@frozen
class Quota:
    """One bucket as an answer describes it.

    Attributes:
        bucket: Its name, such as "api".
        remaining: Calls left in the window.
        reset: Seconds until the window ends.
        limit: Calls that a whole window has; None if the answer did not say.
        window: Length of the window in seconds; None if the answer did not say.
    """

    bucket: str
    remaining: int
    reset: float
    limit: int | None = None
    window: float | None = None


def _items(header: str) -> Iterable[tuple[str, dict[str, int]]]:
    for match in _ITEM.finditer(header):
        found = _PARAMETER.findall(match["parameters"])
        yield match["name"], {name: int(value) for name, value in found}


def parse_quota(rate_limit: str | None, policy: str | None) -> Quota | None:
    """Read both headers; of several buckets take "api", else the scarcest.

    Args:
        rate_limit: All `RateLimit` headers, joined by commas.
        policy: All `RateLimit-Policy` headers, joined by commas.

    Returns:
        None if there is no bucket with both `r` and `t`.
    """
    buckets = [
        (name, values)
        for name, values in _items(rate_limit or "")
        if "r" in values and "t" in values
    ]
    if not buckets:
        return None
    name, values = min(buckets, key=lambda item: (item[0] != "api", item[1]["r"]))
    limit, window = _policy_of(name, policy or "")
    return Quota(
        bucket=name,
        remaining=values["r"],
        reset=min(float(values["t"]), MAX_WAIT),
        limit=limit,
        window=window,
    )


# The policy is the same on every answer.
@functools.lru_cache(maxsize=64)
def _policy_of(bucket: str, policy: str) -> tuple[int | None, float | None]:
    limit = window = None
    for name, values in _items(policy):
        if name == bucket and values.get("w") and values.get("q"):
            limit, window = values["q"], float(values["w"])
    return limit, window


def parse_retry_after(
    header: str | None, *, date: str | None, now: datetime
) -> float | None:
    """Read `Retry-After`, in seconds or as an HTTP date.

    A date counts from the `Date` of the same answer, so that a clock that is wrong
    here or there does not matter; without one it counts from `now`.

    Returns:
        Seconds from 0 to a day; None if there is no header or it makes no sense.
    """
    if header is None:
        return None
    value = header.strip()
    try:
        seconds = float(value) if value.isascii() else math.nan
    except ValueError:
        until = _instant(value)
        if until is None:
            return None
        since = _instant(date) if date else None
        seconds = (until - (since or now)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_WAIT)


def _instant(value: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return instant if instant.tzinfo is not None else None


def parse_wait_hint(message: str) -> float | None:
    """Find "Try again in about 1 hour" in a message and return its seconds."""
    match = _HINT.search(message)
    if match is None:
        return None
    count = 1 if match[1].lower() in {"a", "an"} else int(match[1])
    return min(count * _UNITS[match[2].lower()], MAX_WAIT)


Standing = Literal["same", "next", "past"]
"""Which window an answer speaks of: the one that is known, a later or an earlier one."""


@define
class Window:
    """What is known of the window that runs now, on one clock.

    Attributes:
        left: Calls left as the lowest of all answers said; None is unknown.
        ends: When the window has ended for certain; None is unknown.
        limit: Calls that a whole window has; kept from window to window.
        known_since: When the first call went out that told of it.
        not_before: It ends not before that instant.
    """

    left: int | None = None
    ends: float | None = None
    limit: int | None = None
    known_since: float = -math.inf
    not_before: float = -math.inf

    def forget_if_over(self, now: float) -> bool:
        """Forget a window that has ended; return whether one did."""
        if self.ends is None or now < self.ends:
            return False
        self.left = self.ends = None
        self.known_since, self.not_before = now, -math.inf
        return True

    def note(self, quota: Quota, *, sent: float, received: float) -> Standing:
        """Take in what an answer said.

        Args:
            quota: What it said.
            sent: When its request went out.
            received: When it came.

        Returns:
            Which window it spoke of. What was said of a past one is not taken in.
        """
        if quota.limit is not None:
            self.limit = quota.limit
        over = self.forget_if_over(received)
        # Upper bound of the end: `t` was counted before `received` and may have been
        # rounded down. Lower bound: counted after `sent`, perhaps rounded up.
        latest = received + quota.reset + ROUNDING
        earliest = sent + quota.reset - ROUNDING
        if sent < self.known_since and latest < self.not_before:
            return "past"
        if self.left is None or self.ends is None or earliest > self.ends:
            # Nothing known, or this answer is from a later window.
            over = over or self.ends is not None
            self.left, self.ends = quota.remaining, latest
            self.known_since, self.not_before = sent, earliest
            return "next" if over else "same"
        # The scarcest answer is right: answers overtake each other, and the Hub's
        # machines need not agree. Every bound holds, so the least one does.
        self.left = min(self.left, quota.remaining)
        self.ends = min(self.ends, latest)
        self.not_before = max(self.not_before, earliest)
        return "same"

    def shut(self, until: float) -> None:
        """Nothing is left until the given instant: the Hub said so with a 429."""
        self.left, self.ends = 0, until

    def available(self, in_flight: int, *, reserve: float = 0.0) -> int | None:
        """Return how many more calls may go out now; None if nothing is known.

        A call under way may or may not be counted in `left` already, so all are
        taken off.

        Args:
            in_flight: Calls under way.
            reserve: Share of the whole window that is not to be touched.
        """
        if self.left is None:
            return None
        kept = math.ceil(reserve * self.limit) if self.limit else 0
        return self.left - in_flight - kept
