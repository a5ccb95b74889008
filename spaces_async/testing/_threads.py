"""What lets a Hub run in a thread of its own while a test uses it from another one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from spaces_async._clock import Clock

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["HubClock", "HubThread", "SnapshotDict", "guarded", "wake"]

_STOP_SECONDS = 10.0

_P = ParamSpec("_P")
_R = TypeVar("_R")
_K = TypeVar("_K")
_V = TypeVar("_V")


class _Guarded(Protocol):
    @property
    def lock(self) -> AbstractContextManager[Any]: ...


_Self = TypeVar("_Self", bound=_Guarded)


def guarded(
    method: Callable[Concatenate[_Self, _P], _R],
) -> Callable[Concatenate[_Self, _P], _R]:
    """Let a method hold the lock of its object while it runs."""

    @wraps(method)
    def locked(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


class SnapshotDict(dict[_K, _V]):
    """A dict that another thread may change while it is iterated over.

    Iteration, `keys`, `values` and `items` show the entries of that moment.
    """

    def copy(self) -> dict[_K, _V]:
        """Return a plain dict with the entries of this moment."""
        while True:
            # The list is made in one step, unless the garbage collector comes between.
            with contextlib.suppress(RuntimeError):
                return dict(list(super().items()))

    def __iter__(self) -> Iterator[_K]:
        return iter(self.copy())

    def keys(self) -> dict_keys[_K, _V]:
        """Return the keys of this moment."""
        return self.copy().keys()

    def values(self) -> dict_values[_K, _V]:
        """Return the values of this moment."""
        return self.copy().values()

    def items(self) -> dict_items[_K, _V]:
        """Return the entries of this moment."""
        return self.copy().items()


class HubClock(Clock):
    """The clock of the loop that the Hub runs in, readable from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the time from this loop."""
        self._loop = loop

    def monotonic(self) -> float:
        """Return the time of the Hub's loop, or of the running one before a start."""
        return super().monotonic() if self._loop is None else self._loop.time()


def wake(waiter: asyncio.Future[None]) -> None:
    """Complete a future of any loop from any thread."""

    def complete() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop = waiter.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        complete()
        return
    # Where the loop is closed, no task waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(complete)


class HubThread:
    """A thread with an event loop that runs a server until `stop`.

    Attributes:
        loop: Its event loop.
        ended: Done when the thread has closed the server and its loop.
    """

    def __init__(self) -> None:
        # A selector loop whatever the policy of the test says: the policy may be one
        # for virtual time.
        self.loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ending = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(
        self, start: Callable[[], Awaitable[Any]], stop: Callable[[], Awaitable[None]]
    ) -> None:
        """Run `start` in the thread, and `stop` when the thread is asked to end."""

        async def serve() -> None:
            try:
                await start()
                await self._ending.wait()
            finally:
                await stop()

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                    runner.run(serve())
            except BaseException as error:  # noqa: BLE001 - `join` raises it
                self.ended.set_exception(error)
            else:
                self.ended.set_result(None)

        # A daemon, so that not even a Hub that was never closed keeps the process.
        self._thread = threading.Thread(target=run, name="FakeHub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self.loop.call_soon_threadsafe(self._ending.set)

    def join(self) -> None:
        """Wait until the thread has ended, and raise what ended it too early.

        Raises:
            RuntimeError: The Hub did not stop within ten seconds.
        """
        try:
            self.ended.result(_STOP_SECONDS)
            if self._thread is not None:
                self._thread.join(_STOP_SECONDS)
        except concurrent.futures.TimeoutError:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.loop.stop)
            raise RuntimeError(
                f"FakeHub did not stop within {_STOP_SECONDS:g} seconds"
            ) from None
