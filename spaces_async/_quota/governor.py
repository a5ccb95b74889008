"""Paces the calls of one token against the quota that the Hub announces.

A call needs a permit for each request that it sends. The governor issues permits so
that each window is used to the last call and the Hub refuses nothing.

**Probe.** Until a response says what is left, only one request is in flight: the probe.
If its response takes long, one more goes out each second.

**In flight against left.** Then requests go out as long as more calls are left than
requests are in flight. `left` may or may not include those in flight, so all of them
are subtracted. `QuotaState` has this arithmetic.

**Queueing or sleeping.** A call that gets no permit waits in one of two ways:

- It queues if a response may free a place. The call waits for a change of the state.
- It sleeps if nothing is left, or if the Hub holds back calls of its kind. No response
  can help, so the call waits until a known time.

For example, with 500 calls per window, 40 calls start at the same time:

1. Call 1 is the probe. The other 39 queue.
2. Its response says that 499 are left. The slow start allows 17 requests in flight, so
   17 queued calls are woken. Each further response wakes the next ones.
3. Later, 3 calls are left and 3 requests are in flight. Other calls queue: one of the 3
   may yet be cancelled before it is sent.
4. The responses say that nothing is left and that the window ends in 189 s. All queued
   calls are woken, report their wait, and sleep. The next window starts with a probe.
   (A program that was alone in this window may send several at once.)

A waiter that is woken only looks at the state again. It takes a place only when its
permit is issued, in one step with the decision. So a waiter that is cancelled takes no
place with it. If it was woken for a place just before, the next waiter is woken
instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from spaces_async._quota.combined import CombinedState, StateStore
from spaces_async._quota.ledger import Demand
from spaces_async._quota.state import (
    ANY_ACTION,
    PROBE_INTERVAL_SECONDS,
    Permit,
    QuotaReport,
)
from spaces_async._quota.unannounced import ConcurrencyLimit, HoldBackoff
from spaces_async._quota.waiters import WaiterQueue
from spaces_async._quota.waits import Wait, WaitNotifier, wait_too_long_error
from spaces_async._wire.ratelimit import ROUNDING_SECONDS, Quota
from spaces_async.errors import ClientClosedError, RateLimitError, RequestTimeoutError
from spaces_async.records import RateLimit

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async._quota.ledger import LedgerPage
    from spaces_async._quota.waits import OnWait

__all__ = ["Governor", "Permit"]

logger = logging.getLogger(__name__)

DEFAULT_ACTION_HOLD_SECONDS: Final = 60.0
"""How long a kind of call is held back when the Hub does not say how long."""

WINDOW_START_JITTER_SECONDS: Final = 0.05
"""After a 429, calls start into the next window with a delay of up to this."""

MIN_SLEEP_SECONDS: Final = 0.001
"""The shortest sleep. Timers may fire a little early, and a loop must not spin then."""

MIN_QUEUE_SECONDS: Final = 2.0
"""Time that even a call with a shorter `max_rate_limit_wait` may queue."""


class Governor:
    """Issues the permits of one token at one endpoint."""

    def __init__(
        self,
        clock: Clock,
        *,
        reserve: float = 0.0,
        strict: bool = False,
        page: LedgerPage | None = None,
        on_wait: OnWait | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Make a governor.

        Args:
            clock: The source of time.
            reserve: Share of a window that background calls leave to other calls.
            strict: Leave the last calls of a window unused rather than risk a 429 when
                other programs use the same token.
            page: The token's page of the ledger, through which programs share what
                they know; None without a ledger.
            on_wait: Called when a call starts to wait. Must not raise.
            rng: Spreads waits.
        """
        self._clock = clock
        self._reserve = reserve
        self._rng = rng or random.Random()  # noqa: S311  (spreads load, no secret)
        self._in_flight = 0
        self._closed = False
        # Queued calls. Bulk work is woken after all other calls.
        self._calls, self._bulk_work = WaiterQueue(), WaiterQueue()
        # Calls that sleep until a known time.
        self._sleepers = WaiterQueue()
        self._store = StateStore(
            strict=strict, page=page, on_earlier=self._sleepers.wake_all
        )
        if page is not None:
            page.attach(self)
        # None until a response tells whether the Hub announces a quota.
        self._hub_announces: bool | None = None
        self._concurrency = ConcurrencyLimit()
        self._hold_backoff = HoldBackoff(self._rng)
        self._notifier = WaitNotifier(on_wait)

    @property
    def idle(self) -> bool:
        """Whether nothing is lost if this governor is dropped."""
        now = self._clock.monotonic()
        ends = self._store.own.window.ends
        held = any(until > now for until in self._store.own.holds.values())
        busy = self._in_flight or self._store.unsettled or self._has_waiters
        return not (busy or held) and (ends is None or now >= ends)

    @property
    def in_use(self) -> bool:
        """Whether calls depend on it: in flight, waiting, or held back by the Hub.

        If another one is dropped, its token's next call finds out what is left again.
        """
        now, own = self._clock.monotonic(), self._store.own
        held = any(until > now for until in own.holds.values())
        window = own.window
        used_up = window.left == 0 and window.ends is not None and now < window.ends
        return bool(self._in_flight) or held or used_up or self._has_waiters

    @property
    def _has_queued(self) -> bool:
        return bool(self._calls or self._bulk_work)

    @property
    def _has_waiters(self) -> bool:
        return bool(self._sleepers) or self._has_queued

    def try_acquire(
        self, action: str, now: float, *, background: bool = False
    ) -> Permit | None:
        """Return a permit if a request may be sent at once; None if it has to wait.

        Args:
            action: Kind of call, such as "restart".
            now: The time.
            background: Whether the call leaves the reserve to other calls.

        Raises:
            ClientClosedError: The client was closed.
        """
        state = self._store.sole
        if state is None or state.holds or self._closed or not self._hub_announces:
            decision = self._decide(action, now, background=background)
            permit = decision if isinstance(decision, Permit) else None
        else:
            # The same for nearly every call: the Hub announces a quota, and that is all.
            ends = state.window.ends
            if ends is not None and now >= ends:
                state.forget_what_ended(now, busy=self._has_waiters)
            reserve = self._reserve if background else 0.0
            permit = None
            if state.places(now, reserve=reserve) > 0:
                permit = Permit(action, now, state.take_place(now))
        if permit is not None:
            self._in_flight += 1
        return permit

    async def acquire(
        self,
        action: str,
        *,
        background: bool = False,
        longest: float | None = None,
        deadline: float | None = None,
    ) -> Permit:
        """Wait until a request may be sent; return its permit.

        Cancelling leaves nothing behind.

        Args:
            action: Kind of call, such as "restart".
            background: Whether the call leaves the reserve to other calls.
            longest: Seconds to wait at most for the quota; None means no limit.
            deadline: Instant at which to give up; None means never.

        Raises:
            RateLimitError: The quota opens later than allowed.
            RequestTimeoutError: The deadline passed while the call was queued.
            ClientClosedError: The client was closed.
        """
        reported_until = float("-inf")
        queued_at: float | None = None
        while True:
            now = self._clock.monotonic()
            decision = self._decide(action, now, background=background)
            if isinstance(decision, Permit):
                self._in_flight += 1
                return decision
            if decision is None:
                queued_at = now if queued_at is None else queued_at
                self._check_queue_time(now - queued_at, longest)
                await self._queue(now, deadline, background=background)
                continue
            queued_at = None
            error = wait_too_long_error(
                action, decision, now, longest=longest, deadline=deadline
            )
            # If this call was woken for a place, the place is for the next one.
            self._wake()
            if error is not None:
                raise error
            self._notifier.log(action, decision, now)
            if decision.ends_later_than(reported_until):
                reported_until = decision.until
                self._notifier.notify(action, decision, now)
            await self._wait_in(self._sleepers, decision.until - now)

    def release(self, permit: Permit, *, sent: bool = True) -> None:
        """Release a permit. Releasing it again has no effect.

        Args:
            permit: The permit.
            sent: Whether any part of the request may have been sent. If so and there
                was no response, the Hub may have counted it.
        """
        if not permit.is_held:
            return
        permit.is_held = False
        permit.is_unsent = not sent
        self._in_flight -= 1
        self._store.settle(permit)
        self._wake()

    def rate_limit(self) -> RateLimit:
        """Return what is known of the quota now."""
        now, window = self._clock.monotonic(), self._store.own.window
        if window.ends is None or window.ends <= now:
            return RateLimit(limit=window.limit)
        left = None if window.left is None else max(0, window.left)
        return RateLimit(window.limit, left, window.ends - now)

    def demand(self) -> Demand:
        """Return what the calls need of the ledger now."""
        return Demand(
            calls=len(self._calls),
            bulk=len(self._bulk_work),
            in_flight=self._in_flight,
            reserve=self._reserve,
        )

    def ledger_changed(self) -> None:
        """Look at the ledger again: other programs may have changed it."""
        self._wake()
        if self._has_queued and not self._closed:
            self._store.look_soon()

    def close(self) -> None:
        """Fail every waiting call, because the client is closed."""
        self._closed = True
        if self._store.unsettled:
            self._wake()
        self._store.close()
        for queue in (self._sleepers, self._calls, self._bulk_work):
            queue.wake_all()

    def observe(
        self, permit: Permit, quota: Quota | None, *, good: bool, hubs: bool = True
    ) -> None:
        """Take in what a response other than a 429 said about the quota.

        Args:
            permit: The permit of its request. Release it afterwards.
            quota: What the headers said; None if nothing.
            good: False if the Hub is in trouble (a 503).
            hubs: False if the response may come from a server in front of the Hub
                (5xx). If it announces no quota, the Hub still may.
        """
        now = self._clock.monotonic()
        if good:
            self._hold_backoff.refusals = 0
            if not self._hub_announces:
                self._concurrency.increase()
        else:
            self._concurrency.decrease(now)
        if quota is not None:
            self._hub_announces = True
        elif self._hub_announces is None and hubs:
            self._hub_announces = False
        permit.report = QuotaReport(now, quota)

    def refused(
        self, permit: Permit, quota: Quota | None, *, wait: float | None
    ) -> None:
        """Take in a 429.

        Args:
            permit: The permit of its request. Release it afterwards.
            quota: What the headers said; None if nothing.
            wait: Seconds to wait, as `Retry-After` or the message said; None if neither
                did.
        """
        now = self._clock.monotonic()
        self._concurrency.decrease(now)
        if quota is None:
            if self._hub_announces is None:
                self._hub_announces = False
            seconds = self._hold_backoff.next_hold(now) if wait is None else wait
            permit.report = QuotaReport(now, hold=(ANY_ACTION, now + seconds))
            logger.info("the Hub holds back all calls for %.0f s", seconds)
            return
        self._hub_announces = True
        if quota.remaining > 0:
            seconds = DEFAULT_ACTION_HOLD_SECONDS if wait is None else wait
            hold = permit.action, now + seconds
            permit.report = QuotaReport(now, quota, hold=hold)
            logger.info(
                "the Hub holds back %s calls for %.0f s", permit.action, seconds
            )
        else:
            # Retry-After is exact. Only `t` is rounded.
            seconds = quota.reset + ROUNDING_SECONDS if wait is None else wait
            jitter = self._rng.uniform(0, WINDOW_START_JITTER_SECONDS)
            permit.report = QuotaReport(now, used_up_until=now + seconds + jitter)
            logger.info("the quota is used up; it opens again in %.0f s", seconds)

    def _decide(
        self, action: str, now: float, *, background: bool
    ) -> Permit | Wait | None:
        """Issue a permit if there is a place.

        Returns:
            The permit, or the wait if its end is known, or else None: the call queues.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError("the client was closed while a call waited")
        with self._store.open(now) as state:
            if state is None:
                return None
            state.forget_what_ended(now, busy=self._has_waiters)
            hold = state.hold_on(action, now)
            if hold is not None:
                return hold
            if self._places(state, now, background=background) > 0:
                return state.issue_permit(action, now)
            if self._is_unannounced(state):
                return None
            return state.wait_for_window(
                reserve=self._reserve_of(background=background)
            )

    def _is_unannounced(self, state: CombinedState) -> bool:
        return self._hub_announces is False and state.left is None

    def _places(self, state: CombinedState, now: float, *, background: bool) -> int:
        """Return how many more requests may go out now."""
        if self._is_unannounced(state):
            return int(self._concurrency.limit) - self._in_flight
        return state.places(now, reserve=self._reserve_of(background=background))

    def _reserve_of(self, *, background: bool) -> float:
        return self._reserve if background else 0.0

    def _check_queue_time(self, queued: float, longest: float | None) -> None:
        """Fail a call that must not wait long, if the last of the quota is in use."""
        window = self._store.own.window
        if longest is None or window.ends is None:
            return
        if queued < max(longest, MIN_QUEUE_SECONDS):
            return
        self._wake()
        raise RateLimitError(
            "what is left of this token's quota is in use by requests in flight, for"
            f" longer than max_rate_limit_wait ({longest:.0f} s)",
            retry_after=PROBE_INTERVAL_SECONDS,
            remaining=window.left,
        )

    async def _queue(
        self, now: float, deadline: float | None, *, background: bool
    ) -> None:
        """Wait for a change, and look again when one more probe may be due.

        Raises:
            RequestTimeoutError: The deadline has passed.
        """
        seconds = PROBE_INTERVAL_SECONDS
        self._store.look_soon()
        if deadline is not None:
            if now >= deadline:
                raise RequestTimeoutError(
                    "the call's total time passed while it waited for its turn",
                    phase="total",
                )
            seconds = min(seconds, deadline - now)
        queue = self._bulk_work if background else self._calls
        await self._wait_in(queue, seconds)

    async def _wait_in(self, queue: WaiterQueue, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        queue.add(waiter)
        goes_on = False
        try:
            await self._clock.wait_for(waiter, max(seconds, MIN_SLEEP_SECONDS))
            goes_on = True
        finally:
            queue.discard(waiter)
            if not goes_on and waiter.done():
                # Woken and cancelled at the same time: the place is for the next one.
                self._wake()

    def _wake(self) -> None:
        """Wake as many queued calls as may go out.

        If the window is used up, wake all of them: they report the wait, and sleep.
        """
        if not (self._calls or self._bulk_work or self._store.unsettled):
            return
        now = self._clock.monotonic()
        with self._store.open(now) as state:
            if state is None:
                self._store.look_soon()
                return
            woken = 0
            for background, queue in ((False, self._calls), (True, self._bulk_work)):
                if not queue:
                    continue
                places = self._places(state, now, background=background) - woken
                reserve = self._reserve_of(background=background)
                if places > 0:
                    woken += queue.wake(places)
                elif state.wait_for_window(reserve=reserve) is not None:
                    queue.wake_all()
