"""Paces the calls of one token against the quota that the Hub announces.

A governor learns the quota from the answers. Until the first one only a probe is
under way; then calls go out while more is left than is under way; when nothing is
left, every call waits for the end of the window. So a 429 that can be avoided is. What
is known, and what follows from it, is in `_quota`; the waiting is here.

A waiter waits for an instant or for a change, and looks at the state again afterwards.
Whom a change wakes is computed from the state, and a place is taken only by issuing a
ticket, so a waiter that is cancelled takes nothing with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from spaces_async._quota.state import (
    ANY,
    PATIENCE,
    Heard,
    Permit,
    QuotaState,
    SharedUseEstimator,
)
from spaces_async._quota.waiters import WaiterQueue
from spaces_async._wire.ratelimit import ROUNDING_SECONDS, Quota
from spaces_async.errors import (
    ActionLimitError,
    ClientClosedError,
    RateLimitError,
    RequestTimeoutError,
)
from spaces_async.settings import QuotaWait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from spaces_async._clock import Clock
    from spaces_async._quota.ledger import Page

__all__ = ["Governor", "Permit"]

logger = logging.getLogger(__name__)

ACTION_HOLD: Final = 60.0
"""How long a kind of call is held back when the Hub does not say how long."""

BLIND_HOLD_MAX: Final = 300.0
"""Longest hold after a 429 that says nothing: the Hub's documented window."""

AFTER_RESET: Final = 0.05
"""Greatest delay in seconds with which calls start into a new window."""

LOOK_AGAIN: Final = 0.05
"""Seconds after which the ledger is read again: no other process can wake us."""

SAME: Final = 1.0
"""Two ends of a wait that lie no further apart are the same to whoever is told."""

SHORTEST: Final = 0.001
"""Least seconds of a wait."""

GRACE: Final = 2.0
"""Seconds for which calls under way may hold up a call that is to fail fast."""


@frozen
class _Wait:
    """A call must wait until an instant; `action` if only calls of its kind must.

    Attributes:
        until: When.
        left: What is left of the quota; None is unknown.
        action: Whether only calls of its kind must wait.
    """

    until: float
    left: int | None
    action: bool = False


@define
class _Pace:
    """How many calls may be under way where the Hub announces no quota.

    Additive increase, multiplicative decrease: one more for each full round of good
    answers, half as many after a 429 or 503, at most once a second.
    """

    limit: float = 16.0
    cut_at: float = float("-inf")

    def good(self) -> None:
        self.limit += 1.0 / self.limit

    def bad(self, now: float) -> None:
        if now - self.cut_at >= 1.0:
            self.limit = max(1.0, self.limit / 2.0)
            self.cut_at = now


