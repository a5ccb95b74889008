"""Fixed workers over one iterator of targets.

So many workers as calls may be under way share one iterator: memory follows their
number and not the number of Spaces, and work starts while a listing still arrives.
Every distinct target gets exactly one outcome, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from attrs import frozen

from spaces_async import _validate
from spaces_async._session import watch
from spaces_async.bulk.report import BulkReport, Outcome, OutcomeStatus, Progress
from spaces_async.bulk.selection import Selection
from spaces_async.errors import (
    AuthenticationError,
    BulkInterruptedError,
    ConfigurationError,
    SpacesError,
)
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from types import TracebackType

    from spaces_async._clock import Clock
    from spaces_async._session import Trail
    from spaces_async.bulk.operations import Operation
    from spaces_async.client import SpacesClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

Target = str | SpaceInfo | Outcome[Any]
Targets = Iterable[Target] | AsyncIterable[Target] | Selection

_REFUSED_IN_A_ROW: Final = 5
"""After so many 401s with nothing done in between, the token itself is at fault."""

_MAX_CONCURRENCY: Final = 1000


@frozen(kw_only=True)
class Limits:
    """When a bulk ends early, and how wide it runs.

    Attributes:
        concurrency: Spaces worked on at the same time.
        fail_fast: Start no further one after the first failure.
        max_failures: Start no further one after so many failures; None is no limit.
        deadline: Seconds after which what is under way is cancelled; None is none.
    """

    concurrency: int = 16
    fail_fast: bool = False
    max_failures: int | None = None
    deadline: float | None = None

    def __attrs_post_init__(self) -> None:
        _validate.whole(self.concurrency, "concurrency", most=_MAX_CONCURRENCY)
        _validate.flag(self.fail_fast, "fail_fast")
        if self.max_failures is not None:
            _validate.whole(self.max_failures, "max_failures")
        if self.deadline is not None and not self.deadline > 0:
            raise ConfigurationError(
                f"deadline must be above 0 seconds, not {self.deadline!r}"
            )

    def reached(self, failures: int) -> str | None:
        """Return which limit so many failures reach."""
        if self.fail_fast and failures:
            return "fail_fast"
        if self.max_failures is not None and failures >= self.max_failures:
            return "max_failures"
        return None


def _repo_id(target: Target) -> str:
    if isinstance(target, SpaceInfo):
        return target.id
    if isinstance(target, Outcome):
        return target.repo_id
    if isinstance(target, str):
        return target
    raise ConfigurationError(
        f"a target is an id, a SpaceInfo or an Outcome, not {type(target).__name__}"
    )


class _Source:
    """The distinct targets, one at a time, whatever they come from."""

    def __init__(self, targets: Targets, client: SpacesClient) -> None:
        self.total: int | None = None
        self._lock = asyncio.Lock()
        self._sync: Iterator[Target] | None = None
        self._async: AsyncIterator[Target] | None = None
        if isinstance(targets, str):
            raise ConfigurationError(f"targets is one text; pass a list: [{targets!r}]")
        if isinstance(targets, Selection):
            self._async = targets.resolve(client)
        elif isinstance(targets, AsyncIterable):
            self._async = aiter(targets)
        elif isinstance(targets, Iterable):
            if isinstance(targets, list | tuple | set | frozenset | dict):
                # What is complete is checked as a whole, before anything is sent.
                ids = [_repo_id(target) for target in targets]
                for repo_id in ids:
                    _validate.repo_id(repo_id)
                self.total = len(set(ids))
                targets = ids
            self._sync = iter(targets)
        else:
            raise ConfigurationError(
                f"targets must be ids, an async iterable or a Selection, not"
                f" {type(targets).__name__}"
            )

    async def next(self) -> str | None:
        """Return the next id, distinct or not; None at the end.

        Raises:
            Exception: Whatever the iterator raises.
        """
        try:
            if self._sync is not None:
                return _repo_id(next(self._sync))
            async with self._lock:
                # Whoever held the lock may have come to the end.
                if self._async is not None:
                    return _repo_id(await anext(self._async))
        except (StopIteration, StopAsyncIteration):
            self._sync = self._async = None
        return None

    def rest(self) -> Iterator[str]:
        """Yield what was given but never asked for; of an async iterable, nothing."""
        source, self._sync = self._sync, None
        try:
            for target in source or ():
                yield _repo_id(target)
        except Exception:
            logger.exception("the targets could not be read to their end")

    async def aclose(self) -> None:
        """End an async generator, so that its `finally` runs now."""
        source, self._async = self._async, None
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


class BulkStream(Generic[T]):
    """A bulk under way: an async context manager and an async iterator of outcomes.

    Outcomes come as they finish; last come those that were not attempted because the
    bulk ended early. Leaving the context cancels what is under way and waits until it
    has ended.

    Attributes:
        report: The outcomes so far; readable at any time, also after a cancel.
    """

    def __init__(
        self,
        operation: Operation[T],
        targets: Targets,
        *,
        client: SpacesClient,
        clock: Clock,
        limits: Limits,
        progress: Progress | None,
    ) -> None:
        self._operation = operation
        self._client = client
        self._clock = clock
        self._limits = limits
        self._progress = progress
        self._source = _Source(targets, client)
        self.report: BulkReport[T] = BulkReport(operation.name)
        # Finished and not yet fetched; a slow consumer slows the workers down.
        self._backlog: deque[Outcome[T]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._working = 0
        self._refused_in_a_row = 0
        self._broken: Exception | None = None
        self._started: float | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._started is not None:
            raise ConfigurationError("a bulk stream is entered once only")
        # What no call could do is told once, and not once for each Space.
        await self._client.ready()
        self._started = self._clock.monotonic()
        count = self._limits.concurrency
        if self._source.total is not None:
            count = max(1, min(count, self._source.total))
        self._working = count
        self._tasks = {asyncio.create_task(self._work()) for _ in range(count)}
        if self._limits.deadline is not None:
            self._timer = asyncio.create_task(self._expire(self._limits.deadline))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._working:
            cancelled = isinstance(error, asyncio.CancelledError)
            self._stop("cancelled" if cancelled else "left")
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        if self._started is None:
            raise ConfigurationError("use the stream in an `async with` first")
        while not self._backlog:
            if self._working:
                self._changed.clear()
                await self._changed.wait()
            elif not self._closed:
                await self._close()
            elif self._broken is not None:
                broken, self._broken = self._broken, None
                raise BulkInterruptedError(
                    f"the targets could not be read to their end: {broken}",
                    report=self.report,
                ) from broken
            else:
                raise StopAsyncIteration
        self._room.set()
        return self._backlog.popleft()

    def _stop(self, why: str) -> None:
        if self.report.stopped_by is None:
            self.report.stopped_by = why

    async def _close(self) -> None:
        """Cancel what is left, wait for its end, and complete the report.

        A web framework may cancel again in each turn of the loop until this returns,
        so the work is done in a task of its own and the cancel passed on afterwards.
        """
        if self._closed:
            return
        closing = asyncio.ensure_future(self._end())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait((closing,))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def _end(self) -> None:
        tasks = [task for task in (*self._tasks, self._timer) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.wait(tasks)
            await self._source.aclose()
        finally:
            self._closed = True
            self._backlog.extend(self.report.close(self._source.rest()))
            if self._started is not None:
                self.report.elapsed = self._clock.monotonic() - self._started

    async def _expire(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if self._working:
            self._stop("deadline")
            for task in self._tasks:
                task.cancel()

    async def _work(self) -> None:
        try:
            while (repo_id := await self._claim()) is not None:
                await self._do(repo_id)
        finally:
            self._working -= 1
            self._changed.set()

    async def _claim(self) -> str | None:
        """Take the next target that has not been taken before."""
        while self.report.stopped_by is None:
            while len(self._backlog) >= self._limits.concurrency:
                self._room.clear()
                await self._room.wait()
            try:
                repo_id = await self._source.next()
            except Exception as error:  # noqa: BLE001  (raised to the consumer)
                self._broken = error
                self._stop("targets")
                return None
            if repo_id is None or not self.report.claim(repo_id):
                if repo_id is None:
                    return None
                continue
            try:
                _validate.repo_id(repo_id)
            except ConfigurationError as error:
                self._record(Outcome(repo_id, OutcomeStatus.FAILED, error=_bare(error)))
                continue
            if self.report.stopped_by is None:
                return repo_id
        return None

    async def _do(self, repo_id: str) -> None:
        trail = watch()
        started = self._clock.monotonic()
        value: T | None = None
        error: Exception | None = None
        cancelled: asyncio.CancelledError | None = None
        try:
            value = await self._operation.call(self._client, repo_id)
            status = OutcomeStatus.DONE
        except asyncio.CancelledError as cancel:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                cancelled = cancel
                status = self._status_of_cancelled(trail)
            else:
                status = OutcomeStatus.FAILED
                error = SpacesError(f"{repo_id}: the operation cancelled itself")
        except Exception as caught:
            if not isinstance(caught, SpacesError):
                logger.debug(
                    "%s %s raised", self.report.operation, repo_id, exc_info=True
                )
            error = _bare(caught)
            unknown = isinstance(caught, SpacesError) and caught.outcome_unknown
            status = OutcomeStatus.UNKNOWN if unknown else OutcomeStatus.FAILED
        self._record(
            Outcome(
                repo_id,
                status,
                value=value,
                error=error,
                attempts=trail.sends,
                elapsed=self._clock.monotonic() - started,
                waited=trail.waited,
            )
        )
        if cancelled is not None:
            raise cancelled

    def _status_of_cancelled(self, trail: Trail) -> OutcomeStatus:
        # A callable of the user's may have done more than the trail knows.
        if trail.writes or not self._operation.request:
            return OutcomeStatus.UNKNOWN
        return OutcomeStatus.NOT_ATTEMPTED

    def _record(self, outcome: Outcome[T]) -> None:
        self.report.add(outcome)
        self._backlog.append(outcome)
        self._changed.set()
        reached = self._limits.reached(self.report.troubled)
        if reached is not None:
            self._stop(reached)
        if isinstance(outcome.error, AuthenticationError):
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= _REFUSED_IN_A_ROW:
                self._stop("authentication")
        elif outcome.ok:
            self._refused_in_a_row = 0
        if self._progress is not None:
            total = self._source.total
            try:
                self._progress(self.report.progress(outcome, total))
            except Exception:
                logger.exception("the progress callback failed; the bulk goes on")


def _bare(error: Exception) -> Exception:
    """Drop the frames that a stored exception would keep alive."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
