"""One Space of a bulk, from its first attempt to its end.

In a bulk each call is sent once, and what becomes of it is decided here: the client's
own repeats would know nothing of the other calls, and multiply an outage by their
number. A call that met trouble waits until the Hub is well again; if its answer was
lost, the state of the Space is read before it is sent once more.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from spaces_async._core.retry import backoff_bound
from spaces_async._core.session import watch
from spaces_async._core.shared import current_stats
from spaces_async._wire.calls import Done, OnLost, Verdict
from spaces_async.bulk._engine.breaker import Admission, is_trouble
from spaces_async.bulk._engine.doubt import InDoubt
from spaces_async.bulk._engine.failures import FailureCounter, Met
from spaces_async.bulk._engine.gate import NotStartedError, OutageError
from spaces_async.bulk.report import Outcome, OutcomeStatus
from spaces_async.errors import (
    HubResponseError,
    JournalError,
    RateLimitError,
    SpacesError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from spaces_async.bulk._engine.context import BulkContext
    from spaces_async.bulk._engine.resolver import Resolver

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_REFUSALS: Final = 20
"""With the pauses between them, that takes about as long as a call may take."""


class Attempts(Generic[T]):
    """What is done to one Space.

    Attributes:
        begun: Whether anything may have been sent.
    """

    def __init__(
        self, means: BulkContext[T], repo_id: str, doubt: InDoubt | None = None
    ) -> None:
        """Make the attempts of the task that runs now.

        Args:
            means: What all Spaces share.
            repo_id: The Space.
            doubt: The call that another process has left.
        """
        self.begun = False
        self._means = means
        self._repo_id = repo_id
        self._trail = watch()
        self._doubt = doubt
        self._error: SpacesError | None = None
        # Whether a call is under way, or was cancelled; and the writes before it.
        self._sending = False
        self._writes = 0
        recovery = means.operation.recovery
        self._on_lost = OnLost.VERIFY if recovery is None else recovery.on_lost
        self._strikes = FailureCounter(
            means.gate,
            clock=means.clock,
            policy=means.policy,
            total=means.total,
            on_lost=self._on_lost,
        )
        # Whether another Space is to show who is to blame.
        self._unsure = False
        # A call on which the Hub acted, with an answer that nobody can read.
        self._acted: InDoubt | None = None
        # Whether one was repeated of which nobody knows what became.
        self._unresolved = False
        self._refusal: RateLimitError | None = None
        self._refusals = 0

    @property
    def in_doubt(self) -> bool:
        """Whether nobody knows what became of it, should it end here."""
        if self._doubt is not None or self._acted is not None or self._unresolved:
            return True
        if not self._sending:
            return False
        # A callable of the user's may have done more than the trail knows.
        is_one_request = bool(self._means.operation.request)
        return self._trail.writes > self._writes or not is_one_request

    async def outcome(self) -> tuple[Outcome[T], asyncio.CancelledError | None]:
        """Do it and say what became of it; also if the task was cancelled.

        Returns:
            The outcome, and the cancel to pass on.
        """
        started = self._means.clock.monotonic()
        value: T | None = None
        error: Exception | None = None
        cancelled: asyncio.CancelledError | None = None
        try:
            value = await self.run()
            status = OutcomeStatus.DONE
        except asyncio.CancelledError as cancel:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                cancelled = cancel
            else:
                error = SpacesError(f"{self._repo_id}: the operation cancelled itself")
            status = self._status_of_cancelled(by_itself=cancelled is None)
        except NotStartedError:
            status = OutcomeStatus.NOT_ATTEMPTED
        except Exception as caught:  # noqa: BLE001  (it is an outcome)
            status = self._status_of(caught)
            error = self._told(bare(caught))
        outcome = Outcome(
            self._repo_id,
            status,
            value=value,
            error=error,
            attempts=self._trail.sends,
            elapsed=self._means.clock.monotonic() - started,
            waited=self._trail.waited,
        )
        return outcome, cancelled

    def _told(self, error: Exception) -> Exception:
        """Say on the error how often it was sent in all; it knows of the last time."""
        sends, waited = self._trail.sends, self._trail.waited
        if getattr(error, "attempts", sends) < sends:
            error.attempts = sends  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
            error.add_note(f"{sends} requests in all, waited {waited:.1f} s")
        return error

    def _status_of(self, error: Exception) -> OutcomeStatus:
        if not isinstance(error, SpacesError):
            name = self._means.operation.name
            logger.debug("%s %s raised", name, self._repo_id, exc_info=error)
            return OutcomeStatus.FAILED
        # A write that the Hub acted on, with an answer that cannot be read, is no failure
        # of which one could say that nothing happened.
        acted = isinstance(error, UnexpectedResponseError) and self._trail.writes > 0
        if error.outcome_unknown or acted:
            return OutcomeStatus.UNKNOWN
        return OutcomeStatus.FAILED

    def _status_of_cancelled(self, *, by_itself: bool) -> OutcomeStatus:
        if by_itself:
            return OutcomeStatus.FAILED
        return OutcomeStatus.UNKNOWN if self.in_doubt else OutcomeStatus.NOT_ATTEMPTED

    async def run(self) -> T:
        """Do it.

        Raises:
            NotStartedError: The bulk ended before anything was sent.
            Exception: It failed, or with `outcome_unknown` nobody knows.
        """
        if self._doubt is not None:
            self._take_over()
        if self._means.resolver is None:
            return await self._trust()
        while True:
            turn = await self._enter(decides=True)
            try:
                done = await self._step(turn, self._means.resolver)
            finally:
                self._means.gate.leave(turn)
            if done is not None:
                return done.value
            if self._unsure:
                await self._try_another()
            else:
                await self._pause()

    def _take_over(self) -> None:
        """Take over a call that another process has left."""
        means = self._means
        if means.on_unknown == "retry":
            self._doubt = None
            return
        error = SpacesError(
            f"{self._repo_id}: {means.operation.name} was sent, or nearly, when the"
            " bulk before this one ended, and the Space does not show whether it took"
            " effect"
        )
        error.outcome_unknown = True
        if means.on_unknown == "skip" or means.resolver is None:
            raise error
        self._error = error

    async def _trust(self) -> T:
        """Call what takes care of its repeats itself."""
        means = self._means
        turn = await self._enter(decides=False)
        try:
            await self._announce()
            self._sending = True
            value = await means.operation.call(means.client, self._repo_id)
            means.gate.good(turn, self._repo_id)
        except SpacesError as error:
            if is_trouble(error):
                means.gate.bad(turn, self._repo_id, error)
            elif _is_answer(error):
                means.gate.good(turn, self._repo_id)
            raise
        finally:
            means.gate.leave(turn)
        self._sending = False
        return value

    async def _enter(self, *, decides: bool) -> Admission:
        """Wait for leave to send, then decide whose fault the last trouble was."""
        means = self._means
        before = means.clock.monotonic()
        try:
            turn = await means.gate.enter(
                self._repo_id, decides=decides, may_leave=self._may_leave
            )
        except OutageError:
            raise self._error or NotStartedError from None
        finally:
            self._trail.waited += means.clock.monotonic() - before
        self._strikes.count(before)
        return turn

    def _may_leave(self) -> bool:
        untouched = self._error is None and self._doubt is None
        return untouched and self._means.stopping()

    async def _step(self, turn: Admission, resolver: Resolver[T]) -> Done[T] | None:
        """Look if need be, send if that may be; None: wait and come again."""
        if self._is_unsure():
            return None
        if self._acted is not None:
            return await self._read_result(turn, resolver, self._acted)
        if self._doubt is not None:
            seen = await self._look(turn, resolver, self._doubt)
            if isinstance(seen, Done):
                return seen
            if self._strikes.met is not None:
                return None
        if self._error is not None and not self._strikes.may_repeat:
            raise self._error
        await self._announce()
        return await self._send(turn, resolver)

    async def _look(
        self, turn: Admission, resolver: Resolver[T], doubt: InDoubt
    ) -> Done[T] | None:
        """Read what became of the call in doubt."""
        verdict: Done[T] | Verdict = Verdict.UNKNOWN
        try:
            if self._means.policy.verify or doubt.crashed:
                verdict = await resolver.verdict(self._repo_id, doubt)
        except SpacesError as error:
            limited = isinstance(error, RateLimitError) and error.attempts > 0
            if self._strikes.may_look and (is_trouble(error) or limited):
                self._strikes.note(turn, "unread", self._repo_id, error)
                return None
        if isinstance(verdict, Done):
            self._doubt = None
            return verdict
        if verdict is Verdict.NOT_DONE:
            self._doubt = None
            self._unresolved = False
            if self._error is not None:
                self._error.outcome_unknown = False
            if doubt.crashed:
                self._error = None
        elif self._on_lost is not OnLost.REPEAT and self._error is not None:
            raise self._error
        return None

    async def _announce(self) -> None:
        """Record the intent; nothing is sent before that is durable."""
        means = self._means
        try:
            if means.journal is not None:
                await means.journal.intend(self._repo_id, means.clock.utcnow())
        except JournalError as error:
            means.on_broken(error)
            raise self._error or NotStartedError from None
        self.begun = True

    async def _send(self, turn: Admission, resolver: Resolver[T]) -> Done[T] | None:
        means = self._means
        doubt = InDoubt(means.clock.utcnow(), means.clock.monotonic())
        self._unresolved = self._unresolved or self._doubt is not None
        self._doubt = None
        self._writes = self._trail.writes
        self._sending = True
        try:
            value = await means.operation.call(means.once, self._repo_id)
        except SpacesError as error:
            caught = error
        else:
            self._sending = False
            means.gate.good(turn, self._repo_id)
            return Done(value)
        return await self._after(caught, doubt, turn, resolver)

    async def _after(
        self, error: SpacesError, doubt: InDoubt, turn: Admission, resolver: Resolver[T]
    ) -> Done[T] | None:
        """Decide what comes after a call that raised."""
        means = self._means
        if is_trouble(error):
            self._sending = False
            bare(error)
            self._error = error
            if error.outcome_unknown:
                self._doubt = doubt
                resolver.expect(self._repo_id, doubt)
            met: Met = "lost" if error.outcome_unknown else "refused"
            self._strikes.note(turn, met, self._repo_id, error)
            if not means.policy.enabled:
                raise error
            return None
        if _is_answer(error):
            means.gate.good(turn, self._repo_id)
        self._sending = False
        error.outcome_unknown = error.outcome_unknown or self._unresolved
        if isinstance(error, RateLimitError) and means.policy.enabled:
            self._note_refusal(error)
            return None
        if isinstance(error, UnexpectedResponseError):
            error.outcome_unknown = True
            if means.policy.verify:
                self._error, self._acted = error, doubt
                return await self._read_result(turn, resolver, doubt)
        raise error

    def _note_refusal(self, error: RateLimitError) -> None:
        """Come again: whoever sends the next call waits for the quota.

        Raises:
            RateLimitError: That takes too long, or it was refused too often.
        """
        if error.attempts == 0 and self._refusal is not None:
            # The Hub's own refusal says more than the governor's.
            self._refusal.retry_after = error.retry_after
            self._refusal.outcome_unknown = error.outcome_unknown
            raise self._refusal
        self._refusals += 1
        if error.attempts == 0 or self._refusals > _MOST_REFUSALS:
            raise error
        bare(error)
        self._refusal = error

    async def _read_result(
        self, turn: Admission, resolver: Resolver[T], doubt: InDoubt
    ) -> Done[T] | None:
        """Read the result of a call that the Hub acted on, from the state.

        Raises:
            SpacesError: It cannot be read.
        """
        found: Done[T] | None = None
        try:
            found = await resolver.value(self._repo_id, doubt)
        except SpacesError as error:
            if is_trouble(error) and self._strikes.may_look:
                self._strikes.note(turn, "unread", self._repo_id, error)
                return None
        if found is None and self._error is not None:
            raise self._error
        self._acted = None
        return found

    def _is_unsure(self) -> bool:
        """Whether another Space is to show first who is to blame for the trouble."""
        if self._error is not None and not self._strikes.is_last:
            self._unsure = self._means.gate.is_suspect(self._repo_id)
        return self._unsure

    async def _try_another(self) -> None:
        """Do another Space while this one waits to see how that fares."""
        self._unsure = False
        outages = self._means.gate.outages
        try:
            self._strikes.is_last = not await self._means.try_another()
        finally:
            current_stats.set(self._trail)
        if outages != self._means.gate.outages:
            self._strikes.forgive()

    async def _pause(self) -> None:
        """Back off, unless the gate makes everybody wait anyway."""
        means = self._means
        failures = self._strikes.failures + max(0, self._refusals - 1)
        waits_anyway = self._refusals == 1 and not failures
        if means.gate.is_open or waits_anyway:
            return  # The gate makes it wait, or the client with its next call.
        bound = backoff_bound(means.policy, 1 + failures)
        seconds = random.uniform(bound / 2, bound)  # noqa: S311  (spreads load, no secret)
        asked, self._strikes.asked = self._strikes.asked, 0.0
        if asked > seconds:
            await self._rest(min(asked, means.total or asked))
            return
        self._trail.waited += seconds
        await means.clock.sleep(seconds)

    async def _rest(self, seconds: float) -> None:
        """Wait as the Hub has asked to, or until the bulk ends.

        Raises:
            SpacesError: It has ended; so does this, with what it has.
        """
        means = self._means
        before = means.clock.monotonic()
        rested = not means.stopping() and await means.gate.rest(seconds)
        self._trail.waited += means.clock.monotonic() - before
        if not rested:
            raise self._error or NotStartedError


def _is_answer(error: SpacesError) -> bool:
    """Whether the Hub has said something, and not the governor in its place."""
    if isinstance(error, HubResponseError | UnexpectedResponseError):
        return error.attempts > 0
    return False


def bare(error: Exception) -> Exception:
    """Drop the frames that a stored exception would keep alive."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
