"""Resuming a log without repeated lines. Pure.

The Hub does not number its log events, and replays its buffer on every connection. So
lines that were already seen are recognised by timestamp and text. After a reconnect,
lines that are much older than the newest line seen are skipped. Lines close to it are
compared one by one: a line that was seen twice is skipped twice.

For example, "a" at 10:00 and "b" at 10:05 were seen. The replay sends both, and "c" at
10:05: "a" and "b" are skipped, "c" is new.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Final

_OVERLAP: Final = timedelta(seconds=10)
"""How far back lines are compared: replicas send lines slightly out of order."""


class ReplayFilter:
    """Remembers the lines of a log, and recognises them when they are replayed."""

    def __init__(self) -> None:
        self._oldest: datetime | None = None
        self._newest: datetime | None = None
        self._recent: deque[tuple[datetime, str]] = deque()
        self._untimed = 0
        self._to_skip: Counter[tuple[datetime, str]] = Counter()
        self._untimed_to_skip = 0
        self._replay_until: datetime | None = None

    def reconnected(self) -> None:
        """Record a reconnect: the next lines may be a replay."""
        self._replay_until = self._newest
        self._to_skip = Counter(self._recent)
        self._untimed_to_skip = self._untimed

    def is_new(self, timestamp: datetime | None, text: str) -> bool:
        """Return whether a line is new, and remember it.

        Args:
            timestamp: When it was written; None if unknown. Lines without a timestamp
                are recognised by their number.
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
            # A line that `tail` had left out of the first connection.
            if self._oldest is not None and timestamp < self._oldest:
                return False
            # A line that was seen too long ago to be compared.
            if timestamp < _overlap_start(self._replay_until):
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
        oldest = _overlap_start(newest)
        while self._recent[0][0] < oldest:
            self._recent.popleft()


def _overlap_start(instant: datetime) -> datetime:
    try:
        return instant - _OVERLAP
    except OverflowError:  # some programs write "never" as "0001-01-01T00:00:00Z"
        return instant
