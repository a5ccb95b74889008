"""Paces the calls of one token against the quota that the Hub announces.

A governor learns the quota from the answers. Until the first one only a probe is
under way; then calls go out while more is left than is under way; when nothing is
left, every call waits for the end of the window. So a 429 that can be avoided is.

Who waits stands in a line. Whatever changes is brought to the page of the account
(see `_quota`), and then whoever is first in line gets what room there is, as a ticket
of its own. A waiter that leaves gives its ticket back, so it takes nothing with it;
and each looks again when the instant comes that it waits for, so none is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field

from spaces_async._quota import PATIENCE, Pace, Page, Place
from spaces_async._ratelimit import MAX_WAIT
from spaces_async.errors import ActionLimitError, RateLimitError, RequestTimeoutError
from spaces_async.settings import QuotaWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._clock import Clock
    from spaces_async._ratelimit import Quota

logger = logging.getLogger(__name__)

ACTION_HOLD: Final = 60.0
"""How long a kind of call is held back when the Hub does not say how long."""

BLIND_HOLD_MAX: Final = 300.0
"""Longest hold after a 429 that says nothing: the Hub's documented window."""

AFTER_RESET: Final = 0.05
"""Greatest delay in seconds with which calls start after an exact `Retry-After`."""

EARLIER: Final = 0.05
"""A window's end must come nearer by this many seconds to wake those who wait."""

TICK: Final = 0.001
"""Seconds added to a wait: a timer may fire a little early."""

POLL: Final = 0.05
"""Seconds between two looks at what other processes have under way."""

TURNS: Final = 4
"""While others wait too, every so manieth call is one of bulk work."""

CLAIM: Final = 180.0
"""Seconds for which other processes believe in calls that nobody speaks of."""

ANY: Final = ""
"""The name of the hold that is for calls of every kind."""


class Shelf(Protocol):
    """Where a page lies that several processes share."""

    @property
    def name(self) -> str:
        """The governor's own name on the page."""
        ...

    def open(self, now: float) -> Page | None:
        """Take the page for oneself; None if somebody else has it just now."""
        ...

    def close(self, page: Page, now: float) -> None:
        """Put it back."""
        ...


@define(eq=False)
class Ticket:
    """Leave to send one request; to be given back with `release`."""

    action: str
    place: Place
    open: bool = True


