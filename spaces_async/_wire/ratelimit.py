"""Parser of the headers that describe the Hub's limits. Pure.

The Hub counts calls in fixed windows. Every response says how many calls are left and
when the window ends:

    RateLimit: "api";r=489;t=189
    RateLimit-Policy: "fixed window";"api";q=500;w=300

The second is not a valid structured field (RFC 9651), so both are parsed leniently:
unknown parts are ignored, as draft-ietf-httpapi-ratelimit-headers-09 requires.
"""

from __future__ import annotations

import functools
import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MAX_WAIT_SECONDS: Final = 86_400.0
"""Upper limit for every wait in a header: one day."""

_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2999

ROUNDING_SECONDS: Final = 1.0
"""`t` has whole seconds and may be rounded up or down."""

_ITEM: Final = re.compile(r'"(?P<name>[^"]*)"(?P<parameters>[^",]*)')
_PARAMETER: Final = re.compile(r";\s*([a-z]+)\s*=\s*(\d{1,15})(?![\d.eE])")
_USUAL: Final = re.compile(r'"([^",;]*)";r=(\d{1,15});t=(\d{1,15})')
"""What the Hub sends: one bucket. It is read at once."""

_WAIT_HINT: Final = re.compile(
    r"(?:try|retry) again in (?:about )?(an?|\d{1,6}) (second|minute|hour|day)",
    re.IGNORECASE,
)
_UNIT_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}


@define
class Quota:
    """One bucket as a response describes it. Nothing changes it.

    Attributes:
        bucket: Its name, such as "api".
        remaining: Calls left in the window.
        reset: Seconds until the window ends.
        limit: Calls per window; None if the response did not say.
        window: Length of the window in seconds; None if the response did not say.
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
    """Parse both headers; of several buckets, use "api", else the one with least left.

    Args:
        rate_limit: All `RateLimit` headers, joined by commas.
        policy: All `RateLimit-Policy` headers, joined by commas.

    Returns:
        None if there is no bucket with both `r` and `t`.
    """
    if not rate_limit:
        return None
    usual = _USUAL.fullmatch(rate_limit)
    if usual is not None:
        name, remaining, reset = usual[1], int(usual[2]), int(usual[3])
    else:
        buckets = [
            (name, values)
            for name, values in _items(rate_limit)
            if "r" in values and "t" in values
        ]
        if not buckets:
            return None
        name, values = min(buckets, key=lambda item: (item[0] != "api", item[1]["r"]))
        remaining, reset = values["r"], values["t"]
    limit, window = _policy_of(name, policy or "")
    return Quota(name, remaining, min(float(reset), MAX_WAIT_SECONDS), limit, window)


# Cached: the policy is the same in every response.
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
    """Parse `Retry-After`, given in seconds or as an HTTP date.

    A date is relative to the `Date` of the same response, so that a wrong clock on
    either side does not matter. Without a `Date`, it is relative to `now`.

    Returns:
        Seconds from 0 to one day; None if the header is missing or invalid.
    """
    if header is None:
        return None
    value = header.strip()
    try:
        seconds = float(value) if value.isascii() else math.nan
    except ValueError:
        until = parse_http_date(value)
        if until is None:
            return None
        since = parse_http_date(date) if date else None
        seconds = (until - (since or now)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_WAIT_SECONDS)


def parse_http_date(value: str) -> datetime | None:
    """Parse an HTTP date; None if it is invalid."""
    try:
        instant = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return instant if instant.tzinfo is not None else None


def parse_clock(value: str | None) -> datetime | None:
    """Parse the `Date` of a response; None if it cannot be the time of a clock.

    An instant at either end of the calendar overflows when it is calculated with.
    """
    instant = None if value is None else parse_http_date(value)
    if instant is None or not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        return None
    return instant


def parse_wait_hint(message: str) -> float | None:
    """Find a hint such as "Try again in about 1 hour" and return its seconds."""
    match = _WAIT_HINT.search(message)
    if match is None:
        return None
    count = 1 if match[1].lower() in {"a", "an"} else int(match[1])
    return min(count * _UNIT_SECONDS[match[2].lower()], MAX_WAIT_SECONDS)
