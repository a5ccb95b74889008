"""Reads the next page of a listing while the last one is used.

At most one page is read ahead, as a call like any other: it asks for the quota, keeps
its time limits and is retried. It ends by itself, whether it is asked for or not, and
then holds no connection. So a listing that is left open half-way keeps nothing but the
records of one page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["ReadAhead"]

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """The pages of a listing, one of them read ahead when `begin` says so.

    It is a context manager: at its end, what is being read ahead is cancelled.
    """

    __slots__ = ("_pages", "_reading")

    def __init__(self, pages: AsyncGenerator[T, None]) -> None:
        """Take the generator of the pages, which nothing else may use or close."""
        self._pages = pages
        self._reading: asyncio.Task[tuple[T | None, Exception | None]] | None = None

    def begin(self) -> None:
        """Begin to read the next page, if that has not begun."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def next(self) -> T | None:
        """Return the next page; None after the last one.

        Raises:
            SpacesError: It could not be read, now or ahead.
        """
        reading, self._reading = self._reading, None
        if reading is None:
            return await anext(self._pages, None)
        # A cancel goes on to the task, and comes back when it has ended.
        page, error = await reading
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        return page

    async def _read(self) -> tuple[T | None, Exception | None]:
        # As many turns as Python needs to close a generator that a loop has left: who
        # leaves a listing without waiting for anything causes no request.
        for _ in range(2):
            await asyncio.sleep(0)
        try:
            return await anext(self._pages, None), None
        except Exception as error:  # noqa: BLE001  (raised when the page is asked for)
            return None, error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            await _cancel(reading)
        await self._pages.aclose()


async def _cancel(task: asyncio.Task[object]) -> None:
    """Cancel a task and wait for its end, whatever comes in between."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
