"""Those who wait for their turn, in the order in which they came."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class WaiterQueue:
    """Waiters in the order in which they came."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: asyncio.Future[None]) -> None:
        self._waiters[waiter] = None

    def discard(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.pop(waiter, None)

    def wake(self, count: int) -> int:
        """Wake the first so many; return how many there were."""
        woken = 0
        while woken < count and self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                woken += 1
        return woken
