"""A look at the state while the response to a write is late.

A restart acts long before a lost response is noticed: by then the Space may be RUNNING
again, which proves nothing. So its state is read once while the response is still
awaited. A Space that builds or starts then was restarted, and the response is not needed
any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from spaces_async._wire.alarms import Alarm
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from spaces_async._wire.alarms import Alarms
    from spaces_async._wire.calls import Done

T = TypeVar("T")


class LateLook(Alarm, Generic[T]):
    """Ends its block early, without an error, where a look shows the result.

    Attributes:
        found: What the look showed; None if the block came to its own end.
    """

    def __init__(
        self,
        seconds: float | None,
        alarms: Alarms | None = None,
        look: Callable[[], Awaitable[Done[T] | None]] | None = None,
    ) -> None:
        """Prepare a look.

        Args:
            seconds: When to look, after the block has begun; None never looks.
            alarms: Those of the client.
            look: Returns `Done` if the state shows the result.
        """
        self.found: Done[T] | None = None
        self._seconds = seconds
        self._alarms = alarms
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    async def __aenter__(self) -> Self:
        if self._seconds is None or self._alarms is None:
            return self
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101  (a coroutine runs in a task)
        self._cancelling = self._task.cancelling()
        self._alarms.set(self, asyncio.get_running_loop().time() + self._seconds)
        return self

    def ring(self) -> None:
        """Begin to look."""
        self._looking = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        assert self._look is not None  # noqa: S101  (there is none without a time)
        try:
            self.found = await self._look()
        except SpacesError:
            return  # The response may still come.
        if self.found is not None and self._task is not None:
            self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._alarms is not None:
            self._alarms.drop(self)
        looking, self._looking = self._looking, None
        if looking is not None and not looking.done():
            looking.cancel()
            await asyncio.wait((looking,))
        if self.found is None or self._task is None:
            return False
        ours = self._task.uncancel() <= self._cancelling
        if not isinstance(error, asyncio.CancelledError):
            self.found = None  # The response came first.
            return False
        return ours
