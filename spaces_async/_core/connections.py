"""Places for the requests in flight; bulk work leaves some of them to other calls."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

__all__ = ["Places"]


class Places:
    """A place for each request that may be in flight at a time, first come first served.

    Bulk work may have only some of them, so a web request does not queue behind the
    bulk's requests. A connection cannot be shared, so with a single place both kinds
    take turns.

    No call waits while there is a place that it may have: a call that ends hands its
    place to the first one that may have it. So a call that finds a free place does not
    jump the queue.

    Attributes:
        total: How many places there are.
        in_use: How many are taken.
    """

    __slots__ = (
        "_bulk_in_use",
        "_came",
        "_most_of_bulk",
        "_waiting",
        "in_use",
        "total",
    )

    def __init__(self, total: int, *, reserve: float) -> None:
        """Make the places.

        Args:
            total: How many there are.
            reserve: Share that bulk work leaves free, rounded up.
        """
        self.total = total
        self.in_use = 0
        self._bulk_in_use = 0
        self._most_of_bulk = max(1, total - math.ceil(reserve * total))
        # Calls that wait, by `background`: a future to resolve, and when each came.
        self._waiting: dict[bool, OrderedDict[asyncio.Future[None], int]] = {
            False: OrderedDict(),
            True: OrderedDict(),
        }
        self._came = 0

    def try_take(self, *, background: bool) -> bool:
        """Take a place if one is free; return whether it was.

        Args:
            background: Whether it is for bulk work.
        """
        if self.in_use >= self.total:
            return False
        if background:
            if self._bulk_in_use >= self._most_of_bulk:
                return False
            self._bulk_in_use += 1
        self.in_use += 1
        return True

    async def take(self, *, background: bool) -> None:
        """Take a place, as soon as one is free. Cancelling takes none."""
        if self.try_take(background=background):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._came += 1
        self._waiting[background][waiter] = self._came
        try:
            await waiter
        except BaseException:
            self._waiting[background].pop(waiter, None)
            if not waiter.cancelled() and waiter.done():
                # It was given a place at the instant at which it was cancelled.
                self.give_back(background=background)
            raise

    def give_back(self, *, background: bool) -> None:
        """Give a place back."""
        self.in_use -= 1
        if background:
            self._bulk_in_use -= 1
        if self._waiting[False] or self._waiting[True]:
            self._hand_on()

    def _hand_on(self) -> None:
        """Give the free places to the first calls that may have one."""
        while True:
            for queue in self._waiting.values():
                # A cancelled call may not have got round to leaving the queue.
                while queue and next(iter(queue)).done():
                    queue.popitem(last=False)
            kinds = [kind for kind, queue in self._waiting.items() if queue]
            kinds.sort(key=lambda kind: next(iter(self._waiting[kind].values())))
            for kind in kinds:
                if self.try_take(background=kind):
                    waiter, _ = self._waiting[kind].popitem(last=False)
                    waiter.set_result(None)
                    break
            else:
                return
