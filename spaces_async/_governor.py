"""Paces the calls of one token against the quota that the Hub announces.

A governor learns the quota from the answers. Until the first one only a probe is
under way; then calls go out while more is left than is under way; when nothing is
left, every call waits for the end of the window. So a 429 that can be avoided is.

A waiter waits for an instant or for a change, and looks at the state again afterwards.
Whom a change wakes is computed from the state, and a place is taken only by issuing a
ticket, so a waiter that is cancelled takes nothing with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from attrs import define

from spaces_async._ratelimit import MAX_WAIT, ROUNDING, Quota, Window
from spaces_async.errors import ActionLimitError, RateLimitError, RequestTimeoutError
from spaces_async.settings import QuotaWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._clock import Clock

logger = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds after which a probe without an answer is given company."""

ACTION_HOLD: Final = 60.0
"""How long a kind of call is held back when the Hub does not say how long."""

BLIND_HOLD_MAX: Final = 300.0
"""Longest hold after a 429 that says nothing: the Hub's documented window."""

AFTER_RESET: Final = 0.05
"""Greatest delay in seconds with which calls start into a new window."""

EARLIER: Final = 0.05
"""A window's end must come nearer by this many seconds to wake those who wait."""

ANY: Final = ""
"""The name of the hold that is for calls of every kind."""


