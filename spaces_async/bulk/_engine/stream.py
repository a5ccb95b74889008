"""Fixed workers over one iterator of targets.

So many workers as calls may be under way share one iterator: memory follows their
number and not the number of Spaces, and work starts while a listing still arrives.
Every distinct target gets exactly one outcome, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Generic, NoReturn, Self, TypeVar, get_args

from spaces_async import _validate
from spaces_async.bulk._engine.context import BulkContext, OnUnknown
from spaces_async.bulk._engine.gate import Gate
from spaces_async.bulk._engine.resolver import Resolver
from spaces_async.bulk._engine.space_run import Attempts, bare
from spaces_async.bulk._engine.targets import Limits, Source, Target, Targets
from spaces_async.bulk._journal.format import Header
from spaces_async.bulk._journal.history import JournalHistory
from spaces_async.bulk._journal.writer import to_its_end
from spaces_async.bulk.report import BulkReport, Outcome, OutcomeStatus, Progress
from spaces_async.errors import (
    AuthenticationError,
    BulkInterruptedError,
    ConfigurationError,
    JournalError,
)
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from spaces_async._clock import Clock
    from spaces_async.bulk._journal.reader import JournalPath
    from spaces_async.bulk.operations import Operation
    from spaces_async.client import SpacesClient

__all__ = ["BulkStream", "Limits", "Target", "Targets"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_WAITING: Final = 8
"""So many Spaces of one worker wait for what becomes of the next one, at most."""

_REFUSED_IN_A_ROW: Final = 5
"""After so many 401s with nothing done in between, the token itself is at fault."""


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
        targets: Targets | None,
        *,
        client: SpacesClient,
        limits: Limits,
        progress: Progress | None,
        policy: RetryPolicy,
        total: float | None,
        journal: JournalPath | None = None,
        on_unknown: OnUnknown = "verify",
    ) -> None:
        """Make a bulk; `client.bulk.stream` does.

        Args:
            operation: What to do.
            targets: Which Spaces; None are those that the journal names.
            client: Sends.
            limits: When it ends early.
            progress: Told of each outcome.
            policy: When to try again.
            total: Seconds that one Space may take if the Hub goes on to refuse it.
            journal: Where to record what is done.
            on_unknown: What to do about calls that an earlier bulk left in doubt.
        """
        if on_unknown not in get_args(OnUnknown):
            words = ", ".join(get_args(OnUnknown))
            raise ConfigurationError(
                f"on_unknown must be one of {words}, not {on_unknown!r}"
            )
        self._operation = operation
        self._client = client
        self._clock: Clock = client.clock
        self._limits = limits
        self._progress = progress
        self._targets = targets
        self._source = Source(targets or (), client, max_outage=limits.max_outage)
        self._books = JournalHistory(
            journal,
            Header(
                operation.name,
                operation.parameters,
                operation.hidden,
                client.endpoint,
            ),
        )
        self._on_unknown: OnUnknown = on_unknown
        self.report: BulkReport[T] = BulkReport(operation.name)
        # Finished and not yet fetched; a slow consumer slows the workers down.
        self._backlog: deque[Outcome[T]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._under_way: dict[str, Attempts[T]] = {}
        # How many Spaces of a worker's wait for what becomes of another.
        self._waiting: Counter[asyncio.Task[object] | None] = Counter()
        self._working = 0
        self._refused_in_a_row = 0
        self._broken: Exception | None = None
        self._started: float | None = None
        self._closed = False
        self._policy = policy
        self._total = total
        once = RetryPolicy.off(max_rate_limit_wait=policy.max_rate_limit_wait)
        self._once = client.with_options(retry=once)
        self._gate = Gate(
            self._once,
            max_outage=limits.max_outage,
            on_lasting=lambda: self._stop("outage"),
        )

    async def __aenter__(self) -> Self:
        if self._started is not None:
            raise ConfigurationError("a bulk stream is entered once only")
        # What no call could do is told once, and not once for each Space.
        await self._client.ready()
        self._started = self._clock.monotonic()
        given = None if self._targets is None else self._source
        self._source = await self._books.open(given, self._client)
        means = self._means()
        count = self._limits.concurrency
        if self._source.total is not None:
            count = max(1, min(count, self._source.total))
        self._working = count
        self._tasks = {asyncio.create_task(self._work(means)) for _ in range(count)}
        if self._limits.deadline is not None:
            self._timer = asyncio.create_task(self._expire(self._limits.deadline))
        return self

    def _means(self) -> BulkContext[T]:
        recovery = self._operation.recovery
        resolver = None if recovery is None else Resolver[T](self._once, recovery)
        if resolver is not None and self._on_unknown == "verify":
            for repo_id, doubt in self._books.doubts():
                resolver.expect(repo_id, doubt)
        means = BulkContext(
            operation=self._operation,
            client=self._client,
            once=self._once,
            policy=self._policy,
            total=self._total,
            clock=self._clock,
            gate=self._gate,
            resolver=resolver,
            journal=self._books.journal,
            on_unknown=self._on_unknown,
            try_another=lambda: self._try_another(means),
            stopping=lambda: self.report.stopped_by is not None,
            on_broken=self._journal_broke,
        )
        return means

    def _journal_broke(self, error: JournalError) -> None:
        self._broken = self._broken or error
        self._stop("journal")

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
        if error is None and isinstance(self._broken, JournalError):
            self._raise_broken()

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
                self._raise_broken()
            else:
                raise StopAsyncIteration
        self._room.set()
        return self._backlog.popleft()

    def _raise_broken(self) -> NoReturn:
        broken, self._broken = self._broken, None
        if isinstance(broken, JournalError):
            broken.report = self.report
            raise broken
        raise BulkInterruptedError(
            f"the targets could not be read to their end: {broken}",
            report=self.report,
        ) from broken

    def _stop(self, why: str) -> None:
        if self.report.stopped_by is None:
            self.report.stopped_by = why
        self._gate.wake()

    async def _close(self) -> None:
        """Cancel what is left, wait for its end, and complete the report."""
        if self._closed:
            return
        try:
            await to_its_end(self._end)
        finally:
            self._complete()

    async def _end(self) -> None:
        """End what is under way; done anew if something cancels it."""
        tasks = [task for task in (*self._tasks, self._timer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._gate.aclose()
        try:
            await self._source.aclose()
        finally:
            try:
                await self._books.aclose()
            except JournalError as error:
                self._broken = self._broken or error

    def _complete(self) -> None:
        """Give an outcome to all that have none. No await: nothing can cut it short."""
        if self._closed:
            return
        self._closed = True
        # A second Ctrl-C, or a handler of a signal that raises, ends a worker at any
        # point, and the outcome that it had is not known.
        begun = {i for i, attempts in self._under_way.items() if attempts.begun}
        self._backlog.extend(self.report.close(self._rest(), begun))
        if self._started is not None:
            self.report.elapsed = self._clock.monotonic() - self._started

    def _rest(self) -> Iterator[str]:
        """Yield those whose turn did not come, but for those of which more is known."""
        for repo_id in self._source.rest():
            known = self._books.left(repo_id)
            if known is None:
                yield repo_id
            elif self.report.claim(repo_id):
                self.report.add(known)
                self._backlog.append(known)

    async def _expire(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if self._working:
            self._stop("deadline")
            for task in self._tasks:
                task.cancel()

    async def _work(self, means: BulkContext[T]) -> None:
        try:
            while (repo_id := await self._claim()) is not None:
                await self._do(means, repo_id)
        finally:
            self._working -= 1
            self._changed.set()

    async def _claim(self) -> str | None:
        """Take the next target that there is something to do about."""
        while self.report.stopped_by is None:
            while len(self._backlog) >= self._limits.concurrency:
                self._room.clear()
                await self._room.wait()
            try:
                repo_id = await self._source.next()
            except Exception as error:  # noqa: BLE001  (raised to the consumer)
                self._broken = self._broken or error
                self._stop("targets")
                return None
            if repo_id is None:
                self._books.exhausted()
                return None
            if self.report.claim(repo_id) and self._is_to_do(repo_id):
                return repo_id
        return None

    def _is_to_do(self, repo_id: str) -> bool:
        settled = self._books.settled(repo_id)
        if settled is not None:
            self._record(settled)
            return False
        try:
            _validate.repo_id(repo_id)
        except ConfigurationError as error:
            self._record(Outcome(repo_id, OutcomeStatus.FAILED, error=bare(error)))
            return False
        self._books.name(repo_id)
        return self.report.stopped_by is None

    async def _try_another(self, means: BulkContext[T]) -> bool:
        """Do the next Space while a worker's own waits to see how that fares.

        So a Space that is broken is told from a Hub that takes no writes, even if few
        calls are under way. It is not done if one more failure ends the bulk, nor if
        the next Space may come only after the outcome of this one.

        Returns:
            Whether there was one.
        """
        last = self._limits.reached(self.report.troubled + 1) is not None
        worker = asyncio.current_task()
        if last or not self._source.at_hand or self._waiting[worker] >= _MOST_WAITING:
            return False
        repo_id = await self._claim()
        if repo_id is None:
            return False
        self._waiting[worker] += 1
        try:
            await self._do(means, repo_id)
        finally:
            self._waiting[worker] -= 1
        return True

    async def _do(self, means: BulkContext[T], repo_id: str) -> None:
        attempts = Attempts(means, repo_id, self._books.doubt(repo_id))
        self._under_way[repo_id] = attempts
        outcome, cancelled = await attempts.outcome()
        attempted = outcome.status is not OutcomeStatus.NOT_ATTEMPTED
        if not attempted:
            # What an earlier bulk left in doubt is in doubt still.
            outcome = self._books.left(repo_id) or outcome
        if attempted or outcome.from_journal or cancelled is not None:
            self._record(outcome)
        del self._under_way[repo_id]
        if cancelled is not None:
            raise cancelled

    def _record(self, outcome: Outcome[T]) -> None:
        self._books.note(outcome)
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
