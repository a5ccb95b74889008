"""One call on its way: pace, send, read, interpret, look at the state, try again.

A `CallExecution` is made for each call and thrown away with it. What outlives it (connections,
quotas, the budget for repeats) is in `Shared`, which all views of a client have in
common (see `_core`).
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

from yarl import URL

from spaces_async._core.examine import examine
from spaces_async._core.retry import FREE, Tally, may_repeat, repeat
from spaces_async._core.shared import Options, Reply, Shared, current_stats
from spaces_async._wire import responses
from spaces_async._wire.calls import (
    Answer,
    Call,
    Circumstances,
    Done,
    Evidence,
    Failure,
    FailureClass,
    Lost,
    LostPhase,
    Verdict,
)
from spaces_async._wire.converter import DecodeError
from spaces_async._wire.transport import Progress, StreamReader
from spaces_async.errors import (
    HubResponseError,
    RateLimitError,
    RequestTimeoutError,
    SpaceNotFoundError,
    SpacesError,
    TransportError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from spaces_async._quota.governor import Permit
    from spaces_async._redacted import Token

T = TypeVar("T")
S = TypeVar("S")

_MAX_REDIRECTS: Final = 3
_FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = range(200, 300)
_PATIENCE_SECONDS: Final = 10.0
"""Where the look itself took longer than a restart can, a Space at rest proves nothing."""


class CallExecution(Generic[T]):
    """One call, from its first attempt to its result."""

    def __init__(  # noqa: PLR0917  (made in one place)
        self,
        shared: Shared,
        options: Options,
        token: Token | None,
        call: Call[T],
        url: URL,
        look_up: Callable[[Call[Any]], Awaitable[Any]],
    ) -> None:
        self._look_up = look_up
        self._shared = shared
        self._options = options
        self._token = token
        self._call = call
        self._url = url
        self._governor = shared.account(token).governor
        self._tally = Tally()
        self._stats = current_stats.get()
        total = options.timeouts.total
        self._deadline = None if total is None else shared.clock.monotonic() + total
        self._since: datetime | None = None
        self._soon = False
        self._nothing_happened = False
        self._wrote = False
        self._refusal: RateLimitError | None = None
        self.next_url: str | None = None

    async def result(self) -> T:  # noqa: RET503  (_end always raises)
        """Make the call.

        Raises:
            SpacesError: It failed for good.
        """
        self._shared.budget.earn()
        account, clock = self._shared.account(self._token), self._shared.clock
        self._soon = account.wrote_a_moment_ago(
            self._call.repo_id, self._call.stamp, clock.monotonic()
        )
        try:
            result = await self._attempt()
            if isinstance(result, Failure) and self._repeatable(result):
                result = await repeat(
                    self._attempt,
                    result,
                    tally=self._tally,
                    policy=self._options.retry,
                    clock=self._shared.clock,
                    deadline=lambda: self._deadline,
                    repeatable=self._repeatable,
                    rng=self._shared.rng,
                    what=f"{self._call.action.method} {shown(self._url)}",
                )
        except (RateLimitError, RequestTimeoutError) as error:
            # The governor's: the next attempt would have to wait too long.
            ended: SpacesError = error
        else:
            if not isinstance(result, Failure):
                return result
            ended = result.error
        finally:
            account.note_write(self._call, clock.monotonic())
            if self._stats is not None:
                self._stats.waited += self._tally.waited
        # Outside the handler, so that no context is chained.
        self._end(ended)

    def _repeatable(self, failure: Failure) -> bool:
        allowed = may_repeat(
            failure,
            self._call.action,
            self._tally,
            self._options.retry,
            nothing_happened=self._nothing_happened,
        )
        if allowed and failure.kind is FailureClass.AMBIGUOUS:
            return self._shared.budget.spend()
        return allowed

    async def _attempt(self) -> T | Failure:
        """Send once, interpret what comes, look at the state if nothing useful does."""
        replied = await self._follow()
        outcome: T | Failure
        if isinstance(replied, Failure):
            outcome = replied
        else:
            self.next_url = replied.answer.next_url
            outcome = self._interpret(replied)
        if isinstance(outcome, Failure):
            self._tally.note(outcome)
            if outcome.kind in FREE:
                self._take_back_write()
            outcome = await self._resolve(outcome)
        return outcome

    def _take_back_write(self) -> None:
        """Nothing happened: what was sent is no write of which anybody is in doubt."""
        if self._wrote and self._stats is not None:
            self._stats.writes -= 1
        self._wrote = False

    async def _follow(self) -> Reply | Failure:
        """Send once, and follow the redirects of a read within the origin."""
        url = self._url
        replied = await self._exchange(url)
        for _ in range(_MAX_REDIRECTS):
            if isinstance(replied, Failure):
                return replied
            target = self._redirect_target(url, replied.answer)
            if target is None:
                return replied
            url = target
            replied = await self._exchange(url)
        return replied

    def _redirect_target(self, url: URL, answer: Answer) -> URL | None:
        if self._call.action.is_write or answer.status not in _FOLLOWED:
            return None
        if not answer.location:
            return None
        try:
            target = url.join(URL(answer.location))
            same_origin = target.origin() == self._shared.endpoint.origin()
        except ValueError:
            return None
        return target if same_origin else None

    async def _exchange(self, url: URL) -> Reply | Failure:
        ticket = await self._ticket()
        progress = Progress()
        try:
            if self._shared.places.locked() and not await self._place_comes_free():
                return Failure(
                    FailureClass.NEVER_SENT,
                    RequestTimeoutError(
                        "all connections (max_connections) were busy until the call's"
                        " total time had passed",
                        phase="total",
                    ),
                )
            async with self._shared.places:
                lost = await self._send(ticket, url, progress)
        finally:
            self._governor.release(ticket, sent=progress.sent)
        if isinstance(lost, Lost):
            return responses.failure_of_loss(lost, is_write=self._call.action.is_write)
        return lost

    async def _ticket(self) -> Permit:
        clock = self._shared.clock
        patient = self._options.background
        before = clock.monotonic()
        ticket = await self._governor.acquire(
            self._call.action.name,
            background=patient,
            longest=self._options.retry.max_rate_limit_wait,
            deadline=None if patient else self._deadline,
        )
        waited = clock.monotonic() - before
        if waited > 0:
            self._tally.waited += waited
            if patient and self._deadline is not None:
                self._deadline += waited
        return ticket

    async def _place_comes_free(self) -> bool:
        limit, _ = self._limit()
        try:
            async with asyncio.timeout(limit):
                await self._shared.places.acquire()
        except TimeoutError:
            return False
        self._shared.places.release()
        return True

    def _limit(self) -> tuple[float | None, LostPhase]:
        """Return the seconds that an attempt may take, and what limits it."""
        attempt = self._options.timeouts.attempt
        if self._deadline is None:
            return attempt, "attempt"
        left = max(0.0, self._deadline - self._shared.clock.monotonic())
        if attempt is not None and attempt < left:
            return attempt, "attempt"
        return left, "total"

    async def _send(self, ticket: Permit, url: URL, progress: Progress) -> Reply | Lost:
        action = self._call.action
        limit, phase = self._limit()
        self._tally.sends += 1
        if self._since is None:
            self._since = self._shared.clock.utcnow()
        try:
            answer = await self._transfer(url, limit, phase, progress)
        finally:
            self._wrote = action.is_write and progress.sent
            if self._stats is not None:
                self._stats.sends += 1
                self._stats.writes += self._wrote
        if isinstance(answer, Lost):
            return answer
        return self._shared.hear(self._governor, ticket, answer)

    async def _transfer(
        self, url: URL, limit: float | None, phase: LostPhase, progress: Progress
    ) -> Answer | Lost:
        return await self._shared.transport.exchange(
            self._call.action.method,
            url,
            token=self._token,
            body=self._call.body,
            request_id=str(uuid.uuid4()),
            timeouts=self._options.timeouts,
            limit=limit,
            phase=phase,
            progress=progress,
        )

    def _interpret(self, reply: Reply) -> T | Failure:
        answer = reply.answer
        if answer.status not in _OK:
            answer = self._scrubbed(answer)
            absent = self._call.absent
            failure = responses.failure_of_answer(
                answer,
                quota=reply.quota,
                retry_after=reply.retry_after,
                repo_id=self._call.repo_id,
                anonymous=self._token is None,
            )
            if absent is not None and isinstance(failure.error, SpaceNotFoundError):
                return absent.value
            if isinstance(failure.error, RateLimitError):
                self._refusal = failure.error
            return failure
        try:
            return self._call.decode(answer.body)
        except DecodeError as error:
            problem = error
        answer = self._scrubbed(answer)
        try:
            self._call.decode(answer.body)
        except DecodeError as error:
            problem = error  # the same, with nothing in it that must not be shown
        return responses.failure_of_body(
            answer,
            is_write=self._call.action.is_write,
            message=str(problem),
            problems=problem.problems,
        )

    def _scrubbed(self, answer: Answer) -> Answer:
        """Take the token and the secrets out of what an error will show."""
        boxes = (*self._call.secrets, *filter(None, [self._token]))
        return responses.scrub(answer, [box.reveal() for box in boxes])

    async def _resolve(self, failure: Failure) -> T | Failure:
        """Find out whether a write whose response is missing or broken took effect."""
        call = self._call
        self._nothing_happened = False
        if not call.action.is_write or not self._options.retry.verify:
            return failure
        if failure.kind is FailureClass.APPLIED:
            found = await self._read_result()
        elif failure.kind is FailureClass.AMBIGUOUS:
            found = await self._examine()
        else:
            return failure
        if isinstance(found, Done):
            self._tally.doubt = False
            return found.value
        if found is Verdict.NOT_DONE:
            self._nothing_happened = True
            self._tally.doubt = False
        return failure

    async def _read_result(self) -> Done[T] | Verdict:
        """Read the result of a write that the Hub acted on, from the state."""
        if self._call.bodyless is not None:
            return self._call.bodyless
        evidence = self._call.evidence
        while evidence is not None and evidence.result is not None:
            state = await self._look(evidence)
            if state is None:
                break
            found = evidence.result(state.value)
            if not isinstance(found, Evidence):
                return found if isinstance(found, Done) else Verdict.UNKNOWN
            evidence = found
        return Verdict.UNKNOWN

    async def _examine(self) -> Done[T] | Verdict:
        """Look for what proves that a write took effect."""
        evidence = self._call.evidence
        if evidence is None or not evidence.before_repeat:
            return Verdict.UNKNOWN
        clock = self._shared.clock
        lost = clock.monotonic()

        async def read(
            evidence: Evidence[Any, Any], least_age: float
        ) -> tuple[Any, Circumstances]:
            if (wait := lost + least_age - clock.monotonic()) > 0:
                await clock.sleep(wait)
            state = await self._look_up(evidence.read(self._call.repo_id or ""))
            return state, Circumstances(
                age=max(clock.monotonic() - lost, least_age),
                patience=_PATIENCE_SECONDS,
                sent_at=self._shared.by_hub_clock(self._since),
                soon=self._soon,
            )

        try:
            async with asyncio.timeout(self._left()):
                return await examine(evidence, read)
        except (SpacesError, TimeoutError):
            return Verdict.UNKNOWN

    async def _look(self, evidence: Evidence[S, T]) -> Done[S] | None:
        """Read the state in the time that the call has left; None: it cannot be read."""
        try:
            async with asyncio.timeout(self._left()):
                call = evidence.read(self._call.repo_id or "")
                return Done(await self._look_up(call))
        except (SpacesError, TimeoutError):
            return None

    def _left(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._shared.clock.monotonic())

    def _end(self, error: SpacesError) -> NoReturn:
        tally = self._tally
        from_governor = isinstance(error, RateLimitError) and error.request_id is None
        if from_governor and self._refusal is not None:
            # The Hub's own refusal says more than the governor's.
            self._refusal.retry_after = cast("RateLimitError", error).retry_after
            error = self._refusal
        if isinstance(
            error, HubResponseError | TransportError | UnexpectedResponseError
        ):
            error.method = self._call.action.method
            error.url = shown(self._url)
            error.attempts = tally.sends
        error.outcome_unknown = self._call.action.is_write and tally.doubt
        if tally.sends > 1 or tally.waited >= 1.0:
            error.add_note(f"{tally.sends} attempts, waited {tally.waited:.1f} s")
        if self._call.refine is not None:
            error = self._call.refine(error)
        raise error


class Opening(CallExecution[None]):
    """The opening of a stream: a call whose body is read as it comes.

    Attributes:
        reader: Reads it, to be closed by who gets it; None until it is open.
    """

    reader: StreamReader | None = None

    async def _transfer(
        self, url: URL, limit: float | None, phase: LostPhase, progress: Progress
    ) -> Answer | Lost:
        opened = await self._shared.transport.open_stream(
            url,
            token=self._token,
            request_id=str(uuid.uuid4()),
            timeouts=self._options.timeouts,
            limit=limit,
            phase=phase,
            progress=progress,
        )
        if isinstance(opened, StreamReader):
            self.reader = opened
            return opened.answer
        return opened


def shown(url: URL) -> str:
    """Return a URL as errors show it: without query or credentials."""
    return str(url.with_query(None).with_fragment(None).with_user(None))
