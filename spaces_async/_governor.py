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
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from attrs import define, frozen

from spaces_async._parked import Parked
from spaces_async._quota import ANY, PATIENCE, Company, Heard, QuotaState, Ticket
from spaces_async._ratelimit import ROUNDING, Quota
from spaces_async.errors import ActionLimitError, RateLimitError, RequestTimeoutError
from spaces_async.settings import QuotaWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._clock import Clock
    from spaces_async._ledger import Page

__all__ = ["Governor", "Ticket"]

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

ACTION_HOLD: Final = 60.0
"""How long a kind of call is held back when the Hub does not say how long."""

BLIND_HOLD_MAX: Final = 300.0
"""Longest hold after a 429 that says nothing: the Hub's documented window."""

AFTER_RESET: Final = 0.05
"""Greatest delay in seconds with which calls start into a new window."""

LOOK_AGAIN: Final = 0.05
"""Seconds after which the ledger is read again: no other process can wake us."""

SHORTEST: Final = 0.001
"""Least seconds of a wait."""

LEDGER_PATIENCE: Final = 2.0
"""Seconds for which another process may keep the ledger locked, before we go alone."""


@frozen
class _Wait:
    """A call must wait until an instant; `action` if only calls of its kind must."""

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
        self._state = QuotaState(company=Company(strict=strict))
        self._pace = _Pace()
        self._announced: bool | None = None
        self._in_flight = 0
        self._blind_refusals = 0
        self._blind_since = float("-inf")
        self._told_of = float("-inf")
        # Answered calls that are not yet settled, because the ledger was locked.
        self._unsettled: list[Ticket] = []
        self._locked_since: float | None = None
        self._warned = False
        self._again: asyncio.TimerHandle | None = None
        # Who waits for a change (the others first, then bulk work), who for an instant.
        self._queues: dict[bool, Parked] = {False: Parked(), True: Parked()}
        self._sleepers = Parked()

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
    ) -> Ticket:
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
        """
        reported = False
        while True:
            now = self._clock.monotonic()
            leave = self._consult(now, self._ask, action, now, background=background)
            if isinstance(leave, Ticket):
                self._in_flight += 1
                return leave
            if leave is None:
                await self._wait_for_change(now, deadline, background=background)
                continue
            self._refuse_long_wait(action, leave, now, longest, deadline)
            self._log(action, leave, now)
            if not reported:
                reported = True
                self._report(action, leave, now)
            # Whoever was woken but must wait longer passes the place on.
            self._wake()
            await self._park(self._sleepers, leave.until - now)

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back. Does nothing the second time."""
        if not ticket.open:
            return
        ticket.open = False
        ticket.ended = self._clock.monotonic()
        self._in_flight -= 1
        self._unsettled.append(ticket)
        self._wake()

    def observe(self, ticket: Ticket, quota: Quota | None, *, good: bool) -> None:
        """Take in what an answer that is no 429 said of the quota.

        Args:
            ticket: The ticket of its request, which is to be released next.
            quota: What its headers said.
            good: False if the Hub is in trouble (a 503).
        """
        now = self._clock.monotonic()
        if good:
            self._blind_refusals = 0
            self._pace.good()
        else:
            self._pace.bad(now)
        if quota is not None:
            self._announced = True
        elif self._announced is None:
            self._announced = False
        ticket.heard = Heard(now, quota)

    def refused(
        self, ticket: Ticket, quota: Quota | None, *, wait: float | None
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
            seconds = quota.reset + ROUNDING if wait is None else wait
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
        self, state: QuotaState | None, action: str, now: float, *, background: bool
    ) -> Ticket | _Wait | None:
        """Take a place if there is one; else say until when to wait, if that is known."""
        if state is None:
            return None
        state.forget_what_is_over(now, busy=self._waiting)
        held = state.held_until(action)
        if held is not None:
            return _Wait(held, state.window.left, action=ANY not in state.holds)
        if self._places(state, now, background=background) > 0:
            ticket = state.issue(action, now)
            ticket.shared = state is not self._state
            return ticket
        if self._announced is False:
            return None
        reserve = self._reserve if background else 0.0
        until = state.used_up_until(reserve=reserve)
        return None if until is None else _Wait(until, state.window.left)

    def _places(self, state: QuotaState, now: float, *, background: bool) -> int:
        """Return how many more calls may go out now."""
        if self._announced is False:
            return int(self._pace.limit) - self._in_flight
        return state.places(now, reserve=self._reserve if background else 0.0)

    async def _wait_for_change(
        self, now: float, deadline: float | None, *, background: bool
    ) -> None:
        # The end of the window counts as a change, and so does the end of patience.
        seconds = PATIENCE
        if self._page is not None:
            seconds = self._rng.uniform(0.5, 1.5) * LOOK_AGAIN
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
        if leave.action:
            raise ActionLimitError(
                f"the Hub limits calls of this kind ({action}): the next is possible"
                f" in {wait:.0f} s, longer than {limit}",
                retry_after=wait,
                remaining=leave.left,
            )
        raise RateLimitError(
            f"the quota of this token opens again in {wait:.0f} s, longer than {limit}",
            retry_after=wait,
            remaining=leave.left,
        )

    def _log(self, action: str, leave: _Wait, now: float) -> None:
        # Many calls wait for the same instant, which may come a little nearer.
        if leave.until > self._told_of + 1.0:
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

    async def _park(self, parked: Parked, seconds: float) -> None:
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
        """Settle what is answered, and wake as many of those who wait as may go out."""
        now = self._clock.monotonic()
        self._consult(now, self._wake_by, now)

    def _wake_by(self, state: QuotaState | None, now: float) -> None:
        if state is None:
            # Another process has the ledger locked; nothing is lost meanwhile.
            self._try_again_soon()
            return
        woken = 0
        for background, queue in self._queues.items():
            if queue:
                places = self._places(state, now, background=background) - woken
                woken += queue.wake(places)

    def _try_again_soon(self) -> None:
        if self._again is None:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(LOOK_AGAIN, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        self._wake()

    def _consult(
        self,
        now: float,
        use: Callable[Concatenate[QuotaState | None, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Use what is known, with all answers taken in; None if it is locked."""
        if self._unsettled:
            self._settle(self._state, shared=False)
        if self._page is None:
            return use(self._state, *args, **kwargs)
        with self._page.open(now) as state:
            if state is not None:
                self._locked_since = None
                self._settle(state, shared=True)
                return use(state, *args, **kwargs)
        if self._locked_since is None:
            self._locked_since = now
        if now - self._locked_since < LEDGER_PATIENCE:
            return use(None, *args, **kwargs)
        if not self._warned:
            self._warned = True
            logger.warning(
                "the ledger is locked for %.0f s or cannot be read: pacing without it",
                LEDGER_PATIENCE,
            )
        return use(self._state, *args, **kwargs)

    def _settle(self, state: QuotaState, *, shared: bool) -> None:
        tickets = [ticket for ticket in self._unsettled if ticket.shared is shared]
        if not tickets:
            return
        self._unsettled = [t for t in self._unsettled if t.shared is not shared]
        if state.settle(tickets):
            self._sleepers.wake(len(self._sleepers))
