"""Fixed workers over one iterator of targets.

As many workers as requests may be in flight share one iterator: memory follows their
number and not the number of Spaces, and work starts while a listing still arrives. Each
distinct target gets exactly one outcome, whatever happens.

A worker sets a Space aside that is in trouble: while it backs off, and where only another
Space can show who is at fault, it or the Hub. The worker then takes the next target, and
comes back afterwards. So the healthy Spaces are finished first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Self, TypeVar, get_args

from attrs import evolve, field, frozen

from spaces_async import _validate
from spaces_async._core.shared import current_fence
from spaces_async._operations.state import RUNTIME
from spaces_async._operations.write import Tailored
from spaces_async.bulk._engine.context import BulkContext, MakeClient, OnUnknown
from spaces_async.bulk._engine.fate import Finished, Sent
from spaces_async.bulk._engine.gate import Gate
from spaces_async.bulk._engine.header import job_header
from spaces_async.bulk._engine.parts import (
    OutcomeBuffer,
    StopSignal,
    WorkerPool,
    weakly,
)
from spaces_async.bulk._engine.quota_guard import QuotaGuard
from spaces_async.bulk._engine.resolver import Resolver
from spaces_async.bulk._engine.rollout import (
    HealthWatch,
    RolloutControl,
    unchecked,
)
from spaces_async.bulk._engine.space_run import (
    FunctionRun,
    SpaceRun,
    TargetRun,
    steps_of,
    without_frames,
)
from spaces_async.bulk._engine.targets import Claim, Limits, Targets, TargetSource
from spaces_async.bulk._journal.format import Entry
from spaces_async.bulk._journal.history import JournalHistory
from spaces_async.bulk._journal.writer import in_thread, to_its_end
from spaces_async.bulk._rollout_record import record_of
from spaces_async.bulk._waves import Pacing
from spaces_async.bulk.operations import Function
from spaces_async.bulk.report import (
    SUCCESSES,
    TROUBLES,
    Keep,
    MadeBy,
    Outcome,
    OutcomeStatus,
    ReportBuilder,
    StopReason,
)
from spaces_async.errors import (
    AuthenticationError,
    BulkInterruptedError,
    ConfigurationError,
    JournalError,
    SpacesError,
    StoreError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from spaces_async._core.observation import RunScope
    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Operation
    from spaces_async.bulk._engine.joining import Joining
    from spaces_async.bulk._engine.lease import Lease
    from spaces_async.bulk._engine.shared_run import SharedSource
    from spaces_async.bulk._journal.reader import JournalPath
    from spaces_async.bulk.health import HealthCheck, Healthy
    from spaces_async.bulk.report import BulkReport, Progress
    from spaces_async.models import SpaceRuntime

__all__ = ["BulkStream"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# An access to a member of an enumeration takes time on Python 3.11.
_DONE: Final = OutcomeStatus.DONE

_MAX_SET_ASIDE: Final = 100
"""Spaces that a worker sets aside at most: each takes some kilobytes."""

_REFUSED_IN_A_ROW: Final = 5
"""After so many 401s with no success in between, the token itself is at fault."""


@frozen
class Prepared:
    """What is known of the Spaces before a bulk begins, from a plan.

    Attributes:
        expected: The fields that a Space must show, by its id.
        decided: Outcomes of Spaces that nothing is sent to.
        only: The only Spaces of a resumed journal to work on; None are all.
        left: What a run in a store has left of the targets; None is no such run.
    """

    expected: Mapping[str, Mapping[str, Any]] = field(
        factory=dict[str, Mapping[str, Any]]
    )
    decided: Mapping[str, Outcome[Any]] = field(factory=dict[str, Outcome[Any]])
    only: Collection[str] | None = None
    left: Mapping[str, Entry] | None = None


class BulkStream(Generic[T]):
    """A running bulk: an async context manager and an async iterator of outcomes.

    Outcomes come as they finish; last come those that were not attempted because the
    bulk ended early. Leaving the context cancels what is in flight and waits until it
    has ended.
    """

    def __init__(
        self,
        operation: Operation[T],
        targets: Targets | None,
        *,
        session: HubSession,
        make_client: MakeClient,
        limits: Limits,
        progress: Progress | None = None,
        journal: JournalPath | None = None,
        on_unknown: OnUnknown = "verify",
        only_changes: bool | None = None,
        record_before: bool = True,
        keep: Keep = "all",
        prepared: Prepared | None = None,
        pacing: Pacing | None = None,
        healthy: Healthy | None = None,
        health_check: HealthCheck | None = None,
        joining: Joining | None = None,
    ) -> None:
        """Make a bulk; `client.bulk.stream` does.

        Args:
            operation: What to do.
            targets: Which Spaces; None are those that the journal names.
            session: Sends, as bulk work.
            make_client: Makes the client that a user's function gets.
            limits: When it ends early.
            progress: Told of each outcome.
            journal: Where to record what is done.
            on_unknown: What to do about writes that an earlier bulk left in doubt.
            only_changes: Whether to leave out what is needless; None does so for a
                `Selection` only.
            record_before: Whether the journal gets the state before each write.
            keep: Which outcomes the report keeps.
            prepared: What is known of the Spaces; None is nothing.
            pacing: How to proceed; None is as fast as it goes.
            healthy: What has to be so after each write; None is nothing.
            health_check: Asked for each Space that is RUNNING again.
            joining: Opens the run that other hosts work on, too; None if there is none.
        """
        _require_word(on_unknown, OnUnknown, "on_unknown")
        _require_word(keep, Keep, "keep")
        if only_changes is not None:
            _validate.flag(only_changes, "only_changes")
        _validate.flag(record_before, "record_before")
        nameless = isinstance(operation, Function) and operation.identity is None
        keeps = journal is not None or joining is not None
        if keeps and nameless:
            raise ConfigurationError(
                "a journal cannot tell lambdas, partials and callable objects from"
                " others: name the operation with name='...'"
            )
        self._operation = operation
        self._prepared = prepared or Prepared()
        self._resumes = targets is None  # The journal names them.
        self._limits = limits
        self._progress = progress
        self._source: TargetSource | SharedSource = TargetSource(
            targets or (), session, max_outage=limits.max_outage
        )
        self._joining = joining
        rollout = record_of(
            pacing or Pacing(), healthy, has_check=health_check is not None
        )
        header = job_header(operation, session, rollout)
        self._journal = JournalHistory(journal, header, self._prepared.left)
        self._builder: ReportBuilder[T] = ReportBuilder(operation.name, keep=keep)
        self.report._made_by = MadeBy(operation)  # noqa: SLF001  (for `retry_failed`)  # pyright: ignore[reportPrivateUsage]
        self._buffer: OutcomeBuffer[T] = OutcomeBuffer(limits.concurrency)
        once = session.without_retries()
        observation = session.shared.observation
        told = None if observation is None else observation.run(operation.name)
        # What calls the stream back does not keep it alive: with a cycle, each report and
        # all that is in it would stay in memory until the garbage collector runs.
        self._stop = StopSignal(self.report, weakly(self._wake))
        gate = Gate(
            once,
            max_outage=limits.max_outage,
            on_lasting=partial(self._stop.set, StopReason.OUTAGE),
            told=told,
        )
        self._pool = WorkerPool(session.clock, self._buffer.wake)
        self._context = BulkContext(
            name=operation.name,
            session=session,
            once=once,
            policy=session.options.retry,
            total=session.options.timeouts.total,
            clock=session.clock,
            gate=gate,
            resolver=Resolver(once),
            quota=QuotaGuard(operation.name, operation.parameters),
            history=self._journal if joining is None else joining.history,
            on_unknown=on_unknown,
            only_changes=(
                self._source.is_selection if only_changes is None else only_changes
            ),
            records_before=record_before and keeps,
            expected=self._prepared.expected,
            of_owner=weakly(self._of_owner),
            client=make_client(session) if isinstance(operation, Function) else None,
            stop=self._stop,
            on_journal_error=weakly(self._journal_failed),
            told=told,
            fence=current_fence(),
        )
        self._rollout = RolloutControl(
            pacing or Pacing(),
            None
            if healthy is None
            else HealthWatch(make_client(session), healthy, health_check),
            clock=session.clock,
            stop=self._stop,
            waves=self._builder.waves,
        )
        self._in_progress: dict[str, TargetRun[T]] = {}
        self._broken: Exception | None = None
        self._started: float | None = None
        self._saw_all_targets = False
        self._closed = False

    @property
    def report(self) -> BulkReport[T]:
        """The outcomes so far; readable at any time, also after a cancel."""
        return self._builder.report

    def stop(self) -> None:
        """End the bulk gently, with nothing lost: for a first Ctrl-C, or a shutdown.

        Requests in flight get their response, and a function of yours ends. Nothing is
        retried and no wait goes on: what waits for the quota, at an outage or to be
        sent again ends with what is known of it. The loop over the outcomes goes on
        until their end, so do not leave it; to cancel what is in flight, too, cancel
        the task, or leave the context.

        `stopped_by` is "cancelled". On a bulk that is not running it does nothing.
        """
        self._stop_gently(StopReason.CANCELLED)

    def _stop_gently(self, reason: StopReason) -> None:
        if not self._pool.working:
            return
        self._stop.at_once = True
        self._stop.set(reason)
        runs = self._in_progress.values()
        self._pool.cancel_all_but({run.worker for run in runs if run.is_in_flight})

    @property
    def held(self) -> bool:
        """Whether no further wave begins, since `hold` was called."""
        return self._rollout.held

    @property
    def checking(self) -> int:
        """How many Spaces are waited for: their write is done, their health not known."""
        return len(self._rollout.checking)

    def hold(self) -> None:
        """Let no further wave begin until `promote` is called.

        On a bulk without waves it does nothing.
        """
        self._rollout.hold()

    def promote(self) -> None:
        """Let the next wave begin now, healthy or not yet, and end a hold."""
        self._rollout.promote()

    def abort(self) -> None:
        """End the bulk as `stop` does; `stopped_by` is "aborted"."""
        self._stop_gently(StopReason.ABORTED)

    async def __aenter__(self) -> Self:
        if self._started is not None:
            raise ConfigurationError("a bulk stream is entered once only")
        # What no request could do is told once, and not once for each Space.
        await self._context.session.require_usable()
        await self._source.require_known()
        self._started = self._context.clock.monotonic()
        if self._joining is not None:
            await self._join(self._joining)
        else:
            await self._open_history()
        count = self._limits.concurrency
        if self._source.total is not None:
            count = max(1, min(count, self._source.total))
        if self._limits.deadline is not None:
            self._pool.expire(
                self._limits.deadline, lambda: self._stop.set(StopReason.DEADLINE)
            )
        if self._context.told is None:
            self._pool.start(count, self._work)
        else:
            total = self._source.total
            context = self._context.told.begin(concurrency=count, total=total)
            context.run(self._pool.start, count, self._work)
        return self

    async def _open_history(self) -> None:
        """Open the journal, and find out with it which Spaces this bulk is for."""
        history = self._journal
        await history.open()
        try:
            if history.is_kept:
                # A long journal takes a second to go through.
                await in_thread(self._read_targets)
            if self._source.listed is not None:
                whole = self._prepared.only is None
                history.name(self._source.listed, all_of_them=whole)
            await history.inherit()
            if self._rollout.needs_all_targets:
                await self._begin_rollout()
        except BaseException:
            await to_its_end(history.aclose)
            raise
        operation = self._operation
        if self._context.on_unknown == "verify" and not isinstance(operation, Function):
            for repo_id, at in history.in_doubt():
                settle = _settle(operation.of(repo_id))
                self._context.resolver.expect(repo_id, Sent(at), settle)

    def _read_targets(self) -> None:
        """Find out which Spaces the journal names; in a thread."""
        history = self._journal
        if self._resumes:
            named = history.targets(only=self._prepared.only) or []
            self._source = TargetSource(named, self._context.session)
        if self._prepared.only is not None:
            return
        first = history.first_targets(self._source.listed)
        if first:
            source = self._source
            assert isinstance(source, TargetSource)  # noqa: S101  (there is no store)
            source.begin_with(first)

    async def _begin_rollout(self) -> None:
        """Read the targets to their end, where shares and waves are of all of them."""
        source, claims = self._source, dict[str, Claim]()
        assert isinstance(source, TargetSource)  # noqa: S101  (there is no store)
        try:
            while (claim := source.take() or await source.next()) is not None:
                claims.setdefault(claim.repo_id, claim)
        except Exception as error:  # noqa: BLE001  (raised to the consumer)
            self._targets_failed(error)
        await source.aclose()
        history = self._journal
        if history.is_kept and source.listed is None:
            named = [claim.repo_id for claim in claims.values() if claim.is_target]
            history.name(named, all_of_them=self._broken is None)
        source.put(claims)
        assert self._started is not None  # noqa: S101  (`__aenter__` sets it)
        decided = sum(map(self._is_decided, claims.values()))
        total = len(claims) - decided
        max_failures = self._rollout.begin(total, decided=decided, origin=self._started)
        self._limits = evolve(self._limits, max_failures=max_failures)

    async def _join(self, joining: Joining) -> None:
        """Open the run that other hosts work on, too, and take its Spaces from now on."""
        context, given = self._context, self._source
        assert isinstance(given, TargetSource)  # noqa: S101  (that of the user)
        run, stop = joining.run, self._stop
        run.attach(
            rest=context.gate.rest,
            wake=context.gate.wake,
            stopping=lambda: stop.is_set,
            on_stop=weakly(self._run_stopped),
            on_error=context.on_journal_error,
        )
        joining.history.reason = lambda: stop.reason
        self.report._by_whom = "before or by other hosts"  # noqa: SLF001  (of another run it says "before")  # pyright: ignore[reportPrivateUsage]
        try:
            left_out = await joining.open(given)
            await given.aclose()
        except BaseException:
            await to_its_end(run.store.aclose)
            raise
        for repo_id, why in left_out.items():
            self._builder.claim(repo_id)
            skipped = Outcome[T](repo_id, OutcomeStatus.SKIPPED, reason=why)
            self._record(skipped, in_journal=False)
        self._source = joining.source(
            self._expect_doubts, workers=self._limits.concurrency
        )
        run.start()

    def _expect_doubts(self, lease: Lease) -> None:
        """Let one listing tell of all Spaces that a block has in doubt."""
        context = self._context
        if context.on_unknown != "verify" or isinstance(self._operation, Function):
            return
        for repo_id in lease.block.entries:
            at = context.history.in_doubt_since(repo_id)
            if at is not None:
                settle = _settle(self._operation.of(repo_id))
                context.resolver.expect(repo_id, Sent(at), settle)

    def _run_stopped(self, reason: StopReason) -> None:
        """End this host's part of a run that has ended early."""
        if reason in {StopReason.CANCELLED, StopReason.ABORTED}:
            self._stop_gently(reason)
        self._stop.set(reason)

    def _of_owner(self, owner: str) -> int:
        """Return how many of the targets are of an owner, the journal's included."""
        return self._source.of_owner(owner)

    def _wake(self) -> None:
        """Wake everything that waits, to see whether the bulk has ended."""
        self._context.gate.wake()
        self._rollout.wake()

    def _journal_failed(self, error: JournalError) -> None:
        self._broken = self._broken or error
        is_store = isinstance(error, StoreError)
        self._stop.set(StopReason.STORE if is_store else StopReason.JOURNAL)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool.working:
            cancelled = isinstance(error, asyncio.CancelledError)
            self._stop.set(StopReason.CANCELLED if cancelled else StopReason.LEFT)
        await self._close()
        if error is None and isinstance(self._broken, JournalError):
            self._raise_broken()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        if self._started is None:
            raise ConfigurationError("use the stream in an `async with` first")
        buffer = self._buffer
        while not buffer.outcomes:
            if self._pool.working:
                await buffer.has_changed()
            elif not self._closed:
                await self._close()
            elif self._broken is not None:
                self._raise_broken()
            else:
                raise StopAsyncIteration
        return buffer.take()

    async def drain(self) -> BulkReport[T]:
        """Work to the end and return the report, without handing out outcomes."""
        self._buffer.drop()
        async with self:
            async for _ in self:
                pass
        return self.report

    def _raise_broken(self) -> NoReturn:
        broken, self._broken = self._broken, None
        if isinstance(broken, JournalError):
            broken.report = self.report
            raise broken
        raise BulkInterruptedError(
            f"the targets could not all be read: {broken}",
            report=self.report,
        ) from broken

    async def _close(self) -> None:
        """Cancel what is left, wait for its end, and complete the report."""
        if self._closed:
            return
        try:
            await to_its_end(self._end)
        finally:
            self._complete()

    async def _end(self) -> None:
        """End what is in progress; started again if something cancels it."""
        await self._pool.aclose()
        # One that is cancelled before its first turn has no `finally`.
        while self._rollout.checking:
            _, outcome = self._rollout.checking.popitem()
            self._record(unchecked(outcome))
        await self._context.gate.aclose()
        try:
            await self._source.aclose()
        finally:
            if self._ended_by_itself():
                self._context.history.ended()
            try:
                await self._context.history.aclose()
            except JournalError as error:
                self._broken = self._broken or error

    def _ended_by_itself(self) -> bool:
        """Return whether each target has an outcome, and each outcome was worked for."""
        early = self._stop.is_set or self._broken is not None
        if self._prepared.only is not None:
            return False  # The others of the job may be left.
        return self._saw_all_targets and not early and self._builder.is_whole

    def _complete(self) -> None:
        """Give an outcome to all that have none. No await: nothing can cut it short."""
        if self._closed:
            return
        self._closed = True
        # A second Ctrl-C, or a signal handler that raises, ends a worker at any point,
        # and the outcome that it had is not known.
        ended = [unchecked(outcome) for outcome in self._rollout.checking.values()]
        for outcome in ended:
            in_wave = self._rollout.note(outcome)
            self._builder.add(in_wave)
            self._buffer.put(in_wave)
        begun = {i for i, run in self._in_progress.items() if run.begun}
        left = self._context.history.left
        distinct = self._source.are_distinct
        rest = self._source.rest()
        added = self._builder.close(
            rest, begun, left, distinct=distinct, note=self._rollout.note
        )
        self._buffer.put_all(added)
        if self._joining is not None:
            # What another host has made of a Space that it took over is what counts.
            for before, outcome in self._joining.run.overruled():
                self._builder.overrule(before, outcome)
            self._builder.sort(self._joining.run.results)
        if self._started is not None:
            self.report.elapsed = self._context.clock.monotonic() - self._started
        if (told := self._context.told) is not None:
            for outcome in (*ended, *added):
                _tell_outcome(told, outcome)
            reason = self.report.stopped_by
            told.end(
                seconds=self.report.elapsed,
                counts={str(s): n for s, n in self.report.counts.items()},
                stopped_by=None if reason is None else str(reason),
            )

    async def _work(self) -> None:
        """Work on one Space after the other, until there is none left."""
        aside: list[TargetRun[T]] = []
        run: TargetRun[T] | None = None
        worker = asyncio.current_task()
        try:
            while True:
                if aside:
                    run = await self._next_run(aside)
                else:
                    claim = self._claim_at_hand() or await self._claim()
                    run = None if claim is None else self._begin(claim)
                if run is None:
                    return
                run.worker = worker
                if await run.advance():
                    if self._joining is not None:
                        await self._note_end(self._joining, run)
                    self._finish(run)
                else:
                    aside.append(run)
                run = None
        except asyncio.CancelledError:
            self._stop.set(StopReason.CANCELLED)
            for each in (run, *reversed(aside)):
                if each is None:
                    continue
                # One that is finished waits only to learn what its 401 is about.
                if not isinstance(each.state, Finished):
                    each.stop() if self._stop.at_once else each.cancel()
                self._finish(each, cancelled=True)
            raise

    async def _note_end(self, joining: Joining, run: TargetRun[T]) -> None:
        end = run.state
        if isinstance(end, Finished) and end.error is not None:
            await joining.note_end(end.error, self._context.session)

    async def _next_run(self, aside: list[TargetRun[T]]) -> TargetRun[T]:
        """Return the Space to work on next, where some are set aside.

        Args:
            aside: The Spaces that this worker has set aside, the last one last.
        """
        now = self._context.clock.monotonic()
        for at in reversed(range(len(aside))):
            if not aside[at].waits_for_other and aside[at].ready_at <= now:
                return aside.pop(at)
        claim = await self._claim_other(len(aside))
        if claim is not None:
            for run in aside:
                run.waits_for_other = False
            return self._begin(claim)
        run = min(reversed(aside), key=lambda run: run.ready_at)
        run.waits_for_other = False
        run.no_other_comes_first()
        wait = run.ready_at - self._context.clock.monotonic()
        # The bulk may have been stopped while another target was asked for.
        if wait > 0 and not self._stop.is_set:
            await self._context.gate.rest(wait)
        aside.remove(run)
        return run

    def _claim_at_hand(self) -> Claim | None:
        """Take the next target of a list, if that takes no wait; None: `_claim` one.

        Only a list is known to raise nothing. None also says that a target was taken
        about which there is nothing to do.
        """
        source = self._source
        if not source.are_distinct or self._stop.is_set or self._buffer.is_full:
            return None
        if self._rollout.has_begun or (claim := source.take()) is None:
            return None
        return claim if self._take_up(claim) else None

    async def _claim(self, *, waits: bool = True) -> Claim | None:
        """Take the next target that there is something to do about.

        Args:
            waits: Whether to wait for one; else None if there is none now.
        """
        source, buffer, stop = self._source, self._buffer, self._stop
        rollout = self._rollout
        while not stop.is_set:
            if buffer.is_full:
                await buffer.has_room()
            if rollout.has_begun and not await rollout.enter():
                break
            try:
                claim = source.take() or await source.next(waits=waits)
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    raise
                self._targets_failed(SpacesError(f"their iterator raised {error!r}"))
                return None
            except Exception as error:  # noqa: BLE001  (raised to the consumer)
                self._targets_failed(error)
                return None
            if claim is None:
                self._note_end_of_targets(is_end=waits or self._joining is None)
                return None
            if rollout.has_begun and not self._is_decided(claim):
                rollout.start(claim.repo_id)
            if self._take_up(claim):
                return claim
        return None

    def _note_end_of_targets(self, *, is_end: bool) -> None:
        # Of a run with other hosts there may only be nothing to take now. An iterator that
        # raised, or that swallowed the cancel of a worker, says that it is at its end as
        # well.
        if is_end and self._broken is None and not _is_cancelled():
            self._saw_all_targets = True
            if self._prepared.only is None:
                self._context.history.exhausted()

    def _known(self, repo_id: str) -> Outcome[T] | None:
        """Return the outcome of a Space that there is nothing to do about."""
        history, decided = self._context.history, self._prepared.decided
        if history.is_kept and (settled := history.settled(repo_id)) is not None:
            return settled
        return decided.get(repo_id) if decided else None

    def _is_decided(self, claim: Claim) -> bool:
        """Return whether nothing will be sent to a target."""
        return claim.left_out is not None or self._known(claim.repo_id) is not None

    def _targets_failed(self, error: Exception) -> None:
        self._broken = self._broken or error
        self._stop.set(StopReason.TARGETS)

    def _take_up(self, claim: Claim) -> bool:
        """Give a target its place in the report; return whether there is more to do."""
        repo_id = claim.repo_id
        if not self._builder.claim(repo_id, distinct=self._source.are_distinct):
            return False
        known = self._known(repo_id)
        if known is not None:
            self._record(known)
            return False
        if claim.left_out is not None:
            # The journal has it not: when this bulk is resumed, more may be known.
            skipped = Outcome[T](repo_id, OutcomeStatus.SKIPPED, reason=claim.left_out)
            self._record(skipped, in_journal=False)
            return False
        if self._source.are_distinct:
            return not self._stop.is_set
        try:
            _validate.repo_id(repo_id)
        except ConfigurationError as error:
            without_frames(error)
            # The journal has no such Space.
            self._record(
                Outcome(repo_id, OutcomeStatus.FAILED, error=error), in_journal=False
            )
            return False
        if self._journal.is_kept and self._source.listed is None:
            self._journal.name([repo_id])
        return not self._stop.is_set

    async def _claim_other(self, set_aside: int) -> Claim | None:
        """Take another target while some are set aside.

        So a broken Space is told from a Hub that takes no writes, even if few requests
        are in flight. There is none if one more failure ends the bulk, nor if the next
        target may come only after the outcome of this one.
        """
        last = self._limits.reached(self._builder.troubled + 1) is not None
        if last or not self._source.at_hand or set_aside >= _MAX_SET_ASIDE:
            return None
        return await self._claim(waits=False)

    def _begin(self, claim: Claim) -> TargetRun[T]:
        context, operation = self._context, self._operation
        if isinstance(operation, Tailored):
            operation = operation.of(claim.repo_id)
        left = None
        if context.history.is_kept or self._prepared.left is not None:
            left = self._left(claim.repo_id, operation)
        run: TargetRun[T]
        if isinstance(operation, Function):
            run = FunctionRun(context, claim, operation, left)
        else:
            run = SpaceRun(context, claim, operation, left)
        self._in_progress[claim.repo_id] = run
        if self._joining is not None:
            lease = self._joining.run.lease_of(claim.repo_id)
            if lease is not None:
                run.fence_off(lease)
        return run

    def _left(self, repo_id: str, operation: Operation[T]) -> Sent | None:
        """Return what an earlier bulk sent to a Space, if it left it in doubt."""
        history = self._context.history
        since = history.in_doubt_since(repo_id)
        if since is None:
            return None
        return Sent(since, before=_runtime(operation, history.before(repo_id)))

    def _finish(self, run: TargetRun[T], *, cancelled: bool = False) -> None:
        del self._in_progress[run.repo_id]
        if run.is_abandoned:
            self._leave(run.repo_id)
            return
        outcome = run.outcome()
        if self._rollout.has_watch and outcome.status is _DONE:
            if not (cancelled or self._stop.at_once):
                self._rollout.checking[outcome.repo_id] = outcome
                self._pool.start(1, partial(self._check, outcome))
                return
            outcome = unchecked(outcome)
        if outcome.status is _DONE and outcome.attempts <= 1:
            self._record(outcome)
            return
        self._context.gate.forget(run.repo_id)
        attempted = outcome.status is not OutcomeStatus.NOT_ATTEMPTED
        if not run.begun and outcome.error is None and not outcome.ok:
            # What an earlier bulk left in doubt is in doubt still.
            outcome = self._context.history.left(run.repo_id) or outcome
        reason = self._stop.reason
        left_out = not attempted and outcome.reason is not None
        if not attempted and reason is not None and not left_out:
            outcome = evolve(outcome, reason=str(reason))
        # What was announced in the journal but ended without effect is no doubt.
        known = cancelled or (run.begun and self._stop.at_once)
        if attempted or left_out or outcome.from_journal or known:
            self._record(outcome)

    def _leave(self, repo_id: str) -> None:
        """Leave a Space to another host, which may have it already."""
        self._context.gate.forget(repo_id)
        if self._joining is None:
            # The whole bulk is a part of the work on a Space of another host.
            self._stop.set(StopReason.CANCELLED)
            return
        self._builder.forget(repo_id)
        self._joining.run.let_go(repo_id)

    async def _check(self, outcome: Outcome[T]) -> None:
        operation = self._operation.of(outcome.repo_id)
        await self._rollout.check(outcome, operation, self._record)

    def _record(self, outcome: Outcome[T], *, in_journal: bool = True) -> None:
        context, error = self._context, outcome.error
        if error is not None:
            context.quota.note(outcome.repo_id, error)
        if in_journal and context.history.is_kept:
            context.history.note(outcome)
        if self._rollout.has_begun:
            outcome = self._rollout.note(outcome)
        self._builder.add(outcome)
        self._buffer.put(outcome)
        if context.told is not None:
            _tell_outcome(context.told, outcome)
        if outcome.status in SUCCESSES:
            self._builder.refused_in_a_row = 0
        elif outcome.status in TROUBLES:
            self._note_trouble(error)
        if self._progress is not None:
            self._tell(self._progress, outcome)

    def _note_trouble(self, error: Exception | None) -> None:
        builder = self._builder
        if isinstance(error, AuthenticationError):
            builder.refused_in_a_row += 1
            # Other hosts get what this one leaves, and may have a better token.
            joining = self._joining
            leaves = joining is not None and joining.history.token_is_refused
            if leaves or builder.refused_in_a_row >= _REFUSED_IN_A_ROW:
                self._stop.set(StopReason.AUTHENTICATION)
        reached = self._limits.reached(builder.troubled)
        if reached is not None:
            self._stop.set(reached)

    def _tell(self, progress: Progress, outcome: Outcome[T]) -> None:
        try:
            progress(self._builder.progress(outcome, self._source.total))
        except Exception:
            logger.exception("the progress callback failed; the bulk goes on")


def _tell_outcome(told: RunScope, outcome: Outcome[Any]) -> None:
    told.space_ended(
        outcome.repo_id,
        status=str(outcome.status),
        attempts=outcome.attempts,
        seconds=outcome.elapsed,
        waited=outcome.waited,
        reason=outcome.reason,
        error=outcome.error,
    )


def _require_word(given: object, words: object, what: str) -> None:
    if given not in get_args(words):
        known = ", ".join(get_args(words))
        raise ConfigurationError(f"{what} must be one of {known}, not {given!r}")


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _runtime(operation: Operation[Any], kept: Mapping[str, Any]) -> SpaceRuntime | None:
    """Return the runtime before a write, from what a journal kept of it."""
    if isinstance(operation, Function):
        return None
    for key, step in steps_of(operation):
        if step.snapshot is RUNTIME and key in kept:
            try:
                return RUNTIME.restore(kept[key])
            except (KeyError, TypeError, ValueError):
                return None
    return None


def _settle(operation: Operation[Any]) -> float:
    _, step = steps_of(operation)[0]
    return 0.0 if step.evidence is None else step.evidence.settle
