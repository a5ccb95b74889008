"""One call: wait for admission, send, interpret, look at the state, try again.

A `CallExecution` is made for each call and dropped with it. What lasts longer (the
connections, the quotas, the retry budgets) is in `Shared`, which all views of a client
share.

    run -> _attempt -> _send -> Transport.exchange
     |       |           `- a permit of the quota, a place among the connections
     |       `- redirects, the result of a 2xx, evidence after a lost write
     `- repeat, after a first attempt that failed and may be repeated
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, TypeGuard, TypeVar

from attrs import define, evolve

from spaces_async._core.admission import wait_for_admission
from spaces_async._core.examine import examine
from spaces_async._core.late_look import LateLook
from spaces_async._core.retry import (
    UNREACHED_SECONDS,
    Attempts,
    is_out_of_time,
    may_repeat,
    repeat,
)
from spaces_async._core.shared import CallStats, Options, Shared, current_stats
from spaces_async._wire import responses, urls
from spaces_async._wire.calls import (
    Call,
    Circumstances,
    Done,
    Evidence,
    Failure,
    FailureClass,
    Verdict,
)
from spaces_async._wire.converter import DecodeError
from spaces_async._wire.messages import LostResponse, Request, Response
from spaces_async._wire.transport import Exchange
from spaces_async.errors import (
    HubResponseError,
    RateLimitError,
    RedirectRefusedError,
    RequestTimeoutError,
    SpaceNotFoundError,
    SpacesError,
    TransportError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from spaces_async._core.shared import SendFence
    from spaces_async._redacted import Token
    from spaces_async._wire.messages import TimeLimit

logger = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S")

_MAX_REDIRECTS: Final = 3
_FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})
# An access to a member of an enumeration takes time on Python 3.11.
_NO_CONTENT: Final = HTTPStatus.NO_CONTENT.value


@define
class Received(Generic[T]):
    """What a call brought. Nothing changes it.

    Attributes:
        value: The result.
        response: Where it comes from; None if the state of the Space was read instead.
    """

    value: T
    response: Response | None = None


class CallExecution(Generic[T]):
    """One call, from its first attempt to its result."""

    __slots__ = (
        "_account",
        "_attempts",
        "_call",
        "_counted",
        "_options",
        "_read",
        "_shared",
        "_soon",
        "_stats",
        "_stream",
        "_token",
        "_url",
    )

    def __init__(  # noqa: PLR0917  (made in one place)
        self,
        shared: Shared,
        options: Options,
        token: Token | None,
        call: Call[T],
        url: URL,
        read: Callable[[Call[Any]], Awaitable[Any]],
        *,
        stream: bool = False,
    ) -> None:
        """Prepare a call.

        Args:
            shared: The connections and quotas.
            options: Those of the view that makes the call.
            token: Who makes it; None is anonymous.
            call: The call.
            url: Where it goes first.
            read: Makes another call, to read the state of the Space.
            stream: Whether the body of the response is left open, for the caller.
        """
        self._shared = shared
        self._options = options
        self._token = token
        self._call = call
        self._url = url
        self._read = read
        self._stream = stream
        self._account = account = shared.account(token)
        self._stats = current_stats.get()
        self._counted = False
        now = shared.clock.monotonic()
        total = options.timeouts.total
        self._attempts = Attempts(None if total is None else now + total)
        if not options.background:
            self._attempts.unreached_until = now + UNREACHED_SECONDS
        self._soon = call.stamp is not None and account.wrote_a_moment_ago(
            call.repo_id, call.stamp, now
        )

    async def run(self) -> Received[T]:
        """Make the call.

        Raises:
            SpacesError: It failed for good.
        """
        shared = self._shared
        self._account.budget.earn()
        try:
            outcome = await self._attempt()
            if isinstance(outcome, Failure) and self._may_repeat(outcome):
                outcome = await repeat(
                    self._attempt,
                    outcome,
                    attempts=self._attempts,
                    policy=self._options.retry,
                    clock=shared.clock,
                    repeatable=self._repeatable,
                    rng=shared.rng,
                    what=f"{self._call.action.method} {shown(self._url)}",
                    on_pause=self._note_pause,
                )
        except (RateLimitError, RequestTimeoutError) as error:
            # The governor's: the next attempt would have to wait too long.
            ended: SpacesError = error
        else:
            if not isinstance(outcome, Failure):
                return outcome
            ended = outcome.error
        finally:
            call = self._call
            if call.stamp is not None:
                now = shared.clock.monotonic()
                self._account.note_write(call.repo_id, call.stamp, now)
            if self._stats is not None:
                self._stats.waited += self._attempts.waited
        # Outside the handler, so that no context is chained.
        raise self._final_error(ended)

    def _note_pause(self, seconds: float) -> None:
        """Note a pause before another attempt; told where there is an observer."""

    def _may_repeat(self, failure: Failure) -> bool:
        policy = self._options.retry
        return may_repeat(failure, self._call.action, self._attempts, policy)

    def _repeatable(self, failure: Failure) -> bool:
        """Return whether a failed attempt is repeated; that may spend of the budget."""
        if not self._may_repeat(failure):
            return False
        if failure.kind in {FailureClass.AMBIGUOUS, FailureClass.NOT_DONE}:
            return self._account.budget.spend()
        return True

    async def _attempt(self) -> Received[T] | Failure:
        """Make one attempt, with its redirects, and interpret its end."""
        url = self._url
        received = await self._send(url)
        if isinstance(received, Response) and received.status in _FOLLOWED:
            url, received = await self._follow(url, received)
        outcome: Received[T] | Failure
        if isinstance(received, Response):
            outcome = self._interpret(received, is_own_place=url is self._url)
        else:
            outcome = received
        if isinstance(outcome, Failure):
            outcome = await self._resolve(outcome)
            if isinstance(outcome, Failure):
                self._attempts.note_failure(outcome)
                if outcome.kind is FailureClass.NOT_DONE:
                    self._take_back()
        return outcome

    async def _follow(
        self, url: URL, response: Response
    ) -> tuple[URL, Response | Received[T] | Failure]:
        """Follow the redirects of a read, or that of a write to the Space's new id.

        Returns:
            The last URL of the read, and what came from there.
        """
        if self._call.action.is_write:
            return url, await self._send_to_new_id(response)
        received: Response | Received[T] | Failure = response
        for _ in range(_MAX_REDIRECTS):
            target = self._redirect_target(url, received)
            if target is None:
                break
            url, received = target, await self._send(target)
        return url, received

    async def _send(self, url: URL) -> Response | Received[T] | Failure:
        """Send one request, as soon as the quota and the connections allow it."""
        shared, options, attempts = self._shared, self._options, self._attempts
        governor, name = self._account.governor, self._call.action.name
        background, stats = options.background, self._stats
        now = shared.clock.monotonic()
        permit = governor.try_acquire(name, now, background=background)
        if permit is None or not shared.places.try_take(background=background):
            admitted = await wait_for_admission(
                name,
                governor,
                permit,
                shared=shared,
                options=options,
                attempts=attempts,
            )
            if isinstance(admitted, Failure):
                return admitted
            permit, now = admitted, shared.clock.monotonic()
        look = self._late_look()
        exchange = Exchange(shared.transport.alarms, look)
        received: Response | LostResponse | None = None
        try:
            if stats is not None:
                stats.in_flight += 1
            attempts.note_send(now)
            received = await shared.transport.exchange(
                self._request(url, now, exchange), exchange
            )
            if isinstance(received, Response):
                shared.hear(governor, permit, received)
            if look is not None:
                await look.end()
        except BaseException as error:
            if look is None or not await look.end(error):
                raise
        finally:
            shared.places.give_back(background=background)
            # The Hub counts only requests that it received.
            governor.release(permit, sent=exchange.sent)
            if stats is not None:
                # A write that is cancelled may have been acted on, too.
                self._count(stats, exchange, received)
        return self._ended(received, look)

    def _ended(
        self, received: Response | LostResponse | None, look: LateLook[T] | None
    ) -> Response | Received[T] | Failure:
        """Return what an exchange brought.

        Args:
            received: What the transport returned; None if the look ended the exchange.
            look: The look at the state while the response was late.
        """
        if received is None:
            assert look is not None  # noqa: S101  (nothing else ends without a response)
            assert look.found is not None  # noqa: S101
            return Received(look.found.value)
        shared = self._shared
        if isinstance(received, Response) or received.sent:
            shared.reached = True
        elif (fence := self._fence) is not None:
            fence.require(0.0)
        if shared.reached:
            self._attempts.unreached_until = None
        if isinstance(received, Response):
            return received
        is_write = self._call.action.is_write
        return responses.failure_of_loss(received, is_write=is_write)

    def _late_look(self) -> LateLook[T] | None:
        """Return the look at the state while the response is late, if there is one."""
        evidence = self._call.evidence
        if evidence is None or evidence.late_look is None:
            return None
        if not self._options.late_looks:
            return None
        return LateLook(evidence.late_look, self._look_while_late)

    async def _look_while_late(self) -> Done[T] | None:
        """Return the result if the state shows that the write took effect."""
        evidence = self._call.evidence
        assert evidence is not None  # noqa: S101  (see `_late_look`)
        state = await self._read(evidence.read(self._call.repo_id or ""))
        age = self._shared.clock.monotonic() - self._attempts.last_sent
        found = evidence.judge(state, Circumstances(age=age, before=self._call.before))
        return found if isinstance(found, Done) else None

    @property
    def _fence(self) -> SendFence | None:
        """What limits when the call may be sent, if it writes."""
        stats = self._stats
        return stats.fence if stats is not None and self._call.action.is_write else None

    def _request(self, url: URL, now: float, exchange: Exchange) -> Request:
        timeouts = self._options.timeouts
        limit = self._attempts.time_limit(timeouts.attempt, now)
        if (fence := self._fence) is not None:
            limit = _fence_off(fence, limit, exchange, now)
        return Request(
            method=self._call.action.method,
            url=url,
            token=self._token,
            body=self._call.body,
            request_id=self._shared.new_request_id(),
            timeouts=timeouts,
            # A stream is silent until its headers arrive.
            limit=limit.at_most(timeouts.read, "read") if self._stream else limit,
            stream=self._stream,
        )

    def _count(
        self,
        stats: CallStats,
        exchange: Exchange,
        received: Response | LostResponse | None,
    ) -> None:
        """Add a request to the counts of the task; see `CallStats`."""
        stats.in_flight -= 1
        stats.sends += 1
        self._counted = False
        if self._call.action.is_write and exchange.sent:
            self._counted = responses.may_have_acted(received)
            stats.writes += self._counted

    def _take_back(self) -> None:
        """Take a write back from the counts: the state shows that it is not done."""
        if self._stats is not None:
            self._stats.writes -= self._counted
            self._counted = False

    async def _send_to_new_id(
        self, response: Response
    ) -> Response | Received[T] | Failure:
        """Send a write once more, if the Hub says that the Space has another id."""
        now = self._new_id(self._scrubbed(response))
        if now is None or self._withheld_from(now):
            return response
        logger.info(
            "%s %s: the Space is now %s; the request is sent there",
            self._call.action.method,
            shown(self._url),
            now,
        )
        if self._stats is not None:
            self._stats.new_id = now
        return await self._send(urls.at_id(self._url, self._call.segments, now))

    def _new_id(self, scrubbed: Response) -> str | None:
        return urls.new_id(scrubbed, self._url, self._call.segments)

    def _withheld_from(self, repo_id: str) -> bool:
        """Return whether the body has a secret that the owner of a Space must not get.

        Anyone can take a name that became free.
        """
        before = self._call.repo_id or ""
        return bool(self._call.secrets) and not urls.same_owner(before, repo_id)

    def _redirect_target(
        self, url: URL, received: Response | Received[T] | Failure
    ) -> URL | None:
        """Return the URL to read instead; None if there is none to follow."""
        if not isinstance(received, Response) or received.status not in _FOLLOWED:
            return None
        if not received.location:
            return None
        return urls.within(url, received.location)

    def _interpret(
        self, response: Response, *, is_own_place: bool
    ) -> Received[T] | Failure:
        """Return what a response brought.

        Args:
            response: The response.
            is_own_place: Whether it comes from the URL of the call, and not from one
                that the Hub redirected to. That nothing is there proves nothing.
        """
        call = self._call
        if response.status not in responses.OK:
            scrubbed = self._scrubbed(response)
            failure = responses.failure_of_response(
                scrubbed, repo_id=call.repo_id, anonymous=self._token is None
            )
            if isinstance(failure.error, RedirectRefusedError):
                self._name_new_id(failure.error, scrubbed)
            if (
                call.absent is not None
                and is_own_place
                and isinstance(failure.error, SpaceNotFoundError)
            ):
                return Received(call.absent.value, response)
            return failure
        try:
            value = self._decode(response)
        except DecodeError as error:
            problem = error
        else:
            why = None if call.ineffective is None else call.ineffective(value)
            if why is None:
                return Received(value, response)
            self._take_back()
            return responses.failure_of_no_effect(response, why)
        response = self._scrubbed(response)
        try:
            self._decode(response)
        except DecodeError as error:
            problem = error  # the same one, without the secrets
        return responses.failure_of_body(
            response, message=str(problem), problems=problem.problems
        )

    def _decode(self, response: Response) -> T:
        call = self._call
        if call.bodyless is not None and response.status == _NO_CONTENT:
            return call.bodyless.value
        if response.page and call.action.is_write:
            raise DecodeError("the response is a web page, not an answer of the API")
        return call.decode(response.body)

    def _name_new_id(self, error: RedirectRefusedError, scrubbed: Response) -> None:
        now = self._new_id(scrubbed)
        if now is None:
            return
        error.new_id = now
        if self._withheld_from(now):
            why = "a secret is not sent on to another owner"
        else:
            why = "a call follows only one such redirect"
        text = f"the Space is now {now}: {why}; call it by that id"
        responses.reword(error, text)

    def _scrubbed(self, response: Response) -> Response:
        """Replace the token and the secrets in what an error will show."""
        boxes = (*self._call.secrets, *filter(None, [self._token]))
        try:
            return responses.scrub(response, [box.reveal() for box in boxes])
        except BaseException as error:  # noqa: BLE001  (it is raised again)
            # It was interrupted. The frames below hold the token and the secrets.
            raise error.with_traceback(None) from None

    async def _resolve(self, failure: Failure) -> Received[T] | Failure:
        """Find out whether a write whose response is missing or broken took effect."""
        if not self._call.action.is_write or not self._options.retry.verify:
            return failure
        match failure.kind:
            case FailureClass.APPLIED:
                found = await self._read_result()
            case FailureClass.AMBIGUOUS:
                found = await self._examine()
            case _:
                return failure
        match found:
            case Done():
                return Received(found.value)
            case Verdict.NOT_DONE:
                return evolve(failure, kind=FailureClass.NOT_DONE)
            case Verdict.UNKNOWN:
                return failure

    async def _read_result(self) -> Done[T] | Verdict:
        """Read the result of a write on which the Hub acted, from the state."""
        if self._call.bodyless is not None:
            return self._call.bodyless
        evidence = self._call.evidence
        while evidence is not None and evidence.result is not None:
            state = await self._read_state(evidence)
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
        sent = self._attempts.last_sent

        async def read(
            evidence: Evidence[Any, Any], least_age: float
        ) -> tuple[Any, Circumstances]:
            if (wait := sent + least_age - clock.monotonic()) > 0:
                await clock.sleep(wait)
            state = await self._read(evidence.read(self._call.repo_id or ""))
            age = clock.monotonic() - self._attempts.first_sent
            first_sent_at = clock.utcnow() - timedelta(seconds=age)
            return state, Circumstances(
                age=max(clock.monotonic() - sent, least_age),
                sent_at=self._shared.by_hub_clock(first_sent_at),
                soon=self._soon,
                before=self._call.before,
            )

        try:
            left = self._attempts.time_left(clock.monotonic())
            async with asyncio.timeout(left):
                return await examine(evidence, read)
        except (SpacesError, TimeoutError):
            return Verdict.UNKNOWN

    async def _read_state(self, evidence: Evidence[S, T]) -> Done[S] | None:
        """Read the state in the time that the call has left; None if that fails."""
        left = self._attempts.time_left(self._shared.clock.monotonic())
        try:
            async with asyncio.timeout(left):
                call = evidence.read(self._call.repo_id or "")
                return Done(await self._read(call))
        except (SpacesError, TimeoutError):
            return None

    def _final_error(self, error: SpacesError) -> SpacesError:
        """Return what the caller gets to see of the error that ends the call."""
        attempts, action = self._attempts, self._call.action
        if attempts.refusal is not None and _is_governors(error):
            # The Hub's own refusal says more than the governor's.
            attempts.refusal.retry_after = error.retry_after
            error = attempts.refusal
        if attempts.unreached is not None and is_out_of_time(error):
            # Why there was no connection says more than that time was up.
            error = attempts.unreached
        if isinstance(
            error, HubResponseError | TransportError | UnexpectedResponseError
        ):
            error.method = action.method
            error.url = shown(self._url)
            error.attempts = attempts.sends
        error.outcome_unknown = action.is_write and attempts.in_doubt
        if attempts.waited >= 1.0:
            error.add_note(f"waited {attempts.waited:.1f} s")
        return error if self._call.refine is None else self._call.refine(error)


def _fence_off(
    fence: SendFence, limit: TimeLimit, exchange: Exchange, now: float
) -> TimeLimit:
    """Send a write only while it may be sent, until its attempt ends.

    That is asked now, after the wait for the quota, and again when the connection is
    there: the process may have been stopped in between.

    Returns:
        How long the attempt may take.
    """
    limit = limit.at_most(fence.longest, "attempt")
    seconds = fence.longest if limit.seconds is None else limit.seconds
    fence.require(seconds)
    exchange.may_send = partial(fence.lasts, now + seconds)
    return limit


def _is_governors(error: SpacesError) -> TypeGuard[RateLimitError]:
    return isinstance(error, RateLimitError) and error.request_id is None


def shown(url: URL) -> str:
    """Return a URL as errors show it: without query or credentials."""
    return str(url.with_query(None).with_fragment(None).with_user(None))
