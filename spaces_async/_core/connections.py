"""Places for the requests in flight; bulk work leaves some of them to other calls."""

from __future__ import annotations

import asyncio
import math

__all__ = ["Places"]


class Places:
    """A place for each request that may be in flight at a time, first come first served.

    Bulk work takes a place of its own kind first. There are fewer of these, so a web
    request does not queue behind the bulk's requests. A connection cannot be shared, so
    with a single place both kinds take turns.
    """

    __slots__ = ("_all", "_of_bulk", "total")

    def __init__(self, total: int, *, reserve: float) -> None:
        """Make the places.

        Args:
            total: How many there are.
            reserve: Share that bulk work leaves free, rounded up.
        """
        self.total = total
        self._all = asyncio.Semaphore(total)
        kept = math.ceil(reserve * total)
        self._of_bulk = asyncio.Semaphore(max(1, total - kept))

    @property
    def in_use(self) -> int:
        """How many are taken."""
        return self.total - self._all._value  # noqa: SLF001  (it has no other count)

    def is_busy(self, *, background: bool) -> bool:
        """Return whether a call would have to wait.

        Args:
            background: Whether it is bulk work.
        """
        return self._all.locked() or (background and self._of_bulk.locked())

    async def take(self, *, background: bool) -> None:
        """Take a place, as soon as one is free. Cancelling takes none."""
        if background:
            await self._of_bulk.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            if background:
                self._of_bulk.release()
            raise

    def give_back(self, *, background: bool) -> None:
        """Give a place back."""
        self._all.release()
        if background:
            self._of_bulk.release()
