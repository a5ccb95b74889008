"""Time as the package sees it: what tests replace."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

_EARLY: Final = 1e-6
"""A loop may fire a timer early by the resolution of its clock. Who looks at the clock
afterwards would wait again, for nothing; where time is virtual, for ever."""


class Clock:
    """The event loop's clock. Waits are measured with it, never with wall time.

    A loop with virtual time therefore needs nothing else; a subclass can stand in
    where the loop runs in real time (see `spaces_async.testing.ManualClock`).
    """

    def monotonic(self) -> float:
        """Return seconds since some fixed point, in the running loop's time."""
        return asyncio.get_running_loop().time()

    def utcnow(self) -> datetime:
        """Return the wall clock's time; only for instants that a server names."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds; at least one turn of the loop."""
        await asyncio.sleep(max(0.0, seconds))

    async def wait_for(
        self, waiter: asyncio.Future[None], seconds: float | None
    ) -> None:
        """Wait until the future is done or the seconds are over, whichever is first.

        The future is not cancelled. None means no limit.
        """
        limit = None if seconds is None else seconds + _EARLY
        await asyncio.wait((waiter,), timeout=limit)
