"""Ends a call at any turn of the loop, in the ways in which programs do.

All of it runs in a loop with virtual time: what happens in which turn is the same in
every run, and waits of minutes take none.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import spaces_async as sa
from spaces_async.testing import FakeHub

HOWS: Final = ("cancel", "timeout", "group", "again")
"""`task.cancel()`; `asyncio.timeout`; a sibling in a TaskGroup that fails; a cancel in
each turn until it has ended, as anyio does."""

MOST_TURNS: Final = 2000

Do = Callable[[], Awaitable[Any]]


class SiblingError(Exception):
    """What another task of the group dies of."""


async def turn() -> None:
    """Let the loop turn once; where all wait for the time, let that go on."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(3):
        await asyncio.sleep(0)
        if loop._ready:
            return
    timers = [timer._when for timer in loop._scheduled if not timer._cancelled]
    if timers:
        await asyncio.sleep(max(0.0, min(timers) - loop.time()))


class Cut:
    """A call that is going to be ended."""

    def __init__(self, do: Do, how: str) -> None:
        self._how = how
        self._scope = asyncio.timeout(None)
        self._sibling: asyncio.Future[None] = asyncio.Future()
        ways = {"timeout": self._timed, "group": self._grouped}
        way = ways.get(how, self._plain)
        self.task: asyncio.Task[None] = asyncio.create_task(way(do))

    async def _plain(self, do: Do) -> None:
        await do()

    async def _timed(self, do: Do) -> None:
        async with self._scope:
            await do()

    async def _grouped(self, do: Do) -> None:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(self._plain(do))
            await asyncio.wait(
                (call, self._sibling), return_when=asyncio.FIRST_COMPLETED
            )
            if self._sibling.done():
                self._sibling.result()

    async def end(self) -> None:
        """End it now, and wait until it has ended."""
        if self._how == "timeout" and self._scope.when() is None:
            # Not before the first turn, in which the block is entered, nor after its end.
            await asyncio.sleep(0)
            with contextlib.suppress(RuntimeError):
                self._scope.reschedule(asyncio.get_running_loop().time())
        elif self._how == "group":
            self._sibling.set_exception(SiblingError())
            self._sibling.exception()
        elif self._how in {"cancel", "again"}:
            self.task.cancel()
        while not self.task.done():
            await turn()
            if self._how == "again":
                self.task.cancel()
        self._check()

    def _check(self) -> None:
        """It was ended as it should be, or came to its end in the same turn."""
        if self.task.cancelled():
            assert self._how in {"cancel", "again"}
            return
        error = self.task.exception()
        if isinstance(error, BaseExceptionGroup):
            assert self._how == "group"
            assert error.split(SiblingError)[1] is None
        elif error is not None:
            assert self._how == "timeout"
            assert type(error) is TimeoutError


async def cut(do: Do, how: str, turns: int) -> bool:
    """Start something, end it after so many turns; whether it was over before."""
    made = Cut(do, how)
    for _ in range(turns):
        if made.task.done():
            break
        await turn()
    if made.task.done():
        await made.task
        return True
    await made.end()
    return False


def open_files() -> int:
    """Return how many descriptors are open; 0 where nobody can tell."""
    return len([*Path("/proc/self/fd").iterdir()]) if sys.platform == "linux" else 0


def hub_tasks() -> set[asyncio.Task[Any]]:
    """Tasks of the FakeHub's server, one or two for each connection that is open."""
    return {
        task
        for task in asyncio.all_tasks()
        if "RequestHandler" in repr(task) or "_accept_connection" in repr(task)
    }


async def nothing_is_left(
    hub: FakeHub, client: sa.SpacesClient, before: set[asyncio.Task[Any]]
) -> None:
    """No task, connection or place is held, and the next call works."""
    left = asyncio.all_tasks() - before - hub_tasks()
    assert not left, left
    session = client._session
    connector: Any = session.shared.transport._session.connector  # type: ignore[union-attr]
    assert not connector._acquired
    assert session.shared.places.in_use == 0
    # The Hub learns of a closed connection a turn later.
    for _ in range(20):
        if not hub.in_flight:
            break
        await asyncio.sleep(0)
    assert not hub.in_flight
    async with asyncio.timeout(400):
        await client.lifecycle.get_runtime("acme/demo")


async def governor_opens(client: sa.SpacesClient) -> None:
    """Once the window is over, nothing is known to be under way or to wait."""
    await asyncio.sleep(4000)
    session = client._session
    assert session.shared.account(session._credentials.known).governor.idle
