"""Resuming a log without repeated lines. Pure.

The Hub does not number its log events, and replays its buffer on every connection. So
the filter remembers the last lines, in the order in which they arrived. After a
reconnect, each of them is skipped once: a line that was seen twice is skipped twice.

Older lines, which the filter has forgotten or which `tail` had left out, are recognised
by their time: they are older than almost all lines that it remembers. "Almost all",
because a single line may have any time: one replica's clock may be wrong, and some
programs write "never" as "0001-01-01T00:00:00Z". When in doubt, a line counts as new:
a line that comes twice is better than one that is lost.

For example, "a" at 10:00, "b" at 10:05 and "c" at 2090 were seen. The replay sends "a",
"b", "c", and "d" at 10:06: "a", "b" and "c" are skipped, "d" is new.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

MAX_REMEMBERED_LINES: Final = 10_000
"""More than the Hub keeps of a log, as far as is known; about 1.5 MB."""

_OUTLIERS: Final = 0.1
"""Share of the remembered lines whose times may be too early."""

_NEW_LINES_AFTER_REPLAY: Final = 100
"""After so many new lines, what comes is no replay any more."""


class ReplayFilter:
    """Remembers the last lines of a log, and recognises them when they are replayed."""

    def __init__(self) -> None:
        # Hashes, because the lines themselves may be large.
        self._recent: deque[tuple[datetime | None, int]] = deque(
            maxlen=MAX_REMEMBERED_LINES
        )
        self._to_skip: Counter[int] = Counter()
        self._old_before: datetime | None = None
        self._last_time: datetime | None = None
        self._new_lines = 0

    def reconnected(self) -> None:
        """Record a reconnect: the next lines may be a replay."""
        self._to_skip = Counter(line for _, line in self._recent)
        times = sorted(time for time, _ in self._recent if time is not None)
        self._old_before = times[int(len(times) * _OUTLIERS)] if times else None
        self._last_time = None
        self._new_lines = 0

    def is_new(self, timestamp: datetime | None, text: str) -> bool:
        """Return whether a line is new, and remember it.

        Args:
            timestamp: When it was written; None if unknown. Then the line is as old as
                the line before it.
            text: The line.
        """
        self._last_time = timestamp or self._last_time
        line = hash((timestamp, text))
        if self._to_skip:
            if line in self._to_skip:
                self._skip(line)
                return False
            if self._is_old(self._last_time):
                return False
            self._new_lines += 1
            if self._new_lines >= _NEW_LINES_AFTER_REPLAY:
                self._to_skip.clear()
        self._recent.append((timestamp, line))
        return True

    def _skip(self, line: int) -> None:
        self._to_skip[line] -= 1
        if not self._to_skip[line]:
            del self._to_skip[line]

    def _is_old(self, time: datetime | None) -> bool:
        return (
            time is not None
            and self._old_before is not None
            and time < self._old_before
        )
