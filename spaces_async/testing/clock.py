"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spaces_async._clock import Clock
from spaces_async.testing._threads import guarded, wake

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["ManualClock"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
# How many loop iterations an automatic clock allows before it skips a wait. A response
# that is already on its way through the socket should arrive before the timeout.
_ITERATIONS_BEFORE_SKIP = 20


class ManualClock(Clock):
    """A clock that stands still until a test moves it forward.

    It may be moved and read from any thread, and sleepers of several loops may share it.

    Attributes:
        slept: The durations passed to `sleep`, in order.
        waited: The limits passed to `wait_for`, in order.
    """

    def __init__(self, start: datetime | None = None, *, auto: bool = False) -> None:
        """Create a clock.

        Args:
            start: The first value of `utcnow`; None is 2026-01-01 00:00 UTC.
            auto: Let each sleep move the clock forward, one deadline after another, up
                to its own. Waits then take no real time.
        """
        self.slept: list[float] = []
        self.waited: list[float] = []
        self._start = start or _START
        self._auto = auto
        self._now = 0.0
        self._count = 0
        self._lock = threading.RLock()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that guards the list of sleepers."""
        return self._lock

    @property
    def auto(self) -> bool:
        """Whether a sleep moves the clock forward by itself."""
        return self._auto

    @property
    def sleeping(self) -> int:
        """Number of sleeps and limited waits in progress."""
        return len(self._sleepers)

    def monotonic(self) -> float:
        """Return the seconds that the clock has moved since it was created."""
        return self._now

    def utcnow(self) -> datetime:
        """Return the start plus the seconds that the clock has moved."""
        return self._start + timedelta(seconds=self._now)

    def advance(self, seconds: float) -> None:
        """Move the clock forward and wake every sleeper that is due, in order.

        The sleepers run in the next iteration of the loop, not during this call.

        Args:
            seconds: Seconds to move forward; at least 0.

        Raises:
            ValueError: The number is negative.
        """
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, not {seconds}")
        with self._lock:
            self._advance_to(self._now + seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved so far; at least one loop iteration."""
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = self._timer(seconds)
        try:
            if self._auto:
                await asyncio.sleep(0)
                await self._drive(timer, timer)
            await timer
        finally:
            self._forget(timer)

    async def wait_for(
        self, waiter: asyncio.Future[None], seconds: float | None
    ) -> None:
        """Wait until the future is done or the clock has moved so far."""
        if seconds is None:
            await asyncio.wait((waiter,))
            return
        self.waited.append(seconds)
        if waiter.done():
            return
        timer = self._timer(max(0.0, seconds))
        try:
            if self._auto:
                for _ in range(_ITERATIONS_BEFORE_SKIP):
                    await asyncio.sleep(0)
                    if waiter.done():
                        return
                await self._drive(timer, waiter)
            await asyncio.wait((waiter, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._forget(timer)

    async def wait_for_sleepers(self, count: int = 1) -> None:
        """Run the loop until at least `count` sleepers wait for this clock."""
        while self.sleeping < count:  # noqa: ASYNC110 - only for tests: no event exists
            await asyncio.sleep(0)

    async def _drive(
        self, timer: asyncio.Future[None], waiter: asyncio.Future[None]
    ) -> None:
        """Move from deadline to deadline, so that each sleeper wakes on time."""
        while not (timer.done() or waiter.done()):
            self._advance_to_next()
            await asyncio.sleep(0)

    @guarded
    def _advance_to_next(self) -> None:
        # Another loop may have woken the last sleeper; this one hears of it soon.
        if self._sleepers:
            self._advance_to(max(self._now, self._sleepers[0][0]))

    @guarded
    def _timer(self, seconds: float) -> asyncio.Future[None]:
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, timer))
        return timer

    @guarded
    def _forget(self, timer: asyncio.Future[None]) -> None:
        """Remove a sleeper: a cancelled one must not be woken later."""
        left = [entry for entry in self._sleepers if entry[2] is not timer]
        if len(left) != len(self._sleepers):
            heapq.heapify(left)
            self._sleepers = left
        timer.cancel()

    @guarded
    def _advance_to(self, target: float) -> None:
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, timer = heapq.heappop(self._sleepers)
            self._now = max(self._now, deadline)
            wake(timer)
        self._now = max(self._now, target)
