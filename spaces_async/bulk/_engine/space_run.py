"""One Space of a bulk, from its first request to its end: the IO around `fate`.

In a bulk each request is sent once, and what follows is decided here. The client's own
retries would know nothing of the other requests, and multiply an outage by their number.
A request that met trouble waits until the Hub is well again; if its response was lost,
the state of the Space is read before it is sent once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, cast

from attrs import evolve, frozen

from spaces_async._clock import TIMER_SLACK_SECONDS
from spaces_async._core.retry import backoff_bound
from spaces_async._core.shared import CallStats, collect_stats, current_stats
from spaces_async._operations.state import has_changed
from spaces_async._operations.write import Edit, Series, Write
from spaces_async._wire.calls import Call, Circumstances, Done, Evidence, Verdict
from spaces_async.bulk._engine import fate
from spaces_async.bulk._engine.breaker import Admission, is_trouble
from spaces_async.bulk._engine.failures import FailureCounter, Trouble
from spaces_async.bulk._engine.fate import (
    Acted,
    Finished,
    Fresh,
    Lost,
    Open,
    Sent,
    State,
)
from spaces_async.bulk._engine.gate import NotStartedError, OutageError
from spaces_async.bulk._engine.lease import LeaseLostError
from spaces_async.bulk._engine.quota_guard import COMPUTE_QUOTA
from spaces_async.bulk._engine.resolver import FRESH_SECONDS
from spaces_async.bulk.report import BlankOutcome, Outcome, OutcomeStatus
from spaces_async.errors import (
    HubResponseError,
    JournalError,
    RateLimitError,
    SpacesError,
    UnexpectedResponseError,
)
from spaces_async.records import KeyOutcome

if TYPE_CHECKING:
    from spaces_async._core.shared import SendFence
    from spaces_async._operations.write import Operation
    from spaces_async.bulk._engine.context import BulkContext
    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.bulk._engine.targets import Claim
    from spaces_async.bulk.operations import Function
    from spaces_async.models import SpaceRuntime

logger = logging.getLogger(__name__)

T = TypeVar("T")
Step = Write[Any] | Edit[Any, Any]

ALREADY_SO: Final = "already so"
DRIFT: Final = "drift"

_GOES_ON: Final[Mapping[OutcomeStatus, Literal["done", "unchanged"]]] = {
    OutcomeStatus.DONE: "done",
    OutcomeStatus.UNCHANGED: "unchanged",
}
"""The statuses after which the next key is written, and their words in `KeyOutcome`."""
STATIC: Final = "static"

_SHORT_PAUSE_SECONDS: Final = 1.0
_NEVER: Final = float("inf")
_AT_ONCE: Final = float("-inf")
_FRESH: Final = Fresh()
_IN_TROUBLE: Final = (Open, Lost, Acted)
_MAY_BE_SENT: Final = (Fresh, Open)


@frozen
class _StateBefore:
    """The state of a Space before its write, which may tell of the next key, too.

    Attributes:
        read: How it was read.
        state: The state; None if it is not known.
        asked: When it was asked for, by the monotonic clock.
    """

    read: Callable[[str], Call[Any]]
    state: Done[Any] | None
    asked: float

    def tells(self, evidence: Evidence[Any, Any], now: float) -> bool:
        """Return whether it is what the evidence would read, and may be trusted."""
        return evidence.read is self.read and now - self.asked <= FRESH_SECONDS


class TargetRun(Generic[T]):
    """The work on one Space.

    Attributes:
        repo_id: The Space.
        begun: Whether anything may have been sent.
        state: Where it is.
        waits_for_other: Whether another Space has to come first.
        ready_at: When it may go on, by the monotonic clock.
        worker: The task that works on it, or did last.
        is_abandoned: Whether it is left to another host, which may have it already.
    """

    def __init__(self, context: BulkContext, repo_id: str) -> None:
        self.repo_id = repo_id
        self.begun = False
        self.state: State = _FRESH
        self.waits_for_other = False
        self.ready_at = _AT_ONCE
        self.worker: asyncio.Task[Any] | None = None
        self.is_abandoned = False
        self._context = context
        self._stats = CallStats(fence=context.fence)
        self._started = context.clock.monotonic()

    async def advance(self) -> bool:
        """Work on it until it is finished, or until others may come first.

        Returns:
            Whether it is finished; if not, `waits_for_other` and `ready_at` say when
            it goes on.
        """
        raise NotImplementedError  # pragma: no cover

    def no_other_comes_first(self) -> None:
        """Note that there is no other Space that could show who is at fault."""

    def fence_off(self, fence: SendFence) -> None:
        """Send its writes only while a fence allows it."""
        self._stats.fence = fence

    def abandon(self) -> None:
        """End it here, and leave it to another host."""
        self.is_abandoned = True
        self.state = fate.cancelled(self.state, wrote=False)

    @property
    def is_in_flight(self) -> bool:
        """Whether a request of it has not been answered yet."""
        return self._stats.in_flight > 0

    def cancel(self) -> None:
        """End it where it is."""
        self.state = fate.cancelled(self.state, wrote=False)

    def stop(self) -> None:
        """End it with what is known, after its wait was cut short."""
        raise NotImplementedError  # pragma: no cover

    def outcome(self) -> Outcome[T]:
        """Return how it ended."""
        end, stats = self.state, self._stats
        assert isinstance(end, Finished)  # noqa: S101  (`cancel` makes it so)
        error = end.error
        if error is not None:
            without_frames(error)
            self._note_all_requests(error)
            if isinstance(error, SpacesError):
                error.outcome_unknown = end.status is OutcomeStatus.UNKNOWN
        outcome = BlankOutcome()
        outcome.repo_id = self.repo_id
        outcome.status = end.status
        outcome.value = end.value
        outcome.error = error
        outcome.attempts = stats.sends
        outcome.elapsed = self._context.clock.monotonic() - self._started
        outcome.waited = stats.waited
        outcome.from_journal = False
        outcome.reason = end.reason
        outcome.new_id = stats.new_id
        outcome.wave = None
        outcome.__class__ = Outcome
        made: Outcome[T] = outcome
        return made

    def _note_all_requests(self, error: Exception) -> None:
        """Say on the error how many requests were sent; it knows of the last call."""
        sends, waited = self._stats.sends, self._stats.waited
        if getattr(error, "attempts", sends) < sends:
            error.attempts = sends  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
            error.add_note(f"{sends} requests in all, waited {waited:.1f} s")

    def _admitted(self) -> Admission | None:
        """Return what lets a request out now; None: wait with `_enter`."""
        context = self._context
        return None if context.stop.is_set else context.gate.admit()

    async def _enter(self, *, decides: bool) -> Admission:
        """Wait until a request may be sent.

        Raises:
            OutageError: The Hub is down for too long.
            NotStartedError: The bulk has ended, and nothing was sent.
        """
        context = self._context
        before = context.clock.monotonic()
        try:
            return await context.gate.enter(
                self.repo_id, decides=decides, may_leave=self._may_leave
            )
        finally:
            self._stats.waited += context.clock.monotonic() - before

    def _may_leave(self) -> bool:
        return self.state == Fresh() and not self.begun and self._context.stop.is_set

    async def _announce(self, before: Mapping[str, Any] | None = None) -> None:
        """Record what is going to be sent; nothing is sent before that is durable.

        Args:
            before: The state before, as JSON; None if it is not recorded.

        Raises:
            JournalError: It is not durable.
        """
        context = self._context
        try:
            await context.history.announce(self.repo_id, context.clock.utcnow(), before)
        except JournalError as error:
            context.on_journal_error(error)
            raise

    def _left_in_doubt(self, sent: Sent) -> State:
        """Return the state of a write that an earlier process left in doubt."""
        context = self._context
        if context.on_unknown == "retry":
            return Fresh(unresolved=True)
        # Without its time a look shows nothing: a start may have come before it.
        skips = context.on_unknown == "skip" or not sent.at.timestamp()
        looked = (
            "whether it took effect was not looked up"
            if skips
            else "the Space does not show whether it took effect"
        )
        error = SpacesError(
            f"{self.repo_id}: the {context.name} may have been sent"
            f" {context.history.sent_by}; {looked}"
        )
        lost = Lost(error, sent)
        return fate.given_up(lost) if skips else lost


class SpaceRun(TargetRun[T]):
    """The work on one Space with one of the package's own writes."""

    def __init__(
        self,
        context: BulkContext,
        claim: Claim,
        operation: Operation[T],
        left: Sent | None = None,
    ) -> None:
        """Begin.

        Args:
            context: What all Spaces share.
            claim: The Space, and what its listing showed.
            operation: What to do to it.
            left: When an earlier process sent the write, if it left it in doubt.
        """
        super().__init__(context, claim.repo_id)
        self._listed = claim.listed
        self._in_keys = isinstance(operation, Series)
        self._steps = list(steps_of(operation))
        self._keys: list[KeyOutcome] = []
        self._trouble: FailureCounter | None = None
        self._refusals: list[RateLimitError] = []
        self._looked_before = False
        self._before: _StateBefore | None = None
        self._state_before: Done[Any] | None = None
        self._outages: int | None = None
        self._set_aside_at = _NEVER
        self._wrote = False
        if left is not None:
            self.state = self._left_in_doubt(left)
        # An earlier process may have come as far as a later key.
        self._inherited = self.state
        if claim.is_static and operation.in_container:
            self.state = Finished(OutcomeStatus.SKIPPED, reason=STATIC)

    @property
    def _step(self) -> Step:
        return self._steps[0][1]

    @property
    def _counter(self) -> FailureCounter:
        """The trouble of the present step; few Spaces meet any."""
        if self._trouble is None:
            context = self._context
            self._trouble = FailureCounter(
                context.gate,
                clock=context.clock,
                policy=context.policy,
                total=context.total,
                on_lost=self._step.on_lost,
            )
        return self._trouble

    async def advance(self) -> bool:
        """Work on it until it is finished, or until others may come first."""
        current_stats.set(self._stats)
        if self._set_aside_at != _NEVER:
            self._resume()
        if self._listed is not None:
            self._look_at_listing(self._listed)
        if self._context.quota.may_concern(self.repo_id):
            await self._look_at_quota()
        while not self._is_over():
            try:
                admission = self._short_way()
                if admission is None:
                    await self._take_turn()
                else:
                    await self._send(admission)
            except (NotStartedError, OutageError, JournalError):
                self._give_up()
            except LeaseLostError:
                self.abandon()
                return True
            if not isinstance(self.state, Finished) and await self._back_off():
                return False
        return True

    async def _back_off(self) -> bool:
        """Back off after trouble; return whether other Spaces come first."""
        if not self.waits_for_other:
            self._plan_pause()
        if self._context.stop.at_once:
            return False
        pauses = self.ready_at != _AT_ONCE
        if self.waits_for_other or (pauses and not await self._paused_briefly()):
            self._set_aside_at = self._context.clock.monotonic()
            return True
        return False

    async def _paused_briefly(self) -> bool:
        """Wait for the end of a short pause; return False if it is a long one.

        The worker takes no other Space for a short one: where the Hub has just gone
        down, that would only lose one more response.
        """
        clock = self._context.clock
        wait = self.ready_at - clock.monotonic()
        if wait > _SHORT_PAUSE_SECONDS:
            return False
        if wait > 0:
            self._stats.waited += wait
            await clock.sleep(wait)
        return True

    def _resume(self) -> None:
        """Go on after others came first, or after a pause."""
        context, now = self._context, self._context.clock.monotonic()
        if self._outages is not None and self._outages != context.gate.outages:
            self._counter.forgive()
        self._outages = None
        if self.ready_at > self._set_aside_at:
            self._stats.waited += min(now, self.ready_at) - self._set_aside_at
        if self.ready_at > now + TIMER_SLACK_SECONDS and context.stop.is_set:
            self._give_up()  # The pause was cut short.
        self.ready_at = _AT_ONCE

    def no_other_comes_first(self) -> None:
        """Note that there is no other Space that could show who is at fault."""
        self._counter.is_last = True

    def cancel(self) -> None:
        """End it where it is."""
        # With some keys written and others not, the Space as a whole is in doubt.
        self.state = fate.cancelled(self.state, wrote=self._wrote or bool(self._keys))
        self._steps.clear()

    def stop(self) -> None:
        """End it with what is known, after its wait was cut short."""
        if self._wrote:
            self.cancel()
            return
        self._give_up()
        self._is_over()

    def _give_up(self) -> None:
        self.state = fate.given_up(self.state)
        if self._keys and self.state.error is None:
            error = SpacesError(f"{self.repo_id}: the bulk ended before the next key")
            self.state = fate.failed(error)

    def _is_over(self) -> bool:
        """Return whether all steps are over; if one is, begin the next."""
        if not isinstance(self.state, Finished):
            return False
        if not self._in_keys:
            return True  # There is one step only.
        while isinstance(self.state, Finished) and self._steps:
            end = self.state
            if end.status not in _GOES_ON and end.reason != DRIFT:
                self._note_keys_on(end.error)
                self._steps.clear()
                break
            key, _ = self._steps.pop(0)
            self._keys.append(KeyOutcome(key, _GOES_ON.get(end.status, "skipped")))
            if self._steps:
                self.state = self._inherited
                self._trouble = None
                self._looked_before, self._state_before = False, None
            else:
                self.state = _all_keys(self._keys)
        return isinstance(self.state, Finished)

    def _note_keys_on(self, error: Exception | None) -> None:
        done, total = len(self._keys), len(self._keys) + len(self._steps)
        if error is not None and total > 1:
            error.add_note(f"at {self._steps[0][0]}; {done} of {total} were done")

    def _look_at_listing(self, listed: Listed) -> None:
        """Leave out what a fresh listing shows as needless."""
        context, evidence = self._context, self._evidence
        if evidence is None or evidence.listed is None:
            return
        wanted = self._looks_before and self.state == _FRESH and not self.begun
        if wanted and listed.is_fresh(context.clock.monotonic()):
            state = evidence.listed(listed.info)
            self._found_before(evidence, None if state is None else Done(state))

    async def _look_at_quota(self) -> None:
        """Leave it out if the owner's compute quota keeps it from starting."""
        context, listed = self._context, self._listed
        if self.state != _FRESH or self.begun:
            return
        info = listed.info if listed else await context.resolver.space(self.repo_id)
        if info is not None and context.quota.keeps(self.repo_id, info.runtime):
            self._stats = collect_stats()  # the listing does not count as an attempt
            self.state = Finished(OutcomeStatus.NOT_ATTEMPTED, reason=COMPUTE_QUOTA)

    @property
    def _evidence(self) -> Evidence[Any, Any] | None:
        return self._step.evidence if self._steps else None

    def _found_before(
        self, evidence: Evidence[Any, Any], state: Done[Any] | None
    ) -> None:
        """Take note of the state before, and leave the Space out if that says so."""
        context = self._context
        self._looked_before, self._state_before = True, state
        if state is None:
            return
        expected = context.expected.get(self.repo_id)
        if expected and has_changed(self._step.fields, expected, state.value):
            self.state = Finished(OutcomeStatus.SKIPPED, reason=DRIFT)
            return
        asked = context.only_changes or self._step.refused_if_already
        if not asked or evidence.already is None or not evidence.already(state.value):
            return
        found = evidence.judge(state.value, Circumstances(age=0.0))
        self.state = _unchanged(found.value if isinstance(found, Done) else None)

    async def _take_turn(self) -> None:
        """Wait at the gate and do one thing, or find that others come first."""
        gate = self._context.gate
        trouble, before = self._trouble, 0.0
        if trouble is not None:
            before = self._context.clock.monotonic()
        if self._context.stop.at_once:
            raise NotStartedError
        admission = self._admitted() or await self._enter(decides=True)
        if trouble is not None:
            trouble.count(before)
        try:
            if self.state is not _FRESH and self._is_suspect():
                self._outages = gate.outages
                self.waits_for_other = True
                return
            await self._act(admission)
        finally:
            gate.leave(admission)

    def _short_way(self) -> Admission | None:
        """Return what lets the write out where nothing is to be done before it.

        That is the way of nearly every Space; None: it takes the long one.
        """
        if self.state is not _FRESH or self._trouble is not None:
            return None
        if self._context.history.is_kept or self._looks_before:
            return None
        return self._admitted()

    def _is_suspect(self) -> bool:
        """Return whether another Space has to show first who is at fault."""
        in_trouble = isinstance(self.state, _IN_TROUBLE)
        if not in_trouble or self._counter.is_last:
            return False
        return self._context.gate.is_suspect(self.repo_id)

    async def _act(self, admission: Admission) -> None:
        """Read if need be, then send if that may be."""
        match self.state:
            case Acted() as acted:
                await self._read_result(admission, acted)
                return
            case Lost() as lost:
                await self._look(admission, lost)
            case Fresh() if not self._looked_before and self._looks_before:
                await self._look_before(admission)
            case _:
                pass
        if isinstance(self.state, Open) and not self._counter.may_send:
            self.state = fate.given_up(self.state)
        pending = self._trouble is not None and self._trouble.is_pending
        if isinstance(self.state, _MAY_BE_SENT) and not pending:
            if self._context.stop.at_once:
                raise NotStartedError  # It was stopped during the read.
            if self._context.history.is_kept:
                await self._announce(self._kept_before())
            await self._send(admission)

    def _kept_before(self) -> dict[str, Any] | None:
        """Return the state before the step as the journal keeps it, once for each."""
        state, self._state_before = self._state_before, None
        key, step = self._steps[0]
        records = self._context.records_before and isinstance(self.state, Fresh)
        if state is None or step.snapshot is None or not records:
            return None
        return {key: step.snapshot.keep(state.value)}

    @property
    def _looks_before(self) -> bool:
        """Whether the state before matters: to leave the Space out, or for the journal."""
        context, step = self._context, self._step
        may_matter = context.only_changes or context.records_before or context.expected
        if not (may_matter or step.refused_if_already) or step.evidence is None:
            return False
        may_be_needless = step.evidence.already is not None and (
            context.only_changes or step.refused_if_already
        )
        return (
            may_be_needless
            or (context.records_before and step.snapshot is not None)
            or self.repo_id in context.expected
        )

    async def _look_before(self, admission: Admission) -> None:
        """Read the state before."""
        context, evidence = self._context, self._evidence
        if evidence is None:
            return
        before, now = self._before, context.clock.monotonic()
        if before is None or not before.tells(evidence, now):
            try:
                state = await context.resolver.state_before(
                    self.repo_id,
                    evidence,
                    context.of_owner,
                    alone=context.records_before or self.repo_id in context.expected,
                )
            except SpacesError as error:
                if is_trouble(error) and self._counter.may_read:
                    self._counter.note(admission, "unread", self.repo_id, error)
                    return
                state = None  # The write itself finds out what is wrong.
            before = self._before = _StateBefore(evidence.read, state, now)
        self._found_before(evidence, before.state)

    async def _look(self, admission: Admission, state: Lost) -> None:
        """Find out whether a write whose response was lost took effect."""
        context, evidence = self._context, self._evidence
        found: Done[Any] | Verdict = Verdict.UNKNOWN
        if evidence is not None and (context.policy.verify or state.sent.crashed):
            try:
                found = await context.resolver.verdict(
                    self.repo_id, evidence, state.sent
                )
            except SpacesError as error:
                limited = isinstance(error, RateLimitError) and error.attempts > 0
                if self._counter.may_read and (is_trouble(error) or limited):
                    self._counter.note(admission, "unread", self.repo_id, error)
                    return
        self.state = fate.after_look(state, found, self._step.on_lost)

    async def _read_result(self, admission: Admission, state: Acted) -> None:
        """Read the result of a write that the Hub acted on."""
        found: Done[Any] | Verdict = Verdict.UNKNOWN
        try:
            found = self._step.bodyless or await self._context.resolver.result(
                self.repo_id, self._evidence
            )
        except SpacesError as error:
            if is_trouble(error) and self._counter.may_read:
                self._counter.note(admission, "unread", self.repo_id, error)
                return
        self.state = fate.after_read(state, found)

    async def _send(self, admission: Admission) -> None:
        """Send the write once."""
        context, step, before = self._context, self._step, self.state
        self.begun, soon = True, False
        clock, runtime = context.clock, self._runtime_before
        since = clock.monotonic()
        writes = self._stats.writes
        self._inherited = _FRESH
        try:
            if step.stamp is not None:
                # It finds the token, which may fail.
                soon = await context.once.wrote_a_moment_ago(self.repo_id, step.stamp)
            if isinstance(step, Write):
                call = step.to(self.repo_id)
                if runtime is not None:
                    call = evolve(call, before=runtime)
                value = await context.once.send(call)
                if step.advice is not None:
                    with contextlib.suppress(UserWarning):
                        step.warn(self.repo_id, value)
                end = fate.done(value)
            else:
                end = await self._edit(step)
        except SpacesError as error:
            caught = without_frames(error)
        except asyncio.CancelledError:
            self._wrote = self._stats.writes > writes
            raise
        else:
            context.gate.succeeded(admission, self.repo_id)
            self.state = end
            return
        at = clock.utcnow() - timedelta(seconds=clock.monotonic() - since)
        self._after_error(caught, before, Sent(at, since, soon, runtime), admission)
        if isinstance(self.state, Acted):
            await self._read_result(admission, self.state)
        elif isinstance(self.state, Lost):
            await self._look_at_once(self.state)

    async def _look_at_once(self, state: Lost) -> None:
        """Look before the gate may close, where the state soon proves nothing more.

        A Hub that fails writes may still answer reads.
        """
        context, evidence = self._context, self._evidence
        if evidence is None or not evidence.settle or not context.policy.verify:
            return
        if context.stop.at_once:
            return
        try:
            found = await context.resolver.verdict(self.repo_id, evidence, state.sent)
        except SpacesError:
            return  # It is looked at again when the gate is open.
        self.state = fate.after_look(state, found, self._step.on_lost)

    @property
    def _runtime_before(self) -> SpaceRuntime | None:
        """The runtime before, where it is known, as long as nothing was sent."""
        listed = self._listed
        if listed is None or not listed.is_fresh(self._context.clock.monotonic()):
            return None
        return listed.info.runtime if isinstance(self.state, Fresh) else None

    async def _edit(self, step: Edit[Any, Any]) -> Finished[Any]:
        """Read what the edit changes, and send the change."""
        once = self._context.once
        try:
            made = step.make(await once.send(step.read(self.repo_id)))
        except UnexpectedResponseError as error:
            return fate.failed(error)
        if self._context.stop.at_once:
            raise NotStartedError
        if isinstance(made, Done):
            return _unchanged(made.value)
        return fate.done(await once.send(made.to(self.repo_id)))

    def _after_error(
        self, error: SpacesError, before: State, sent: Sent, admission: Admission
    ) -> None:
        context = self._context
        if isinstance(error, RateLimitError) and context.policy.enabled:
            if _is_response(error):
                context.gate.succeeded(admission, self.repo_id)
            self.state = fate.after_refusal(before, error, self._refusals)
            return
        self.state = fate.after_error(
            before,
            error,
            sent,
            may_retry=context.policy.enabled,
            may_read=context.policy.verify,
            in_container=self._step.in_container,
        )
        if is_trouble(error):
            if isinstance(self.state, Lost) and self._evidence is not None:
                context.resolver.expect(self.repo_id, sent, self._evidence.settle)
            trouble: Trouble = "lost" if error.outcome_unknown else "refused"
            self._counter.note(admission, trouble, self.repo_id, error)
        elif _is_response(error):
            context.gate.succeeded(admission, self.repo_id)

    def _plan_pause(self) -> None:
        """Back off, unless the gate makes everything wait anyway."""
        context = self._context
        failures = self._counter.failures + max(0, len(self._refusals) - 1)
        waits_anyway = len(self._refusals) == 1 and not failures
        if context.gate.is_open or waits_anyway:
            return
        bound = backoff_bound(context.policy, 1 + failures)
        seconds = random.uniform(bound / 2, bound)  # noqa: S311  (spreads load, no secret)
        asked, self._counter.asked = self._counter.asked, 0.0
        if asked > seconds:
            seconds = min(asked, context.total or asked)
        self.ready_at = context.clock.monotonic() + seconds
        if context.told is not None:
            context.told.retry_wait(self.repo_id, seconds)


