"""The parts of a bulk stream, each with one job: outcomes, the end, the workers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast
from weakref import WeakMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable

    from spaces_async._clock import Clock
    from spaces_async.bulk.report import BulkReport, Outcome, StopReason

T = TypeVar("T")
P = ParamSpec("P")


def weakly(method: Callable[P, T]) -> Callable[P, T]:
    """Return what calls a method without keeping its object alive.

    Whoever calls it is a part of the object, or works for it, so the object is there.
    """
    found = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return cast("Callable[P, T]", found())(*args, **kwargs)

    return call


class OutcomeBuffer(Generic[T]):
    """Outcomes on their way from the workers to the consumer.

    A consumer that is slower than the workers slows them down: they wait while as many
    outcomes lie here as the buffer holds. Where only the report is wanted, nothing lies
    here, and the consumer is not woken for each outcome.

    Attributes:
        outcomes: The outcomes, the oldest one first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._is_wanted = True
        self._unwanted = 0
        self.outcomes: deque[Outcome[T]] = deque()
        self._consumers: set[asyncio.Future[None]] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_waking = False

    @property
    def is_full(self) -> bool:
        """Whether a worker has to wait before it takes the next Space."""
        return len(self.outcomes) >= self._size or self._unwanted >= self._size

    def drop(self) -> None:
        """Take no outcomes any more: there is no consumer but for the end."""
        self._is_wanted = False

    def put(self, outcome: Outcome[T]) -> None:
        """Add an outcome; there is always room for one that is finished."""
        if not self._is_wanted:
            self._unwanted += 1
            return
        self.outcomes.append(outcome)
        if self._consumers:
            self.wake()

    def put_all(self, outcomes: Iterable[Outcome[T]]) -> None:
        """Add the outcomes of the Spaces that are left."""
        if self._is_wanted:
            self.outcomes.extend(outcomes)
        self.wake()

    def take(self) -> Outcome[T]:
        """Take the oldest outcome out."""
        outcome = self.outcomes.popleft()
        if self._waiting:
            self._wake_one()
        return outcome

    async def has_room(self) -> None:
        """Wait until there is room for the next one."""
        if self._unwanted:
            # A function that never waits must not keep the event loop for itself.
            self._unwanted = 0
            await asyncio.sleep(0)
            return
        while self.is_full:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                else:
                    # Woken and cancelled at the same time.
                    self._is_waking = False
                    self._wake_one()
                raise
            self._is_waking = False
        self._wake_one()

    def _wake_one(self) -> None:
        """Wake one worker if there is room; it wakes the next one.

        A worker whose calls take no time fills the buffer alone. Others that are woken
        with it would find it full again.
        """
        while self._waiting and not self._is_waking and not self.is_full:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else its worker is cancelled
                self._is_waking = True
                waiter.set_result(None)

    async def has_changed(self) -> None:
        """Wait for the next outcome, or for the end of the last worker."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._consumers.add(waiter)
        try:
            await waiter
        finally:
            self._consumers.discard(waiter)

    def wake(self) -> None:
        """Wake the consumer: there is an outcome, or the last worker has ended."""
        while self._consumers:
            waiter = self._consumers.pop()
            if not waiter.done():
                waiter.set_result(None)


class StopSignal:
    """Why a bulk ends early, if it does. The first reason counts.

    Attributes:
        is_set: Whether nothing new may be started.
        at_once: Whether also what is begun goes no further than the request in flight.
    """

    def __init__(self, report: BulkReport[Any], on_stop: Callable[[], None]) -> None:
        self.is_set = False
        self.at_once = False
        self._report = report
        self._on_stop = on_stop

    @property
    def reason(self) -> StopReason | None:
        """Why it ends; None if it goes on."""
        return self._report.stopped_by

    def set(self, reason: StopReason) -> None:
        """End the bulk: what is in flight is finished, nothing new is started."""
        if not self.is_set:
            self.is_set = True
            self._report.stopped_by = reason
        self._on_stop()


class WorkerPool:
    """The tasks of a bulk: its workers, and a timer for its deadline."""

    def __init__(self, clock: Clock, on_last: Callable[[], None]) -> None:
        self._clock = clock
        self._on_last = on_last
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self.working = 0

    def start(self, count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start so many workers, or more of them."""
        self.working += count
        for _ in range(count):
            task = asyncio.create_task(work())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # One that is cancelled before its first turn runs no `finally` of its own.
        self._tasks.discard(task)
        self.working -= 1
        self._on_last()

    def cancel_all_but(self, busy: Collection[asyncio.Task[Any] | None]) -> None:
        """Cancel the workers, except for some that end by themselves."""
        for task in tuple(self._tasks):
            if task not in busy:
                task.cancel()

    def expire(self, seconds: float, on_deadline: Callable[[], None]) -> None:
        """Cancel the workers after so many seconds, if they still work then."""
        self._timer = asyncio.create_task(self._expire(seconds, on_deadline))

    async def _expire(self, seconds: float, on_deadline: Callable[[], None]) -> None:
        await self._clock.sleep(seconds)
        if self.working:
            on_deadline()
            for task in tuple(self._tasks):
                task.cancel()

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end."""
        # A function of the user's that does not let itself be cancelled may be done, and
        # its Space be waited for: that is one task more.
        while tasks := [t for t in (*self._tasks, self._timer) if t and not t.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
