"""Group commit: what becomes ready while an exchange is under way goes in the next one.

An exchange with a store that syncs takes as long for a hundred records as for one. Nothing
waits on purpose: a lone record goes at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["GroupCommit"]

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Makes exchanges, one after the other, each with all that is ready."""

    def __init__(
        self, exchange: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, most: int
    ) -> None:
        """Prepare it.

        Args:
            exchange: Makes an exchange; returns the answer to each record, in order.
            most: How many records an exchange may have.
        """
        self._exchange = exchange
        self._most = most
        self._ready: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, record: T) -> R:
        """Let a record go with the next exchange, and return the answer to it.

        One that is cancelled before the exchange begins does not go. Cancelled later it
        may have been recorded; the others of its exchange are not disturbed.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._ready.append((record, answer))
        # One that is cancelled before its first turn has no `finally`.
        if self._task is None or self._task.done():
            # In the next turn of the loop, so that all that is ready in this one goes
            # with it. Eager tasks begin before this returns.
            task = asyncio.create_task(self._run())
            self._task = None if task.done() else task
        return await answer

    async def _run(self) -> None:
        group: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while group := self._next_group():
                await self._commit(group)
        except asyncio.CancelledError:
            # Only with the whole event loop: no exchange follows.
            for _, answer in (*group, *self._ready):
                answer.cancel()
            raise
        finally:
            self._task = None

    def _next_group(self) -> list[tuple[T, asyncio.Future[R]]]:
        group: list[tuple[T, asyncio.Future[R]]] = []
        while self._ready and len(group) < self._most:
            record, answer = self._ready.popleft()
            if not answer.done():
                group.append((record, answer))
        return group

    async def _commit(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        waiting = [answer for _, answer in group]
        try:
            found = await self._exchange([record for record, _ in group])
            for answer, value in zip(waiting, found, strict=True):
                if not answer.done():
                    answer.set_result(value)
        except Exception as error:  # noqa: BLE001  (those who asked get it)
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # It need not be awaited by anything.

    async def aclose(self) -> None:
        """Wait for the exchange that is under way, also if all who asked were cancelled."""
        if self._task is not None:
            await asyncio.wait((self._task,))