class Governor:
    """The quota of one token at one endpoint, as far as it is known."""

    def __init__(
        self,
        clock: Clock,
        *,
        reserve: float = 0.0,
        strict: bool = False,
        shelf: Shelf | None = None,
        on_wait: Callable[[QuotaWait], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._reserve = {False: 0.0, True: reserve}
        self._strict = strict
        self._shelf = shelf
        self._name = shelf.name if shelf else ""
        self._on_wait = on_wait
        self._rng = rng or random.Random()  # noqa: S311  (spreads load, no secret)
        # The page itself, or what it was when it was last looked at on its shelf.
        self._page = Page()
        self._changes: list[Callable[[Page], None]] = []
        self._later: asyncio.TimerHandle | None = None
        self._ends: float | None = None
        self._in_flight = 0
        self._pace = Pace()
        self._announced: bool | None = None
        self._holds: dict[str, float] = {}
        self._blind_refusals = 0
        self._line = _Line()
        self._told = float("-inf")

    @property
    def idle(self) -> bool:
        """Whether forgetting this governor would lose nothing."""
        now = self._clock.monotonic()
        ends = self._page.window.ends
        held = any(until > now for until in self._holds.values())
        busy = self._in_flight or self._line or self._changes or held
        return not busy and (ends is None or now >= ends)

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
        waiter = _Waiter(action, background)
        self._line.add(waiter)
        reported = False
        try:
            while True:
                self._settle()
                if waiter.ticket is not None:
                    return waiter.ticket
                now = self._clock.monotonic()
                opens = self._opens_at(waiter, now)
                if opens is None:
                    seconds = self._next_look(now, deadline)
                else:
                    self._refuse_long_wait(action, opens, now, longest, deadline)
                    if not reported:
                        reported = True
                        self._report(action, opens, now)
                    seconds = opens - now
                await waiter.park(self._clock, seconds + TICK)
        except BaseException:
            self._line.discard(waiter)
            if waiter.ticket is not None:
                # Its turn came at the moment in which it left.
                self.release(waiter.ticket)
            raise

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back. Does nothing the second time.

        Only now do those who wait see what its answer has changed.
        """
        if not ticket.open:
            return
        ticket.open = False
        self._in_flight -= 1
        self._changes.append(lambda page: page.give_back(ticket.place))
        self._settle()

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
        elif self._announced is None or (good and self._page.window.left is None):
            # Else one call at a time would go out as a probe, for ever.
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
                self._blind_refusals += 1
                bound = min(2.0 ** min(self._blind_refusals, 9), BLIND_HOLD_MAX)
                wait = self._rng.uniform(bound / 2, bound)
            self._hold(ANY, now, wait)
        elif quota.remaining > 0:
            self._note(ticket, quota, now)
            self._hold(ticket.action, now, ACTION_HOLD if wait is None else wait)
        elif wait is None:
            self._note(ticket, quota, now)
        else:
            # Exact: the extra second belongs to the rounded `t` only.
            until = now + wait + self._rng.uniform(0, AFTER_RESET)
            self._announced = True
            self._changes.append(lambda page: page.window.shut(until))

    def _note(self, ticket: Ticket, quota: Quota, now: float) -> None:
        self._announced = True
        self._changes.append(lambda page: page.note(ticket.place, quota, now))

    def _hold(self, action: str, now: float, wait: float) -> None:
        until = now + min(wait, MAX_WAIT)
        self._holds[action] = max(until, self._holds.get(action, until))

    # The page --------------------------------------------------------------------

    def _settle(self) -> None:
        """Bring what has changed to the page, and give out what room there is."""
        now = self._clock.monotonic()
        page = self._page
        if self._shelf is not None:
            shared = self._take_down(self._shelf, now)
            if shared is None:
                return
            page = self._page = shared
        changes, self._changes = self._changes, []
        for change in changes:
            change(page)
        page.turn(now)
        page.claim(self._name, self._in_flight, now + CLAIM)
        self._give_out(page, now)
        page.claim(self._name, self._in_flight, now + CLAIM)
        ends = page.window.ends
        if self._ends is not None and ends is not None and ends < self._ends - EARLIER:
            self._line.wake()
        self._ends = ends
        if self._shelf is not None:
            self._put_back(self._shelf, page, now)

    def _take_down(self, shelf: Shelf, now: float) -> Page | None:
        try:
            page = shelf.open(now)
        except OSError as error:
            self._pace_alone(error)
            return self._page
        if page is None and self._later is None:
            # Another process has it: for microseconds, if it is not interrupted.
            delay = self._rng.uniform(TICK, 3 * TICK)
            self._later = asyncio.get_running_loop().call_later(delay, self._again)
        return page

    def _put_back(self, shelf: Shelf, page: Page, now: float) -> None:
        try:
            shelf.close(page, now)
        except OSError as error:
            self._pace_alone(error)

    def _pace_alone(self, error: OSError) -> None:
        logger.warning("the ledger cannot be used, going on without: %s", error)
        self._shelf = None

    def _again(self) -> None:
        self._later = None
        self._settle()

    def _give_out(self, page: Page, now: float) -> None:
        """Hand tickets to those who are first in line, while there is room."""
        if not self._line:
            return
        if self._announced is False:
            free = int(self._pace.limit) - self._in_flight
            room = {False: free, True: free}
        else:
            room = {
                background: page.room(now, reserve=reserve, strict=self._strict)
                for background, reserve in self._reserve.items()
            }
        held = {name for name, until in self._holds.items() if until > now}
        while ANY not in held:
            waiter = self._line.next(room, held)
            if waiter is None:
                break
            room = {background: free - 1 for background, free in room.items()}
            place = page.take(now)
            self._in_flight += 1
            page.claim(self._name, self._in_flight, now + CLAIM)
            waiter.grant(Ticket(waiter.action, place))

    # Waits -----------------------------------------------------------------------

    def _opens_at(self, waiter: _Waiter, now: float) -> float | None:
        """Return until when nothing that is under way can help; None: it may."""
        held = max(self._holds.get(name, now) for name in (ANY, waiter.action))
        if held > now:
            return held
        if self._announced is False:
            return None
        reserve = self._reserve[waiter.background]
        ends = self._page.closed_until(reserve=reserve, strict=self._strict)
        return ends if ends is not None and ends > now else None

    def _next_look(self, now: float, deadline: float | None) -> float:
        """Return after how many seconds to look again if nothing changes."""
        # The end of the window counts as a change, and so does the end of patience.
        elsewhere = self._shelf is not None and not self._in_flight
        seconds = POLL if elsewhere else PATIENCE
        if deadline is None:
            return seconds
        if now >= deadline:
            raise RequestTimeoutError(
                "the call's total time passed while it waited for its turn",
                phase="total",
            )
        return min(seconds, deadline - now)

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
        left = self._page.window.left
        if self._holds.get(action) == opens:
            raise ActionLimitError(
                f"the Hub limits calls of this kind ({action}): the next is possible"
                f" in {wait:.0f} s, longer than {limit}",
                retry_after=wait,
                remaining=left,
            )
        raise RateLimitError(
            f"the quota of this token opens again in {wait:.0f} s, longer than {limit}",
            retry_after=wait,
            remaining=left,
        )

    def _report(self, action: str, opens: float, now: float) -> None:
        reason = "action" if self._holds.get(action) == opens else "window"
        if abs(opens - self._told) > 1.0:
            # Once for all who wait for the same.
            self._told = opens
            why = "the quota is used up" if reason == "window" else "the Hub limits it"
            logger.info("%s waits %.0f s: %s", action, opens - now, why)
        if self._on_wait is None:
            return
        try:
            self._on_wait(QuotaWait(seconds=opens - now, reason=reason, action=action))
        except Exception:
            logger.exception("on_wait failed; the call goes on")


@define(eq=False)
class _Waiter:
    """A call that wants to go out."""

    action: str
    background: bool
    number: int = 0
    ticket: Ticket | None = None
    woken: asyncio.Future[None] | None = None

    def grant(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.wake()

    def wake(self) -> None:
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)

    async def park(self, clock: Clock, seconds: float) -> None:
        self.woken = asyncio.get_running_loop().create_future()
        await clock.wait_for(self.woken, seconds)


@define(eq=False)
class _Line:
    """Those who wait, in the order in which they came, by kind of call."""

    _queues: dict[tuple[bool, str], OrderedDict[_Waiter, None]] = field(factory=dict)
    _count: int = 0
    _passed: int = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, waiter: _Waiter) -> None:
        self._count += 1
        waiter.number = self._count
        key = (waiter.background, waiter.action)
        self._queues.setdefault(key, OrderedDict())[waiter] = None

    def discard(self, waiter: _Waiter) -> None:
        key = (waiter.background, waiter.action)
        queue = self._queues.get(key)
        if queue is not None and waiter in queue:
            del queue[waiter]
            if not queue:
                del self._queues[key]

    def wake(self) -> None:
        for queue in self._queues.values():
            for waiter in queue:
                waiter.wake()

    def next(self, room: dict[bool, int], held: set[str]) -> _Waiter | None:
        """Take out who is next: others before bulk work, but not always."""
        first: dict[bool, _Waiter] = {}
        for (background, action), queue in self._queues.items():
            if room[background] > 0 and action not in held:
                head = next(iter(queue))
                best = first.setdefault(background, head)
                if head.number < best.number:
                    first[background] = head
        if not first:
            return None
        turn = len(first) > 1 and self._passed >= TURNS - 1
        background = True if turn else min(first)
        self._passed = self._passed + 1 if len(first) > 1 and not turn else 0
        self.discard(first[background])
        return first[background]