class FunctionRun(TargetRun[T]):
    """The work on one Space with a function of the user's, which retries by itself."""

    def __init__(
        self,
        context: BulkContext,
        claim: Claim,
        function: Function[T],
        left: Sent | None = None,
    ) -> None:
        """Begin; the arguments are those of `SpaceRun`."""
        super().__init__(context, claim.repo_id)
        self._function = function
        self._in_flight = False
        if left is not None:
            # No state proves what a function did.
            state = self._left_in_doubt(left)
            self.state = fate.given_up(state) if isinstance(state, Lost) else state

    async def advance(self) -> bool:
        """Call the function."""
        current_stats.set(self._stats)
        if isinstance(self.state, Finished):
            return True
        gate = self._context.gate
        try:
            admission = self._admitted() or await self._enter(decides=False)
        except (NotStartedError, OutageError):
            self.state = fate.given_up(self.state)
            return True
        try:
            if self._context.history.is_kept:
                await self._announce()
            self.begun = True
            self.state = await self._call(admission)
        except (NotStartedError, JournalError):
            self.state = fate.given_up(self.state)
        except LeaseLostError:
            self.abandon()
        finally:
            gate.leave(admission)
        return True

    @property
    def is_in_flight(self) -> bool:
        """Whether the function runs, and may write."""
        return self._in_flight and not self._function.only_reads

    def stop(self) -> None:
        """End it with what is known, after its wait was cut short."""
        self.cancel()

    async def _call(self, admission: Admission) -> Finished[T]:
        context = self._context
        self._in_flight = True
        try:
            assert context.client is not None  # noqa: S101  (there is a function)
            value = await self._function.call(context.client, self.repo_id)
        except SpacesError as error:
            if is_trouble(error):
                context.gate.failed(admission, self.repo_id, error)
            elif _is_response(error):
                context.gate.succeeded(admission, self.repo_id)
            return self._failed(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(
                SpacesError(f"{self.repo_id}: the operation cancelled itself")
            )
        except LeaseLostError:
            raise
        except Exception as error:
            self._require_lease()
            logger.debug("%s %s raised", context.name, self.repo_id, exc_info=error)
            return self._failed(error)
        self._require_lease()
        context.gate.succeeded(admission, self.repo_id)
        self._in_flight = False
        return fate.done(value)

    def _require_lease(self) -> None:
        """Check that no write was held back: the function may have caught that.

        Raises:
            LeaseLostError: One may have been; another host does it again.
        """
        if self._stats.fence is not None:
            self._stats.fence.require(0.0)

    def _failed(self, error: Exception) -> Finished[T]:
        """Return the end after an exception, whatever raised it.

        A write before it may have taken effect, so the Space is not simply untouched.
        """
        unresolved = fate.is_unresolved(self.state)
        return fate.failed(error, unknown=unresolved or self._stats.writes > 0)

    def cancel(self) -> None:
        """End it where it is."""
        # It may have done more than the requests that were counted.
        wrote = self._in_flight and not self._function.only_reads
        self.state = fate.cancelled(self.state, wrote=wrote or self._stats.writes > 0)


def steps_of(operation: Operation[Any]) -> tuple[tuple[str, Step], ...]:
    """Return the writes of an operation, and what each is about."""
    if isinstance(operation, Series):
        return operation.steps
    step: Any = operation
    return ((operation.name, step),)


def _all_keys(keys: list[KeyOutcome]) -> Finished[Any]:
    statuses = {key.status for key in keys}
    if "done" in statuses:
        return fate.done(keys)
    if "skipped" in statuses:
        return Finished(OutcomeStatus.SKIPPED, reason=DRIFT)
    return _unchanged(keys)


def _unchanged(value: Any) -> Finished[Any]:
    return Finished(OutcomeStatus.UNCHANGED, value=value, reason=ALREADY_SO)


def _is_response(error: SpacesError) -> bool:
    """Return whether the Hub has responded, and not the governor in its place."""
    if isinstance(error, HubResponseError | UnexpectedResponseError):
        return error.attempts > 0
    return False


def without_frames(error: T) -> T:
    """Drop the frames that a stored exception would keep alive."""
    seen: BaseException | None = cast("BaseException", error)
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
