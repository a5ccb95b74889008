"""A look at the state while the response to a write is late.

A restart acts long before a lost response is noticed: by then the Space may be RUNNING
again, which proves nothing. So its state is read once while the response is still
awaited. A Space that builds or starts then was restarted, and the response is not needed
any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spaces_async._wire.calls import Done

T = TypeVar("T")


class LateLook(Generic[T]):
    """Ends an exchange early, without an error, where a look shows the result.

    Attributes:
        seconds: When to look, after the exchange has begun.
        found: What the look showed; None if the exchange came to its own end.
    """

    __slots__ = ("_cancelling", "_look", "_looking", "_task", "found", "seconds")

    _cancelling: int
    _task: asyncio.Task[Any]

    def __init__(
        self, seconds: float, look: Callable[[], Awaitable[Done[T] | None]]
    ) -> None:
        """Prepare a look.

        Args:
            seconds: When to look, after the exchange has begun.
            look: Returns `Done` if the state shows the result.
        """
        self.seconds = seconds
        self.found: Done[T] | None = None
        self._look = look
        self._looking: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Begin to look.

        Args:
            task: The one that waits for the response. It is cancelled when the look
                shows the result.
        """
        self._task = task
        self._cancelling = task.cancelling()
        self._looking = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            self.found = await self._look()
        except SpacesError:
            return  # The response may still come.
        if self.found is not None:
            self._task.cancel()

    async def end(self, error: BaseException | None = None) -> bool:
        """End the look. Call it when the exchange has ended.

        Args:
            error: What the exchange raised.

        Returns:
            Whether the look ended the exchange. Then `error` has been dealt with.
        """
        looking, self._looking = self._looking, None
        if looking is None:
            return False
        if not looking.done():
            looking.cancel()
            await asyncio.wait((looking,))
        if self.found is None:
            return False
        ours = self._task.uncancel() <= self._cancelling
        if not isinstance(error, asyncio.CancelledError):
            self.found = None  # The response came first.
            return False
        return ours