@define(eq=False)
class Ticket:
    """Leave to send one request; to be given back with `release`."""

    action: str
    sent: float
    probe: bool
    open: bool = True


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
        on_wait: Callable[[QuotaWait], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._reserve = reserve
        self._on_wait = on_wait
        self._rng = rng or random.Random()  # noqa: S311  (spreads load, no secret)
        self._window = Window()
        self._pace = _Pace()
        self._announced: bool | None = None
        self._probing_since: float | None = None
        self._in_flight = 0
        self._holds: dict[str, float] = {}
        self._blind_refusals = 0
        self._blind_since = float("-inf")
        # Who waits for a change (the others first, then bulk work), who for an instant.
        self._queues: dict[bool, _Parked] = {False: _Parked(), True: _Parked()}
        self._sleepers = _Parked()

    @property
    def idle(self) -> bool:
        """Whether forgetting this governor would lose nothing."""
        now = self._clock.monotonic()
        window_over = self._window.ends is None or now >= self._window.ends
        held = any(until > now for until in self._holds.values())
        waiting = self._sleepers or any(self._queues.values())
        return not (self._in_flight or waiting or held) and window_over

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
            opens = self._opens_at(action, now)
            if opens is None and self._capacity(now, background=background) > 0:
                return self._issue(action, now)
            if opens is None:
                opens = self._exhausted_until(background=background)
            if opens is None:
                await self._wait_for_change(now, deadline, background=background)
                continue
            self._refuse_long_wait(action, opens, now, longest, deadline)
            if not reported:
                reported = True
                self._report(action, opens - now)
            # Whoever was woken but must wait longer passes the place on.
            self._wake()
            await self._park(self._sleepers, opens - now)

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back. Does nothing the second time."""
        if not ticket.open:
            return
        ticket.open = False
        self._in_flight -= 1
        if ticket.probe and self._window.left is None:
            self._probing_since = None
        self._wake()

    def observe(self, ticket: Ticket, quota: Quota | None, *, good: bool) -> None:
        """Take in what an answer that is no 429 said of the quota.

        Args:
            ticket: The ticket of its request.
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
            self._note(ticket, quota, now)
        elif self._announced is None:
            self._announced = False

    def refused(
        self, ticket: Ticket, quota: Quota | None, *, wait: float | None
    ) -> None:
        """Take in a 429.

        Args:
            ticket: The ticket of its request.
            quota: What its headers said.
            wait: Seconds to wait as `Retry-After` or the message said.
        """
        now = self._clock.monotonic()
        self._pace.bad(now)
        if quota is None:
            if self._announced is None:
                self._announced = False
            if wait is None:
                if now - self._blind_since > BLIND_HOLD_MAX:
                    self._blind_refusals = 0  # another trouble than last time
                self._blind_since = now
                self._blind_refusals += 1
                bound = min(2.0 ** min(self._blind_refusals, 9), BLIND_HOLD_MAX)
                wait = self._rng.uniform(bound / 2, bound)
            self._hold(ANY, now + wait)
        elif quota.remaining > 0:
            self._note(ticket, quota, now)
            self._hold(ticket.action, now + (ACTION_HOLD if wait is None else wait))
        else:
            self._announced = True
            # Retry-After is exact; the extra second belongs to the rounded `t` only.
            seconds = quota.reset + ROUNDING if wait is None else wait
            self._window.shut(now + seconds + self._rng.uniform(0, AFTER_RESET))
            logger.info("the quota is used up; it opens again in %.0f s", seconds)

    def _note(self, ticket: Ticket, quota: Quota, now: float) -> None:
        self._announced = True
        before = self._window.ends
        self._window.note(quota, sent=ticket.sent, received=now)
        after = self._window.ends
        if before is not None and after is not None and after < before - EARLIER:
            self._sleepers.wake(len(self._sleepers))

    def _hold(self, action: str, until: float) -> None:
        until = min(until, self._clock.monotonic() + MAX_WAIT)
        if until > self._holds.get(action, float("-inf")):
            self._holds[action] = until
            logger.info("the Hub holds back calls of kind %s", action or "any")

    def _opens_at(self, action: str, now: float) -> float | None:
        """Return when the holds on this kind of call end; None if there is none."""
        if self._window.forget_if_over(now):
            self._probing_since = None
        for name in (ANY, action):
            until = self._holds.get(name)
            if until is not None:
                if until > now:
                    return until
                del self._holds[name]
        return None

    def _capacity(self, now: float, *, background: bool) -> int:
        """Return how many more calls may go out now."""
        if self._announced is False:
            return int(self._pace.limit) - self._in_flight
        reserve = self._reserve if background else 0.0
        available = self._window.available(self._in_flight, reserve=reserve)
        if available is not None:
            return available
        if self._probing_since is None:
            return 1
        # A slow probe must not hold up all others: one more each second.
        company = int((now - self._probing_since) / PATIENCE)
        return company + 1 - self._in_flight

    def _exhausted_until(self, *, background: bool) -> float | None:
        """Return when the window ends, if even its whole rest would not do.

        Otherwise something under way will tell more.
        """
        if self._announced is False:
            return None
        reserve = self._reserve if background else 0.0
        rest = self._window.available(0, reserve=reserve)
        return self._window.ends if rest is not None and rest <= 0 else None

    def _issue(self, action: str, now: float) -> Ticket:
        probe = self._window.left is None and self._announced is not False
        if probe and self._probing_since is None:
            self._probing_since = now
        self._in_flight += 1
        return Ticket(action, now, probe)

    async def _wait_for_change(
        self, now: float, deadline: float | None, *, background: bool
    ) -> None:
        # The end of the window counts as a change, and so does the end of patience.
        seconds = PATIENCE
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
        opens: float,
        now: float,
        longest: float | None,
        deadline: float | None,
    ) -> None:
        wait = opens - now
        if longest is not None and wait > longest:
            limit = f"max_rate_limit_wait ({longest:.0f} s)"
        elif deadline is not None and opens > deadline:
            limit = f"the {max(0.0, deadline - now):.0f} s that the call has left"
        else:
            return
        if self._holds.get(action) == opens:
            raise ActionLimitError(
                f"the Hub limits calls of this kind ({action}): the next is possible"
                f" in {wait:.0f} s, longer than {limit}",
                retry_after=wait,
                remaining=self._window.left,
            )
        raise RateLimitError(
            f"the quota of this token opens again in {wait:.0f} s, longer than {limit}",
            retry_after=wait,
            remaining=self._window.left,
        )

    def _report(self, action: str, wait: float) -> None:
        if self._on_wait is None:
            return
        reason = "action" if self._holds.get(action) else "window"
        try:
            self._on_wait(QuotaWait(seconds=wait, reason=reason, action=action))
        except Exception:
            logger.exception("on_wait failed; the call goes on")

    async def _park(self, parked: _Parked, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        parked.add(waiter)
        taken = False
        try:
            await self._clock.wait_for(waiter, seconds)
            taken = True
        finally:
            parked.discard(waiter)
            if not taken and waiter.done():
                # Woken and cancelled at the same time: the place is for the next.
                self._wake()

    def _wake(self) -> None:
        """Wake as many of those who wait for a change as may go out now."""
        now = self._clock.monotonic()
        woken = 0
        for background, queue in self._queues.items():
            if queue:
                places = self._capacity(now, background=background) - woken
                woken += queue.wake(places)


class _Parked:
    """Waiters in the order in which they came."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: asyncio.Future[None]) -> None:
        self._waiters[waiter] = None

    def discard(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.pop(waiter, None)

    def wake(self, count: int) -> int:
        """Wake the first so many; return how many there were."""
        woken = 0
        while woken < count and self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                woken += 1
        return woken