class Governor:
    """The quota of one token at one endpoint, as far as it is known."""

    def __init__(
        self,
        clock: Clock,
        *,
        reserve: float = 0.0,
        strict: bool = False,
        page: Page | None = None,
        on_wait: Callable[[QuotaWait], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Make a governor.

        Args:
            clock: Where the time comes from.
            reserve: Share of a window that background calls leave to others.
            strict: Leave the last calls of a window alone rather than risk a 429 when
                other programs use the same token.
            page: Where the processes of this host tell each other what they know; None
                if they do not.
            on_wait: Called when a call starts to wait.
            rng: Spreads waits.
        """
        self._clock = clock
        self._reserve = reserve
        self._page = page
        self._on_wait = on_wait
        self._rng = rng or random.Random()  # noqa: S311  (spreads load, no secret)
        # The ledger counts the calls of others; without one they have to be guessed.
        company = None if page is not None else SharedUseEstimator(strict=strict)
        self._state = QuotaState(company=company)
        self._alone = nullcontext((self._state,))
        self._pace = _Pace()
        self._announced: bool | None = None
        self._in_flight = 0
        self._blind_refusals = 0
        self._blind_since = float("-inf")
        self._told_of = float("-inf")
        # Answered calls that the ledger does not know of yet, because it was locked.
        self._unsettled: list[Permit] = []
        self._again: asyncio.TimerHandle | None = None
        self._closed = False
        # Who waits for a change (the others first, then bulk work), who for an instant.
        self._queues: dict[bool, WaiterQueue] = {
            False: WaiterQueue(),
            True: WaiterQueue(),
        }
        self._sleepers = WaiterQueue()

    @property
    def idle(self) -> bool:
        """Whether forgetting this governor would lose nothing."""
        now = self._clock.monotonic()
        ends = self._state.window.ends
        held = any(until > now for until in self._state.holds.values())
        busy = self._in_flight or self._unsettled or self._waiting
        return not (busy or held) and (ends is None or now >= ends)

    @property
    def _waiting(self) -> bool:
        return bool(self._sleepers) or any(self._queues.values())

    async def acquire(
        self,
        action: str,
        *,
        background: bool = False,
        longest: float | None = None,
        deadline: float | None = None,
    ) -> Permit:
        """Wait until a call may go out.

        Cancelling it leaves nothing behind.

        Args:
            action: Kind of call, such as "restart".
            background: Whether the call leaves the reserve to others.
            longest: Seconds that it may wait for a window to open; None is no limit.
            deadline: Instant after which it is too late; None is no limit.

        Raises:
            RateLimitError: The quota opens later than allowed.
            RequestTimeoutError: The deadline passed while others were under way.
            ClientClosedError: The client was closed meanwhile.
        """
        told_of = float("-inf")
        queued: float | None = None
        while True:
            now = self._clock.monotonic()
            leave = self._ask(action, now, background=background)
            if isinstance(leave, Permit):
                self._in_flight += 1
                return leave
            if leave is None:
                queued = now if queued is None else queued
                self._refuse_long_turn(now - queued, longest)
                await self._wait_for_change(now, deadline, background=background)
                continue
            queued = None
            self._refuse_long_wait(action, leave, now, longest, deadline)
            self._log(action, leave, now)
            if leave.until > told_of + SAME:
                told_of = leave.until
                self._report(action, leave, now)
            # Whoever was woken but must wait longer passes the place on.
            self._wake()
            await self._park(self._sleepers, leave.until - now)

    def release(self, ticket: Permit, *, sent: bool = True) -> None:
        """Give a ticket back. Does nothing the second time.

        Args:
            ticket: The ticket.
            sent: Whether any of its request may have gone out. If so and no answer
                was heard, the call is taken for counted.
        """
        if not ticket.open:
            return
        ticket.open = False
        ticket.unsent = not sent
        ticket.ended = self._clock.monotonic()
        self._in_flight -= 1
        self._settle(self._state, [ticket])
        if ticket.shared:
            self._unsettled.append(ticket)
        self._wake()

    def close(self) -> None:
        """Let nobody wait any longer: the client is closed."""
        self._closed = True
        if self._unsettled:
            self._wake()
        if self._again is not None:
            self._again.cancel()
        for parked in (self._sleepers, *self._queues.values()):
            parked.wake(len(parked))

    def observe(
        self, ticket: Permit, quota: Quota | None, *, good: bool, hubs: bool = True
    ) -> None:
        """Take in what an answer that is no 429 said of the quota.

        Args:
            ticket: The ticket of its request, which is to be released next.
            quota: What its headers said.
            good: False if the Hub is in trouble (a 503).
            hubs: False if something in front of the Hub may have answered (5xx): that
                it announces no quota does not mean that the Hub does not.
        """
        now = self._clock.monotonic()
        if good:
            self._blind_refusals = 0
            self._pace.good()
        else:
            self._pace.bad(now)
        if quota is not None:
            self._announced = True
        elif self._announced is None and hubs:
            self._announced = False
        ticket.heard = Heard(now, quota)

    def refused(
        self, ticket: Permit, quota: Quota | None, *, wait: float | None
    ) -> None:
        """Take in a 429.

        Args:
            ticket: The ticket of its request, which is to be released next.
            quota: What its headers said.
            wait: Seconds to wait as `Retry-After` or the message said.
        """
        now = self._clock.monotonic()
        self._pace.bad(now)
        if quota is None:
            if self._announced is None:
                self._announced = False
            seconds = self._blind_hold(now) if wait is None else wait
            ticket.heard = Heard(now, hold=(ANY, now + seconds))
            logger.info("the Hub holds back all calls for %.0f s", seconds)
            return
        self._announced = True
        if quota.remaining > 0:
            seconds = ACTION_HOLD if wait is None else wait
            ticket.heard = Heard(now, quota, hold=(ticket.action, now + seconds))
            logger.info(
                "the Hub holds back calls of kind %s for %.0f s", ticket.action, seconds
            )
        else:
            # Retry-After is exact; the extra second belongs to the rounded `t` only.
            seconds = quota.reset + ROUNDING_SECONDS if wait is None else wait
            until = now + seconds + self._rng.uniform(0, AFTER_RESET)
            ticket.heard = Heard(now, shut_until=until)
            logger.info("the quota is used up; it opens again in %.0f s", seconds)

    def _blind_hold(self, now: float) -> float:
        """Say how long to wait after a 429 that does not say it."""
        if now - self._blind_since > BLIND_HOLD_MAX:
            self._blind_refusals = 0  # another trouble than last time
        self._blind_since = now
        self._blind_refusals += 1
        bound = min(2.0 ** min(self._blind_refusals, 9), BLIND_HOLD_MAX)
        return self._rng.uniform(bound / 2, bound)

    def _ask(
        self, action: str, now: float, *, background: bool
    ) -> Permit | _Wait | None:
        """Take a place if there is one; else say until when to wait, if that is known.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError("the client was closed while a call waited")
        with self._known(now) as states:
            if not states:
                return None
            for state in states:
                state.forget_what_is_over(now, busy=self._waiting)
            held = max((s.held_until(action) or 0.0 for s in states), default=0.0)
            if held > now:
                all_held = any(state.holds.get(ANY) == held for state in states)
                return _Wait(held, _least_left(states), action=not all_held)
            if self._places(states, now, background=background) > 0:
                numbers = [state.take(now) for state in states]
                return Permit(action, now, numbers[0], shared=len(states) > 1)
            if self._is_blind(states):
                return None
            until = self._used_up_until(states, background=background)
            return None if until is None else _Wait(until, _least_left(states))

    def _is_blind(self, states: Sequence[QuotaState]) -> bool:
        return self._announced is False and all(s.window.left is None for s in states)

    def _places(
        self, states: Sequence[QuotaState], now: float, *, background: bool
    ) -> int:
        """Return how many more calls may go out now."""
        if self._is_blind(states):
            return int(self._pace.limit) - self._in_flight
        reserve = self._reserve if background else 0.0
        # Of those that know what is left, the one that knows of least is right.
        knowing = [s for s in states if s.window.left is not None] or states
        return min(state.places(now, reserve=reserve) for state in knowing)

    def _used_up_until(
        self, states: Sequence[QuotaState], *, background: bool
    ) -> float | None:
        """Return when the window ends, if no answer can free a place before that."""
        reserve = self._reserve if background else 0.0
        ends = [state.used_up_until(reserve=reserve) for state in states]
        return max((end for end in ends if end is not None), default=None)

    def _refuse_long_turn(self, waited: float, longest: float | None) -> None:
        """End a wait for the answers of others, where the quota is all but used up."""
        ends = self._state.window.ends
        if longest is None or ends is None or waited < max(longest, GRACE):
            return
        self._wake()
        raise RateLimitError(
            "what is left of this token's quota is in use by calls under way, for"
            f" longer than max_rate_limit_wait ({longest:.0f} s)",
            retry_after=max(1.0, min(ends - self._clock.monotonic(), PATIENCE)),
            remaining=self._state.window.left,
        )

    async def _wait_for_change(
        self, now: float, deadline: float | None, *, background: bool
    ) -> None:
        # The end of the window counts as a change, and so does the end of patience.
        seconds = PATIENCE
        if self._page is not None:
            self._look_again_soon()
        if deadline is not None:
            if now >= deadline:
                raise RequestTimeoutError(
                    "the call's total time passed while it waited for its turn",
                    phase="total",
                )
            seconds = min(seconds, deadline - now)
        await self._park(self._queues[background], seconds)

    def _refuse_long_wait(
        self,
        action: str,
        leave: _Wait,
        now: float,
        longest: float | None,
        deadline: float | None,
    ) -> None:
        wait = leave.until - now
        if longest is not None and wait > longest:
            limit = f"max_rate_limit_wait ({longest:.0f} s)"
        elif deadline is not None and leave.until > deadline:
            limit = f"the {max(0.0, deadline - now):.0f} s that the call has left"
        else:
            return
        self._wake()  # who leaves passes the place on
        what = "the quota of this token opens again"
        kind: type[RateLimitError] = RateLimitError
        if leave.action:
            what = f"the Hub limits calls of this kind ({action}): the next is possible"
            kind = ActionLimitError
        raise kind(
            f"{what} in {wait:.0f} s, longer than {limit}",
            retry_after=wait,
            remaining=leave.left,
        )

    def _log(self, action: str, leave: _Wait, now: float) -> None:
        # Many calls wait for the same instant, which may come a little nearer.
        if leave.until > self._told_of + SAME:
            self._told_of = leave.until
            what = f"calls of kind {action} are" if leave.action else "the quota is"
            logger.info("%s used up: waiting %.0f s for more", what, leave.until - now)

    def _report(self, action: str, leave: _Wait, now: float) -> None:
        if self._on_wait is None:
            return
        reason = "action" if leave.action else "window"
        wait = QuotaWait(seconds=leave.until - now, reason=reason, action=action)
        try:
            self._on_wait(wait)
        except Exception:
            logger.exception("on_wait failed; the call goes on")

    async def _park(self, parked: WaiterQueue, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        parked.add(waiter)
        taken = False
        try:
            # Timers may go off a little early; then this must not spin.
            await self._clock.wait_for(waiter, max(seconds, SHORTEST))
            taken = True
        finally:
            parked.discard(waiter)
            if not taken and waiter.done():
                # Woken and cancelled at the same time: the place is for the next.
                self._wake()

    def _wake(self) -> None:
        """Wake as many of those who wait as may go out.

        Where the window is used up all are woken: they are told, and wait for its end.
        """
        if not (self._unsettled or any(self._queues.values())):
            return
        now = self._clock.monotonic()
        with self._known(now) as states:
            if not states:
                self._look_again_soon()
                return
            woken = 0
            for background, queue in self._queues.items():
                if not queue:
                    continue
                places = self._places(states, now, background=background) - woken
                if places > 0:
                    woken += queue.wake(places)
                elif self._used_up_until(states, background=background) is not None:
                    queue.wake(len(queue))

    def _look_again_soon(self) -> None:
        """Look into the ledger by and by: no other process can wake us."""
        if self._again is None and not self._closed:
            loop = asyncio.get_running_loop()
            seconds = self._rng.uniform(0.5, 1.5) * LOOK_AGAIN
            self._again = loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._wake()
        if any(self._queues.values()):
            self._look_again_soon()

    def _settle(self, state: QuotaState, tickets: Iterable[Permit]) -> None:
        if state.settle(tickets):
            self._sleepers.wake(len(self._sleepers))

    def _known(self, now: float) -> AbstractContextManager[Sequence[QuotaState]]:
        """Open what is known: by this client, and by the ledger if there is one.

        Nothing at all while another process has the ledger locked for a moment.
        """
        if self._page is None:
            return self._alone
        return self._known_to_all(self._page, now)

    @contextmanager
    def _known_to_all(self, page: Page, now: float) -> Generator[Sequence[QuotaState]]:
        with page.open(now) as state:
            if state is None:
                yield () if page.is_locked_for_a_moment(now) else (self._state,)
                return
            if self._unsettled:
                tickets, self._unsettled = self._unsettled, []
                self._settle(state, tickets)
            yield self._state, state


def _least_left(states: Sequence[QuotaState]) -> int | None:
    known = [s.window.left for s in states if s.window.left is not None]
    return min(known, default=None)
