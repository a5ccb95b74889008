"""A run that several hosts work on, as one of them sees it.

The store hands out blocks of Spaces; this host holds their leases, renews them, and
tells the store what it is going to send and how it ended. The workers of the bulk know
nothing of it: they take Spaces from `SharedSource` and keep their history in
`SharedHistory`, as they do with a list and a journal.

While the store is away nothing new is announced, so nothing new is sent; what waits for
the store waits as for an outage of the Hub.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.bulk._engine.gate import NotStartedError
from spaces_async.bulk._engine.lease import Lease, LeaseLostError
from spaces_async.bulk._engine.rollout import NOT_CHECKED
from spaces_async.bulk._engine.targets import MANY, Claim
from spaces_async.bulk._journal.writer import to_its_end, told_of
from spaces_async.bulk._store.protocol import (
    NotOursError,
    Result,
    Settlement,
    StoppedError,
    StoreAwayError,
)
from spaces_async.bulk.report import Outcome, OutcomeStatus, StopReason
from spaces_async.errors import (
    AuthenticationError,
    JournalError,
    SpacesError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from spaces_async._clock import Clock
    from spaces_async.bulk._journal.format import Entry
    from spaces_async.bulk._store.job import Job
    from spaces_async.bulk._store.protocol import RunStore

    # How a Space ended, the requests that were sent for it, and what is told.
    End = tuple[OutcomeStatus, int, Mapping[str, str]]

__all__ = ["SharedHistory", "SharedRun", "SharedSource", "outcome_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
_NOTHING_TOLD: Final[Mapping[str, str]] = {}

AWAY_SECONDS: Final = 1.0
"""The pause before a store that is away is asked again."""

_MAX_BEAT_SECONDS: Final = 5.0
"""The longest time between two looks at the run: what ends it is seen by then."""

_MAX_POLL_SECONDS: Final = 1.0
_LEAVE_SECONDS: Final = 2.0
"""How long a host that leaves waits for a store that is away."""

_SETTLED_AT_ONCE: Final = 100
_MAX_AHEAD_SPACES: Final = 64
_AHEAD_OF_EACH_WORKER: Final = 8
_AHEAD_PART: Final = 4
"""What is claimed ahead, where it may not be begun at once: some Spaces for each worker,
and a part of a short run at most, so that other hosts find some."""

_BEATS_OF_OTHERS: Final = 3
"""After so many beats without a sign of another host there is none. As long as there is
one, a host that meets an outage leaves alone: it may be cut off from the Hub itself."""


class SharedRun:
    """One host's part of a run.

    Attributes:
        store: Where the run is kept.
        job: What it does.
        whole: Whether the report is to have all Spaces, those of other hosts as well.
        results: What the store says of all Spaces at the end, if `whole`.
        given: The Spaces that were passed on this host; none if it only works.
        clock: Measures leases and pauses.
        rest: Waits some seconds, or until the bulk ends.
        stopping: Says whether the bulk ends.
        on_error: Told when the store cannot be used.
    """

    def __init__(
        self,
        store: RunStore,
        clock: Clock,
        *,
        max_outage: float | None,
        whole: bool,
    ) -> None:
        """Prepare it; nothing is opened yet.

        Args:
            store: Where the run is kept.
            clock: Measures leases and pauses.
            max_outage: Seconds that the store may be away; None is no limit.
            whole: See the class.
        """
        self.store = store
        self.job: Job | None = None
        self.whole = whole
        self.results: dict[str, Result] = {}
        self.given: Sequence[str] = ()
        self.clock = clock
        self._max_outage = max_outage
        self.rest: Callable[[float], Awaitable[bool]] = _just_sleep
        self.stopping: Callable[[], bool] = _no
        self._wake: Callable[[], object] = _none
        self._on_stop: Callable[[StopReason], None] = _nothing
        self.on_error: Callable[[JournalError], None] = _nothing
        self._leases: dict[str, Lease] = {}
        self._of_space: dict[str, Lease] = {}
        # What this host knows of Spaces that are over for it, in case they come back: the
        # outcome came too late, or the store has lost it. None: left to other hosts.
        self._noted: dict[str, End | None] = {}
        # How Spaces ended in the report whose outcome the store has not taken, or not yet.
        self._unrecorded: dict[str, OutcomeStatus] = {}
        self._away_since: float | None = None
        # How many calls wait for its return.
        self._refused_calls = 0
        # When the last question that was answered was asked.
        self._heard_at = float("-inf")
        self._has_told = False
        self._ends: deque[Settlement] = deque()
        self._settling: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._claiming: set[asyncio.Task[Lease | None]] = set()
        self._claim_lock = asyncio.Lock()
        self._closed = False

    @property
    def lease_seconds(self) -> float:
        """How long a block is held."""
        assert self.job is not None  # noqa: S101  (the run is open)
        return self.job.lease

    @property
    def poll_seconds(self) -> float:
        """The pause before the store is asked again for a block."""
        return max(0.05, min(_MAX_POLL_SECONDS, self.lease_seconds / 20))

    @property
    def _beat_seconds(self) -> float:
        """The time between two renewals of the leases."""
        return min(_MAX_BEAT_SECONDS, self.lease_seconds / 4)

    def attach(
        self,
        *,
        rest: Callable[[float], Awaitable[bool]],
        wake: Callable[[], None],
        stopping: Callable[[], bool],
        on_stop: Callable[[StopReason], None],
        on_error: Callable[[JournalError], None],
    ) -> None:
        """Say what bulk this is a part of.

        Args:
            rest: Waits some seconds, or until the bulk ends.
            wake: Ends all such waits.
            stopping: Whether the bulk ends.
            on_stop: Told when the run has ended early, on any host.
            on_error: Told when the store cannot be used.
        """
        self.rest, self._wake, self.stopping = rest, wake, stopping
        self._on_stop, self.on_error = on_stop, on_error

    def start(self) -> None:
        """Begin to renew leases."""
        self._beating = asyncio.create_task(self._beat())
        self._look_at_news()

    async def call(self, ask: Callable[[], Awaitable[T]]) -> tuple[T, float]:
        """Ask the store; while it is away, wait for its return.

        Returns:
            The answer, and when it was asked for.

        Raises:
            StoreError: It was away for too long, or cannot be used.
        """
        was_refused = False
        try:
            while True:
                asked = self.clock.monotonic()
                try:
                    answer = await ask()
                except StoreAwayError as error:
                    if not was_refused:
                        was_refused = True
                        self._refused_calls += 1
                    if asked >= self._heard_at:
                        self._note_away(error)
                    await self.rest(AWAY_SECONDS)
                else:
                    self._heard_at = max(self._heard_at, asked)
                    # A store that is full answers what needs no room.
                    if was_refused or not self._refused_calls:
                        self._note_back()
                    self._look_at_news()
                    return answer, asked
        except StoreError:
            # It waits no more, but that is no return.
            was_refused = False
            raise
        finally:
            self._refused_calls -= was_refused

    def _note_back(self) -> None:
        if self._away_since is not None:
            self._away_since = None
            logger.warning("the store %s is back", self.store.shown)

    def _note_away(self, error: StoreAwayError) -> None:
        now = self.clock.monotonic()
        if self._away_since is None:
            self._away_since = now
            logger.warning(
                "the store %s is away (%s); nothing more is begun",
                self.store.shown,
                error,
            )
        most = self._max_outage
        if self.stopping():
            most = _LEAVE_SECONDS if most is None else min(most, _LEAVE_SECONDS)
        lasted = now - self._away_since
        if most is not None and lasted >= most:
            raise StoreError(
                f"the store {self.store.shown} was away for {lasted:.0f} s: {error}",
                path=self.store.shown,
            )

    def _look_at_news(self) -> None:
        stop = self.store.counts.stop
        if self.store.counts.is_over:
            self._wake()
        if stop is not None and not self._has_told:
            self._has_told = True
            self._on_stop(stop)

    async def _beat(self) -> None:
        """Renew all leases, again and again."""
        pause = self._beat_seconds
        try:
            while True:
                await self._renew()
                await self.clock.sleep(pause)
        except Exception as error:  # noqa: BLE001  (told to the bulk)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the bulk: without leases and outcomes it would wait for ever."""
        if not isinstance(error, JournalError):
            logger.error("the store %s failed", self.store.shown, exc_info=error)
            shown = self.store.shown
            error = StoreError(
                f"the store {shown} failed: {type(error).__name__}", path=shown
            )
        self.on_error(error)

    async def _renew(self) -> None:
        held = [lease for lease in self._leases.values() if not lease.lost]
        blocks = [lease.block for lease in held]
        lost, asked = await self.call(lambda: self.store.renew(blocks))
        # A block whose last outcome has just been recorded is held no more, either.
        recorded = {end.repo_id for end in self._ends}
        for lease in held:
            if lease.block not in lost:
                lease.renew(asked)
            elif lease.open - recorded:
                self._lose(lease)

    def _lose(self, lease: Lease) -> None:
        if not lease.lost:
            logger.warning("a block of %s has passed to another host", self.store.shown)
        lease.lost = True

    async def take_block(self, *, only_lost: bool = False) -> Lease | None:
        """Claim a block, or only one of a lost host; None if there is none now.

        Cancelling it leaves the claim to its end: else no one would know of the block,
        or give it back.
        """
        claiming = asyncio.create_task(self._take_block(only_lost=only_lost))
        self._claiming.add(claiming)
        claiming.add_done_callback(self._claiming.discard)
        return await asyncio.shield(claiming)

    async def _take_block(self, *, only_lost: bool) -> Lease | None:
        # One after the other: the store gives this host again what it does not know yet.
        async with self._claim_lock:
            known = list(self._leases)
            block, asked = await self.call(
                lambda: self.store.claim(known, only_lost=only_lost)
            )
            if block is None:
                return None
            lease = Lease(
                block,
                self.clock,
                asked=asked,
                seconds=self.lease_seconds,
                hold=self.store.hold_seconds,
            )
            self._leases[block.key] = lease
        for repo_id in block.entries:
            self._of_space[repo_id] = lease
            if (end := self._noted.get(repo_id)) is not None:
                self._settle_soon(Settlement(block, repo_id, *end))
        return lease

    def is_new(self, repo_id: str) -> bool:
        """Return whether this host has no outcome of a Space that it has claimed."""
        return repo_id not in self._noted

    def lease_of(self, repo_id: str) -> Lease | None:
        """Return the lease under which this host has a Space."""
        return self._of_space.get(repo_id)

    def entry_of(self, repo_id: str) -> Entry | None:
        """Return what the store said of a Space when its block was claimed."""
        lease = self._of_space.get(repo_id)
        return None if lease is None else lease.block.entries[repo_id]

    def let_go(self, repo_id: str) -> None:
        """Note that this host has nothing more to do with a Space."""
        lease = self._of_space.pop(repo_id, None)
        if lease is None:
            return
        lease.open.discard(repo_id)
        if not lease.open and self._leases.get(lease.block.key) is lease:
            # From now on this host may claim it again, if something of it is left.
            del self._leases[lease.block.key]

    async def start_space(self, repo_id: str) -> float:
        """Start a Space, if the waves let it; return when to ask again, or 0.

        Raises:
            LeaseLostError: Another host has it.
            NotStartedError: The run has ended early.
        """
        wait, _ = await self._fenced(
            repo_id, lambda lease: self.store.start(lease.block, repo_id)
        )
        return wait

    async def announce(self, repo_id: str, before: Mapping[str, Any] | None) -> None:
        """Announce a write.

        Raises:
            LeaseLostError: Another host has the Space.
            NotStartedError: The run has ended early.
            StoreError: The store cannot be used.
        """
        lease = self._of_space.get(repo_id)
        _, asked = await self._fenced(
            repo_id, lambda lease: self.store.intend(lease.block, repo_id, before)
        )
        if lease is not None:
            lease.renew(asked)

    async def _fenced(
        self, repo_id: str, ask: Callable[[Lease], Awaitable[T]]
    ) -> tuple[T, float]:
        """Ask the store something about a Space that this host holds."""
        lease = self._of_space.get(repo_id)
        if lease is None or lease.lost:
            raise LeaseLostError
        try:
            return await self.call(lambda: ask(lease))
        except NotOursError:
            self._lose(lease)
            raise LeaseLostError from None
        except StoppedError:
            self._look_at_news()
            raise NotStartedError from None

    def leave(self, outcome: Outcome[Any]) -> None:
        """Note that a Space has an outcome in the report, and is left to other hosts."""
        self._noted[outcome.repo_id] = None
        if not outcome.from_journal:
            self._unrecorded[outcome.repo_id] = outcome.status
        self.let_go(outcome.repo_id)

    def of_others(self) -> Iterator[str]:
        """Yield the Spaces that this host has no outcome for in the report."""
        # Where the store has gone away only those that were passed are known.
        known = self.results or (self.given if self.whole else ())
        return (repo_id for repo_id in known if repo_id not in self._noted)

    def overruled(self) -> Iterator[tuple[OutcomeStatus, Outcome[Any]]]:
        """Yield the outcomes of other hosts for which the report has one of this host.

        Such a host took the Space over. What is yielded first is the status in the
        report.
        """
        for repo_id, status in self._unrecorded.items():
            result = self.results.get(repo_id)
            if result is None or result.entry.status is None:
                continue
            outcome = outcome_of(result)
            if outcome is not None:
                yield status, outcome

    def settle(
        self, repo_id: str, outcome: Outcome[Any], told: Mapping[str, str]
    ) -> None:
        """Note an outcome that the report has, and record it soon."""
        end = outcome.status, outcome.attempts, told or _NOTHING_TOLD
        self._noted[repo_id] = end
        self._unrecorded[repo_id] = outcome.status
        lease = self._of_space.get(repo_id)
        if lease is not None:
            self._settle_soon(Settlement(lease.block, repo_id, *end))

    def _settle_soon(self, end: Settlement) -> None:
        self._ends.append(end)
        if self._settling is None:
            task = asyncio.create_task(self._settle())
            self._settling = None if task.done() else task

    async def _settle(self) -> None:
        try:
            await self._settle_all()
        except Exception as error:  # noqa: BLE001  (told to the bulk)
            self._fail(error)
        finally:
            self._settling = None

    async def _settle_all(self) -> None:
        while self._ends:
            some = list(islice(self._ends, _SETTLED_AT_ONCE))
            refused, _ = await self.call(partial(self.store.settle, some))
            for end in some:
                self._ends.popleft()
                self.let_go(end.repo_id)
                self._unrecorded.pop(end.repo_id, None)
            for end in refused:
                self._unrecorded[end.repo_id] = end.status
                logger.warning(
                    "%s: another host has taken it over; its outcome here, %s, came"
                    " too late",
                    end.repo_id,
                    end.status,
                )

    async def aclose(self, reason: StopReason | None) -> None:
        """Record what is known, give back what is held, and close the store.

        Args:
            reason: Why the bulk of this host ends early; None if it does not.

        Raises:
            JournalError: Something of that could not be done.
        """
        if self._closed:
            return
        # First, for a claim may bring back Spaces whose outcome is to be recorded.
        if self._claiming:
            await asyncio.wait(self._claiming)
        for task in (self._beating, self._settling):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        self._beating = self._settling = None
        try:
            if self.job is not None:
                await to_its_end(partial(self._leave, reason))
        finally:
            await self.store.aclose()
            self._closed = True

    async def _leave(self, reason: StopReason | None) -> None:
        store = self.store
        await self._settle_all()
        if reason is StopReason.ABORTED:
            await self.call(partial(store.cancel, reason))
        elif reason is StopReason.OUTAGE:
            recent = _BEATS_OF_OTHERS * self._beat_seconds
            await self.call(partial(store.cancel, reason, unless_others=recent))
        await self.call(store.release)
        if self.whole:
            await self.call(self._read_results)

    async def _read_results(self) -> None:
        self.results = {result.repo_id: result async for result in self.store.results()}


