"""Durations as people write them on the command line."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

__all__ = ["Before", "Seconds", "SleepTime", "latest"]

if TYPE_CHECKING:
    from collections.abc import Iterable

    _WholeNumber = click.ParamType[int]
    _Number = click.ParamType[float]
    _Before = click.ParamType[timedelta | datetime]
else:  # click 8.4 made it generic
    _WholeNumber = _Number = _Before = click.ParamType

_DURATION: Final = re.compile(r"(\d+)([smhd]?)")
_UNIT_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class SleepTime(_WholeNumber):
    """Seconds, "30m", "2h", "1d" or "never" on the command line."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the seconds; -1 for never."""
        if isinstance(value, int):
            return value
        try:
            return _seconds_of(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a duration, such as 3600, 30m, 2h, 1d or never.",
                param,
                ctx,
            )


class Seconds(_Number):
    """Seconds, also as "30m", "2h" or "1d"."""

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the seconds."""
        try:
            try:
                seconds = float(value)
            except ValueError:
                seconds = float(_seconds_of(str(value)))
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds) and (seconds > 0 or (self._zero and seconds == 0)):
            return seconds
        least = "0 or more" if self._zero else "more than 0"
        text = f"{value!r} is not a duration of {least}, such as 90, 30m or 2h."
        return self.fail(text, param, ctx)


class Before(_Before):
    """How long ago, such as "90d", or a date, with or without a time and a zone."""

    name = "time"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> timedelta | datetime:
        """Return the age, or the instant; without a zone it is local time."""
        match = _DURATION.fullmatch(value.lower())
        try:
            # A bare number may be seconds or days: more than one would expect may fit.
            if match and match[2] and int(match[1]):
                age = timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])
                _ = datetime.now(UTC) - age  # is in the calendar
                return age
            if not value.isdigit():
                return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            pass
        text = f"{value!r} is no age and no date, such as 90d, 12h or 2026-08-31."
        return self.fail(text, param, ctx)


def latest(times: Iterable[timedelta | datetime]) -> timedelta | datetime | None:
    """Return the time that all others are before; None if there is none."""
    given = list(times)
    if len(given) < 2:  # noqa: PLR2004  (nothing to compare)
        return given[0] if given else None
    now = datetime.now(UTC)
    return max(now - time if isinstance(time, timedelta) else time for time in given)


def _seconds_of(text: str) -> int:
    """Parse a sleep time.

    Raises:
        ValueError: It is not one.
    """
    if text.lower() in {"never", "-1"}:
        return -1
    match = _DURATION.fullmatch(text.lower())
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if seconds <= 0:
        raise ValueError(text)
    return seconds
