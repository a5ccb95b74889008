"""The account of one token's quota: what is left, what is under way, who else calls.

Pure: instants and answers in, numbers out. A governor keeps one `Page` for itself or
shares it with those of other processes (see `_ledger`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from spaces_async._ratelimit import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._ratelimit import Quota

PATIENCE: Final = 1.0
"""Seconds after which a probe without an answer is given company."""

SPAN: Final = 16
"""Own calls over which the share of others is measured."""

SLOW_START: Final = 16
"""Part of what is left that goes out before it is known who else is about."""


@frozen
class Place:
    """Where a call stands among the calls of its page.

    Attributes:
        order: Its number.
        beside: How many were under way when it went out.
        sent: When that was.
        probe: The number of the search that it is part of; None if it is of none.
    """

    order: int
    beside: int
    sent: float
    probe: int | None


@define
class Share:
    """How many others use the same quota, guessed from how fast it falls.

    An answer says what was left when its call was counted. Whatever is missing beyond
    one's own calls others have used. That somebody is there is believed only when it
    is certain, so being alone costs nothing.

    Attributes:
        sent: Own calls so far.
        others: Calls of others in this window, as far as they are certain.
        factor: Calls of all for each own one; 1 is alone.
        lone: What would be left if nobody else were there, plus `sent`.
        start: Calls that may be under way before the first feedback.
        answers: Answers in this window.
        mark_left: What was left where the present measurement began.
        mark_order: The number of the call that it began with.
    """

    sent: int = 0
    others: int = 0
    factor: float = 1.0
    lone: int = 0
    start: int = 1
    answers: int = 0
    mark_left: int = 0
    mark_order: int = 0

    def begin(self, left: int, place: Place) -> None:
        """Start into a window with its first answer; the last factor is kept."""
        self.others, self.answers = 0, 1
        self.lone = left + place.order - place.beside
        self.start = max(1, left // SLOW_START)
        self.mark_left, self.mark_order = left, place.order

    def note(self, remaining: int, left: int, place: Place) -> None:
        """Take in a further answer.

        Args:
            remaining: What it said is left.
            left: The least that any answer of the window said.
            place: Of its call.
        """
        self.answers += 1
        # Those that were under way beside it may have been counted after it.
        self.lone = max(self.lone, remaining + place.order - place.beside)
        self.others = max(self.others, self.lone - self.sent - remaining)
        own = place.order - self.mark_order
        if own < SPAN / 2:
            return
        if self.others > 0:
            self.factor = max(1.0, (self.mark_left - left) / own)
        elif own >= SPAN + place.beside:
            self.factor = 1.0
        else:
            return
        if own >= max(SPAN, place.beside):
            self.mark_left, self.mark_order = left, place.order

    def most(self, left: int, *, strict: bool) -> int:
        """Return how many own calls may be under way while so many are left.

        Those of the others are not seen. Taking half of one's share leaves them time
        to see ours, and the last calls go one at a time. So where nobody holds back,
        the first who comes too late is refused once, and all others once at most; a
        strict one stops where that could happen.
        """
        fair = left
        if self.factor > 1.0:
            fair = int(left / (2.0 * self.factor))
            if not strict:
                fair = max(fair, min(left, 1))
        return min(fair, self.start + self.answers)


@define
class Claim:
    """Calls that one governor has under way.

    Attributes:
        count: How many.
        until: When they are not believed any more; it may have died with them.
    """

    count: int
    until: float


@define
class Page:
    """All that is known of the quota of one token, by whom it is used and how much.

    Governors of several processes may share one (see `_ledger`).

    Attributes:
        window: The window that runs now.
        share: What others take of it.
        claims: Calls under way, by the name of their governor.
        search: Counts how often a window had to be looked for.
        probes: Calls under way that look for it now.
        probing_since: When the first of them went out.
    """

    window: Window = field(factory=Window)
    share: Share = field(factory=Share)
    claims: dict[str, Claim] = field(factory=dict[str, Claim])
    search: int = 0
    probes: int = 0
    probing_since: float = 0.0

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return sum(claim.count for claim in self.claims.values())

    def turn(self, now: float) -> None:
        """Forget the window if it is over."""
        if self.window.forget_if_over(now):
            self._look_again()

    def _look_again(self) -> None:
        self.search += 1
        self.probes = 0

    def forsake(self, now: float, gone: Callable[[str, Claim], bool]) -> None:
        """Strike out the calls of governors that are gone, and look what is left.

        Nobody knows which of those calls the Hub has counted.
        """
        lost = [name for name, claim in self.claims.items() if gone(name, claim)]
        for name in lost:
            del self.claims[name]
        if lost and not self.window.firm:
            self.window.doubt(now)
            self._look_again()

    def claim(self, name: str, count: int, until: float) -> None:
        """Say how many calls a governor has under way."""
        if count:
            self.claims[name] = Claim(count, until)
        else:
            self.claims.pop(name, None)

    def room(self, now: float, *, reserve: float, strict: bool) -> int:
        """Return how many more calls may go out now."""
        available = self.window.available(self.in_flight, reserve=reserve)
        if available is None:
            # A slow probe must not hold up all others: one more each second.
            company = int((now - self.probing_since) / PATIENCE) if self.probes else 0
            return 1 + company - self.probes
        return self._within_share(available, self.in_flight, strict=strict)

    def closed_until(self, *, reserve: float, strict: bool) -> float | None:
        """Return when the window ends, if it has nothing left to wait for."""
        available = self.window.available(0, reserve=reserve)
        if available is None or self._within_share(available, 0, strict=strict) > 0:
            return None
        return self.window.ends

    def _within_share(self, available: int, in_flight: int, *, strict: bool) -> int:
        left = available + in_flight
        return min(available, self.share.most(left, strict=strict) - in_flight)

    def take(self, now: float) -> Place:
        """Let a call out; its governor claims it then."""
        probe = None
        if self.window.left is None:
            if not self.probes:
                self.probing_since = now
            self.probes += 1
            probe = self.search
        self.share.sent += 1
        return Place(self.share.sent, self.in_flight, now, probe)

    def give_back(self, place: Place) -> None:
        """Count a call as over."""
        if place.probe == self.search and self.probes:
            self.probes -= 1

    def note(self, place: Place, quota: Quota, now: float) -> None:
        """Take in what an answer said."""
        self.turn(now)
        first = self.window.note(quota, sent=place.sent, received=now)
        if first is None or self.window.left is None:
            return
        if first:
            self.share.begin(self.window.left, place)
        else:
            self.share.note(quota.remaining, self.window.left, place)


@define
class Pace:
    """How many calls may be under way where the Hub announces no quota.

    Additive increase, multiplicative decrease: one more for each full round of good
    answers, half as many after a 429 or 503, at most once a second.
    """

    limit: float = 16.0
    cut_at: float = -math.inf

    def good(self) -> None:
        """Take in a good answer."""
        self.limit += 1.0 / self.limit

    def bad(self, now: float) -> None:
        """Take in a sign of trouble."""
        if now - self.cut_at >= 1.0:
            self.limit = max(1.0, self.limit / 2.0)
            self.cut_at = now
