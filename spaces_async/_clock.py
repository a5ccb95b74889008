"""The package's only source of time. Tests replace it."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from datetime import UTC, datetime
from typing import Final

_TIMER_MARGIN_SECONDS: Final = 1e-6
"""An event loop may fire a timer early by the resolution of its clock. A caller that
then checks the clock would wait again for nothing; in virtual time, forever."""

TIMER_SLACK_SECONDS: Final = 0.001
"""Two instants that are this close are the same: timers may fire a little early."""


class Clock:
    """The event loop's clock. Waits are measured with it, never with wall-clock time.

    With a virtual-time loop, nothing else is needed. With a real-time loop, tests use a
    subclass (see `spaces_async.testing.ManualClock`).
    """

    def monotonic(self) -> float:
        """Return the running loop's time: seconds since an arbitrary fixed point."""
        return get_running_loop().time()

    def utcnow(self) -> datetime:
        """Return the wall-clock time; only for comparison with a server's dates."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds; at least one iteration of the loop."""
        await asyncio.sleep(max(0.0, seconds))

    async def wait_for(
        self, waiter: asyncio.Future[None], seconds: float | None
    ) -> None:
        """Wait until the future is done or the time is up, whichever comes first.

        The future is not cancelled. None means no limit.
        """
        limit = None if seconds is None else seconds + _TIMER_MARGIN_SECONDS
        await asyncio.wait((waiter,), timeout=limit)
