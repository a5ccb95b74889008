"""A queue of calls that wait for their turn."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class WaiterQueue(OrderedDict["asyncio.Future[None]", None]):
    """Waiting calls in the order in which they came.

    A waiter is a future that is resolved to wake its call. Any waiter can leave the
    queue at any time, in constant time, because its call may be cancelled.
    """

    def add(self, waiter: asyncio.Future[None]) -> None:
        self[waiter] = None

    def discard(self, waiter: asyncio.Future[None]) -> None:
        self.pop(waiter, None)

    def wake(self, count: int) -> int:
        """Wake up to `count` waiters from the front; return how many were woken."""
        woken = 0
        while woken < count and self:
            waiter, _ = self.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                woken += 1
        return woken

    def wake_all(self) -> None:
        """Wake every waiter."""
        self.wake(len(self))
