"""The alarms of all exchanges of a client, with one timer of the event loop.

Nearly every exchange ends long before its limits. A timer for each of them would cost as
much as the rest of the exchange does in this package.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Final, Self

_NEVER: Final = math.inf


class Alarm:
    """Something that is done at an instant of the event loop."""

    __slots__ = ("at",)

    at: float

    def ring(self) -> None:
        """Do it. Must not raise."""
        raise NotImplementedError

    def __deepcopy__(self, _memo: object) -> Self:
        # aioresponses, with which users test, copies what a request is made with. A copy
        # would have half of an event loop.
        return self


class Alarms:
    """The alarms that are set. The timer is for the earliest one, or for an earlier one.

    So an alarm that is dropped costs nothing: the timer finds that it has nothing to do.
    """

    __slots__ = ("_context", "_set", "_timer", "_timer_at")

    def __init__(self) -> None:
        # What an alarm begins belongs to no task, least of all to the one that happened
        # to start the timer: its variables count the requests of a Space of a bulk.
        self._context = Context()
        self._set: set[Alarm] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER

    def set(self, alarm: Alarm, at: float) -> None:
        """Set an alarm to an instant of the running event loop."""
        alarm.at = at
        self._set.add(alarm)
        if at < self._timer_at:
            self._start_timer(at)

    def drop(self, alarm: Alarm) -> None:
        """Drop an alarm, whether it has rung or not."""
        self._set.discard(alarm)

    def _start_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(at, self._ring, context=self._context)
        self._timer_at = at

    def _ring(self) -> None:
        now, self._timer, self._timer_at = self._timer_at, None, _NEVER
        due = [alarm for alarm in self._set if alarm.at <= now]
        self._set.difference_update(due)
        for alarm in due:
            alarm.ring()
        earliest = min((alarm.at for alarm in self._set), default=_NEVER)
        if earliest < self._timer_at:
            self._start_timer(earliest)
