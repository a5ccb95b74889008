"""The writes that ended a moment ago. Pure.

The Hub stamps some keys with the time of their last write, to about a second. That time
proves nothing about a write that followed another write of the same key immediately.
"""

from __future__ import annotations

from typing import Final

_MOMENT_SECONDS: Final = 5.0
"""Longer than the Hub's clock and the local one can be apart."""


class RecentWrites:
    """The writes of one token that ended a moment ago, successful or not."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str], float] = {}

    def holds(self, what: tuple[str, str], now: float) -> bool:
        """Return whether it was written a moment ago, and forget older writes."""
        self._forget(now)
        return what in self._ended

    def any(self, now: float) -> bool:
        """Return whether anything was written a moment ago."""
        self._forget(now)
        return bool(self._ended)

    def _forget(self, now: float) -> None:
        while self._ended:
            oldest = next(iter(self._ended))
            if now - self._ended[oldest] <= _MOMENT_SECONDS:
                break
            del self._ended[oldest]

    def note(self, what: tuple[str, str], now: float) -> None:
        """Note that a write of it has ended."""
        self._ended.pop(what, None)
        self._ended[what] = now