class SharedSource:
    """The Spaces of a run that this host claims; used as a `TargetSource` is."""

    listed: Final = None
    are_distinct: Final = True

    def __init__(
        self, run: SharedRun, on_claim: Callable[[Lease], None], *, workers: int
    ) -> None:
        """Make it.

        Args:
            run: This host's part of the run, which is open.
            on_claim: Told of each block.
            workers: How many Spaces this host works on at a time.
        """
        self.is_selection = False
        self._workers = workers
        self._run = run
        self._on_claim = on_claim
        self._queue: deque[tuple[Lease, str]] = deque()
        # Spaces that the waves let another host start, which is lost. They come first:
        # as long as they have no outcome, no other Space may start.
        self._started: deque[tuple[Lease, str]] = deque()
        # One worker asks for more, and the others wait for it: it may take long.
        self._lock = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None

    @property
    def total(self) -> int:
        """How many Spaces the run has."""
        return self._run.store.counts.total

    @property
    def at_hand(self) -> bool:
        """Whether another Space may be asked for while some are set aside."""
        return not self._paces

    def _ready(self) -> deque[tuple[Lease, str]] | None:
        """Return the queue whose first Space comes next; None if each has to wait."""
        now = self._run.clock.monotonic()
        for queue in (self._started, self._queue):
            while queue and queue[0][0].lost:
                _, repo_id = queue.popleft()
                self._run.let_go(repo_id)
            if queue and queue[0][0].begins <= now:
                return queue
        return None

    @property
    def _paces(self) -> bool:
        job = self._run.job
        return job is not None and job.paces

    def take(self) -> Claim | None:
        """Return the next Space if that takes no wait; None: ask `next`."""
        if self._paces or (queue := self._ready()) is None:
            return None
        _, repo_id = queue.popleft()
        self._claim_ahead()
        return Claim(repo_id)

    async def next(self, *, waits: bool = True) -> Claim | None:
        """Return the next Space; None when the run is over.

        Args:
            waits: Whether to wait for other hosts; else None if there is none now.
        """
        run = self._run
        if not waits:
            return await self._next_at_once()
        try:
            async with self._lock:
                while not run.stopping():
                    claim = self.take() or await self._start_next()
                    if claim is not None:
                        return claim
                    wait = await self._get_more()
                    if wait is None:
                        return None
                    if wait > 0:
                        await run.rest(wait)
        except JournalError as error:
            run.on_error(error)
        return None

    async def _next_at_once(self) -> Claim | None:
        claim = self.take()
        if claim is not None:
            return claim
        try:
            has_more = await self._claim_block()
        except JournalError as error:
            self._run.on_error(error)
            return None
        return self.take() if has_more else None

    async def _start_next(self) -> Claim | None:
        """Start the next Space, where there are waves."""
        if not self._paces or (queue := self._ready()) is None:
            return None
        lease, repo_id = queue[0]
        try:
            wait = await self._run.start_space(repo_id)
        except (LeaseLostError, NotStartedError):
            return None
        if queue and queue[0] == (lease, repo_id) and not wait:
            queue.popleft()
            return Claim(repo_id)
        return None

    async def _get_more(self) -> float | None:
        """Claim a block if need be; return how long to wait, None at the end."""
        run = self._run
        if self._ready() is not None:
            # The wave may wait for the Spaces of a host that is lost.
            if self._paces and not await self._claim_block(only_lost=True):
                return run.poll_seconds
            return 0.0
        least = self._most_ahead if run.store.hold_seconds else 1
        if len(self._queue) < least and await self._claim_block():
            return 0.0
        begins = [queue[0][0].begins for queue in (self._started, self._queue) if queue]
        if begins:
            wait = min(begins) - run.clock.monotonic()
            return min(max(0.0, wait), run.lease_seconds)
        return None if run.store.counts.is_over else run.poll_seconds

    async def _claim_block(self, *, only_lost: bool = False) -> bool:
        lease = await self._run.take_block(only_lost=only_lost)
        if lease is None:
            return False
        is_new, started = self._run.is_new, lease.block.started
        for repo_id in lease.block.entries:
            if is_new(repo_id):
                queue = self._started if repo_id in started else self._queue
                queue.append((lease, repo_id))
        self._on_claim(lease)
        return True

    @property
    def _most_ahead(self) -> int:
        """How many Spaces are claimed ahead."""
        wanted = min(_MAX_AHEAD_SPACES, _AHEAD_OF_EACH_WORKER * self._workers)
        return max(self._workers, min(wanted, self.total // _AHEAD_PART))

    def _claim_ahead(self) -> None:
        """Claim further blocks beside the workers, where a block has to wait first."""
        is_low = len(self._queue) <= self._most_ahead // 2
        if self._run.store.hold_seconds and is_low and self._ahead is None:
            self._ahead = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            while len(self._queue) < self._most_ahead and await self._claim_block():
                pass
        except JournalError as error:
            self._run.on_error(error)
        finally:
            self._ahead = None

    def of_owner(self, owner: str) -> int:  # noqa: ARG002  (see `TargetSource`)
        """Return how many targets are of an owner: many, for this host knows a few."""
        return MANY

    def rest(self) -> Iterator[str]:
        """Yield the Spaces of other hosts, if the report is to have them."""
        return self._run.of_others()

    async def require_known(self) -> None:
        """Check nothing: the run was begun with what is known."""

    async def aclose(self) -> None:
        """End what goes on beside the workers."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait((self._ahead,))


class SharedHistory:
    """What a bulk knows of other hosts, and leaves for them; used as `JournalHistory`.

    Attributes:
        token_is_refused: Whether the Hub refuses the token of this host, for all calls.
        reason: Says why the bulk ends early.
    """

    is_kept = True
    sent_by = "by a host that was lost"

    def __init__(self, run: SharedRun, *, private: bool) -> None:
        """Make it.

        Args:
            run: This host's part of the run.
            private: Whether even the text of an error must not be written.
        """
        self._run = run
        self._private = private
        self.token_is_refused = False
        self.reason: Callable[[], StopReason | None] = _none

    def exhausted(self) -> None:
        """Do nothing: the store has all targets."""

    def ended(self) -> None:
        """Do nothing: the store counts the outcomes."""

    async def announce(
        self,
        repo_id: str,
        at: datetime,  # noqa: ARG002  (the time is the store's)
        before: Mapping[str, Any] | None,
    ) -> None:
        """Announce a write, and wait until that is recorded."""
        entry = self._run.entry_of(repo_id)
        kept = None if entry is None else entry.before
        both = {**(before or {}), **(kept or {})} or None
        await self._run.announce(repo_id, both)
        if entry is not None:
            entry.before = both

    def settled(self, repo_id: str) -> Outcome[Any] | None:  # noqa: ARG002
        """Return None: what has an outcome is not handed out."""
        return None

    def left(self, repo_id: str) -> Outcome[Any] | None:
        """Return what the store says of a Space that this host has not finished."""
        result = self._run.results.get(repo_id)
        return None if result is None else outcome_of(result)

    def in_doubt_since(self, repo_id: str) -> datetime | None:
        """Return when another host sent a write whose effect is not known."""
        entry = self._run.entry_of(repo_id)
        if entry is None or not entry.in_doubt:
            return None
        return datetime.fromtimestamp(entry.doubt_since or 0.0, UTC)

    def before(self, repo_id: str) -> Mapping[str, Any]:
        """Return the state before the write of another host."""
        entry = self._run.entry_of(repo_id)
        return (None if entry is None else entry.before) or {}

    def note(self, outcome: Outcome[Any]) -> None:
        """Record an outcome, unless the Space is only left to other hosts."""
        # A token that is refused is that of this host, and says nothing of the Space.
        is_refused = isinstance(outcome.error, AuthenticationError)
        refused = self.token_is_refused and is_refused
        given_up = self._run.stopping() and self._is_left(outcome)
        if outcome.from_journal or refused or given_up:
            self._run.leave(outcome)
            return
        told = told_of(outcome, private=self._private)
        if outcome.reason is not None:
            told["reason"] = outcome.reason
        self._run.settle(outcome.repo_id, outcome, told)

    def _is_left(self, outcome: Outcome[Any]) -> bool:
        """Return whether a Space that this host ends with is for other hosts."""
        goes_on = self._run.store.counts.stop is None
        # Another host finds that the write is done, and looks at the Space's health.
        unchecked = outcome.reason == NOT_CHECKED and goes_on
        return unchecked or _is_given_up(outcome)

    async def aclose(self) -> None:
        """Record what is known, and leave the run.

        Raises:
            JournalError: Something of that could not be done.
        """
        await self._run.aclose(self.reason())


def _is_given_up(outcome: Outcome[Any]) -> bool:
    """Return whether a Space ended as it did because the bulk ends."""
    if outcome.status in {OutcomeStatus.NOT_ATTEMPTED, OutcomeStatus.UNKNOWN}:
        return True
    error = outcome.error
    failed = outcome.status is OutcomeStatus.FAILED
    return failed and isinstance(error, SpacesError) and is_trouble(error)


def outcome_of(
    result: Result, sent_by: str = SharedHistory.sent_by
) -> Outcome[Any] | None:
    """Return the outcome of a Space as a store or a journal has it.

    Args:
        result: What that says of the Space.
        sent_by: Who may have sent what was announced and has no outcome.

    Returns:
        The outcome; None if the Space was not begun.
    """
    entry, told = result.entry, result.told
    status = entry.status
    if status is None:
        if not entry.in_doubt:
            return None
        status = OutcomeStatus.UNKNOWN
        told = {
            "error": f"it may have been sent {sent_by}; whether it took effect was not"
            " looked up"
        }
    error: SpacesError | None = None
    if status in {OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN}:
        text = told.get("error") or told.get("error_type") or f"it is {status}"
        # The text of an error usually begins with the id by itself.
        start = f"{result.repo_id}: "
        error = SpacesError(start + text.removeprefix(start))
        error.outcome_unknown = status is OutcomeStatus.UNKNOWN
    return Outcome(
        result.repo_id,
        status,
        error=error,
        attempts=entry.attempts,
        from_journal=True,
        reason=told.get("reason"),
    )


async def _just_sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


def _no() -> bool:
    return False


def _none() -> None:
    return None


def _nothing(_: Any) -> None:
    return None
