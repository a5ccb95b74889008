"""How the shell writes an instant: date, time, zone and age, everywhere the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spaces_async.cli._output import TIME_UNITS, human_seconds
from spaces_async.cli._text import local_time

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["age", "clock_time", "short_age", "when"]

_DAYS_IN_YEAR = 365


def when(
    instant: datetime, now: datetime | None = None, zone: tzinfo | None = None
) -> str:
    """Return an instant for people: "2026-11-26 23:05 CET (2h ago)".

    Args:
        instant: The instant; without a zone it is UTC.
        now: The time now; None takes that of this machine.
        zone: The zone to write it in; None is the local one.
    """
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    shown = local_time(instant, zone)
    return f"{shown:%Y-%m-%d %H:%M} {_zone(shown)} ({age(instant, now)})"


def clock_time(instant: datetime, zone: tzinfo | None = None) -> str:
    """Return the time of a day that is near: "23:05:41 CET"."""
    shown = local_time(instant, zone)
    return f"{shown:%H:%M:%S} {_zone(shown)}"


def age(instant: datetime, now: datetime | None = None) -> str:
    """Return how long ago an instant was, or how far off it is: "2h ago", "in 3m 20s"."""
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    if abs(seconds) < 1:
        return "now"
    if seconds > 0:
        return f"{short_age(seconds)} ago"
    # What is still to come is waited for, so it is told more exactly.
    return f"in {human_seconds(-seconds)}"


def short_age(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: "59s", "3h", "2d", "1y"."""
    whole = int(seconds)
    for size, unit in TIME_UNITS:
        if whole >= size:
            count = whole // size
            if unit == "d" and count >= _DAYS_IN_YEAR:
                return f"{count // _DAYS_IN_YEAR}y"
            return f"{count}{unit}"
    return "0s"


def _zone(shown: datetime) -> str:
    # On some machines a zone has no name, and then its offset does.
    return shown.tzname() or f"{shown:%z}" or "UTC"
