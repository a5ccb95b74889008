"""Taking up a log where it broke off. Pure.

The Hub numbers its log events not at all and replays its buffer to everybody who
connects. What was seen is therefore told by timestamp and text: whatever is older than
the last line seen is skipped, and of the lines around it as many as were seen.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Final

_OVERLAP: Final = timedelta(seconds=10)
"""Lines of replicas come a little out of order; so far back each one is compared."""


class Resume:
    """Remembers what was seen of a log, and skips it when it is replayed."""

    def __init__(self) -> None:
        self._oldest: datetime | None = None
        self._newest: datetime | None = None
        self._recent: deque[tuple[datetime, str]] = deque()
        self._untimed = 0
        self._to_skip: Counter[tuple[datetime, str]] = Counter()
        self._untimed_to_skip = 0
        self._replay_until: datetime | None = None

    def reconnected(self) -> None:
        """The stream was opened again: what comes now may be a replay."""
        self._replay_until = self._newest
        self._to_skip = Counter(self._recent)
        self._untimed_to_skip = self._untimed

    def is_new(self, timestamp: datetime | None, text: str) -> bool:
        """Return whether a line was not seen before, and remember it.

        Args:
            timestamp: When it was written; None if unknown, then its place counts.
            text: The line.
        """
        if timestamp is None:
            if self._untimed_to_skip:
                self._untimed_to_skip -= 1
                return False
            self._untimed += 1
            return True
        line = (timestamp, text)
        if self._to_skip[line] > 0:
            self._to_skip[line] -= 1
            return False
        if self._replay_until is not None:
            # Older than what a `tail` had left out at first, or seen long ago.
            if self._oldest is not None and timestamp < self._oldest:
                return False
            if timestamp < _before(self._replay_until):
                return False
            if timestamp > self._replay_until:
                self._replay_until = None
        self._remember(line)
        return True

    def _remember(self, line: tuple[datetime, str]) -> None:
        self._oldest = min(line[0], self._oldest or line[0])
        newest = max(line[0], self._newest or line[0])
        self._newest = newest
        self._recent.append(line)
        oldest = _before(newest)
        while self._recent[0][0] < oldest:
            self._recent.popleft()


def _before(instant: datetime) -> datetime:
    try:
        return instant - _OVERLAP
    except OverflowError:  # "0001-01-01T00:00:00Z" is how some programs write "never"
        return instant
