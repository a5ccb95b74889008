"""Estimates how many programs share a token's quota. Pure.

Programs that share a token do not know of each other. Each response tells them only how
many calls are left for all. If every program sent that many requests, most of them
would be refused. So each program needs to know how many others there are.

**The idea.** Between two responses, `left` falls by the requests of all programs. Some
of them are our own, and we know how many, so:

    programs = (how far left has fallen) / (own requests counted in that time)

**A round** finds both numbers exactly. Requests in flight make that hard: the Hub may
or may not have counted them. A round has three steps.

1. Mark: take the least `left` of the responses at hand. It belongs to the request that
   the Hub counted last, so the round covers all that is known. A greater mark would be
   just as exact, but would leave a part to a later round.
2. Wait until every request is over that is in flight now. Requests that are sent from
   now on are counted below the mark.
3. Count: own requests whose response said `left >= mark` were counted between the base
   and the mark. The mark becomes the base of the next round.

For example, another program sends one request for each of ours:

    sent     response        base  round
    1, 2     1: 98 left      98    (the first response is the base)
    3        2: 96 left      98    starts: mark 96, waits for request 3
             3: 94 left      98    ends: 98 - 96 = 2 requests, one of them ours (96)
                             96    starts and ends at once, as nothing is in flight:
                                   96 - 94 = 2 requests, one of them ours (94)

So there are two programs. A request that ends without a response may have been counted.
So it may explain why `left` fell by more than our own requests, without another
program.

**What follows.** Until programs hear of each other, all of them together must stay
below what is left. So each keeps at most `left / (care factor x programs)` requests in
flight. The care factor is 2. It is 4 in strict sharing, and in the first window or
after a pause, when the number of programs is least certain. A program that starts up
cannot know whether others start as well. So it starts slowly, too: at most 16 requests
in flight, plus one for each response. A program that has noticed no other is limited by
the slow start only (not in strict sharing).

The long form, with measurements and what else was tried, is docs/pacing.md.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

SLOW_START_CALLS: Final = 16
"""Requests in flight at the start; each response allows one more."""

ASSUMED_PROGRAMS: Final = 8
"""Programs that are assumed to share the quota until the first round is counted."""

CARE_FACTOR: Final = 2.0
"""A program that is not alone uses this many times less than its share of `left`."""

EXTRA_CARE_FACTOR: Final = 4.0
"""The same in strict sharing, in the first window and after a pause."""

AVERAGED_CALLS: Final = 32
"""The running average covers about this many own requests."""


@define
class _Counted:
    """Requests that the Hub counted.

    Attributes:
        by_all: Requests of all programs.
        own: Requests of this program.
    """

    by_all: float = 0.0
    own: float = 0.0


@define
class _Round:
    """A round that has not been counted yet.

    Attributes:
        mark: The least `left` of the responses at hand when the round started.
        awaited: Numbers of the requests that were in flight then and are not over.
        patience: Requests that may end before the round no longer waits.
    """

    mark: int
    awaited: set[int]
    patience: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.patience = SLOW_START_CALLS + 2 * len(self.awaited)


class SharedUseEstimator:
    """Estimates from responses how many programs share a quota.

    Attributes:
        known_programs: How many there are at least, as a ledger has said; 0 if none has.
    """

    def __init__(self, *, strict: bool = False) -> None:
        """Start with no knowledge.

        Args:
            strict: Leave the last calls of a window unused rather than risk a 429.
        """
        self.known_programs = 0
        self._strict = strict
        self._in_flight: set[int] = set()
        # Responses since the start or the last pause; they end the slow start.
        self._responses = 0
        # The running average, and the whole of this window.
        self._recent = _Counted()
        self._window = _Counted()
        self._programs_before = 1.0
        self._care = EXTRA_CARE_FACTOR
        # Whether another program was noticed in the last window, and in this one.
        self._others_before = False
        self._others_now = False
        self._base: int | None = None
        self._round: _Round | None = None
        # What own responses below the base said is left, until a round counts them.
        self._fresh: list[int] = []
        # Own requests below the base that the Hub may have counted.
        self._maybe_counted = 0

    @property
    def programs(self) -> float | None:
        """How many programs share the quota, this one included; None if unknown."""
        if not self._recent.own:
            return self.known_programs or None
        estimate = max(self._recent.by_all / self._recent.own, self._programs_before)
        return max(estimate, self.known_programs)

    @property
    def is_alone(self) -> bool:
        """Whether no other program was noticed in this window and the last."""
        return self._recent.own > 0 and not (self._others_before or self._others_now)

    def request_sent(self, number: int) -> None:
        """Note a request. Each has a number of its own."""
        self._in_flight.add(number)

    def response_received(self, number: int, left: int) -> None:
        """Note a response that said how many calls are left in this window."""
        self._responses += 1
        if self._base is None:
            self._base = left
        elif left < self._base:
            self._fresh.append(left)
        self.request_ended(number)

    def request_lost(self, number: int) -> None:
        """Note that a request ended, and that the Hub may have counted it."""
        self._maybe_counted += 1
        self.request_ended(number)

    def request_ended(self, number: int) -> None:
        """Note that a request ended which says nothing about this window."""
        self._in_flight.discard(number)
        if self._round is not None:
            self._go_on(self._round, number)
        if self._round is None and self._fresh:
            mark = min(self._fresh)
            if self._in_flight:
                self._round = _Round(mark, set(self._in_flight))
            else:
                self._count(mark)

    def window_ended(self, *, busy: bool) -> None:
        """Start a new window.

        Args:
            busy: Whether calls waited for it, so that the programs of the last window
                are likely to be in this one. After a pause, nothing is known.
        """
        self._others_before, self._others_now = self._others_now, False
        # The whole window: others may not have started yet in its first rounds.
        own, by_all = self._window.own, self._window.by_all
        self._programs_before = by_all / own if own and busy else 1.0
        self._care = EXTRA_CARE_FACTOR if self._strict or not busy else CARE_FACTOR
        self._window = _Counted()
        self._base = self._round = None
        self._fresh, self._maybe_counted = [], 0
        if not busy:
            self._responses = 0
            self._recent = _Counted()

    def max_in_flight(self, left: int) -> int:
        """Return how many requests of this program may be in flight.

        Args:
            left: Calls left for all programs.
        """
        if left <= 0:
            return 0
        slow_start = SLOW_START_CALLS + self._responses
        if not self._strict and self.is_alone:
            return slow_start
        programs = self.programs
        if programs is None:
            share = left // int(CARE_FACTOR * ASSUMED_PROGRAMS)
        else:
            share = int(left / (self._care * programs))
        most = min(slow_start, share)
        # The last calls are used too. Of the programs that try, all but one meet a 429.
        return most if self._strict else max(1, most)

    def known_counted(self, left: int) -> int:
        """Return how many requests in flight are certainly counted in `left` already.

        Args:
            left: The lowest number of calls left of all responses.
        """
        if self._base is None or not self.is_alone:
            return 0
        # All that was counted between the base and `left` is our own. What has no
        # response yet and was not lost must be in flight.
        return max(0, self._base - left - len(self._fresh) - self._maybe_counted)

    def max_probes(self, limit: int | None) -> int:
        """Return how many requests may go out before anything is known of a window.

        Args:
            limit: Calls per window; None if unknown.
        """
        if limit is None or self._strict or not self.is_alone:
            return 1
        # Alone in the last window, a program is unlikely to find the next one used up.
        return max(1, min(SLOW_START_CALLS + self._responses, limit // 4))

    def _go_on(self, current: _Round, number: int) -> None:
        current.awaited.discard(number)
        current.patience -= 1
        if current.patience <= 0:
            # A request that takes very long must not hold up the round.
            self._maybe_counted += len(current.awaited)
            current.awaited.clear()
        if not current.awaited:
            self._count(current.mark)

    def _count(self, mark: int) -> None:
        """End the round: every request that was in flight at its start is over."""
        fallen = 0 if self._base is None else self._base - mark
        later = [left for left in self._fresh if left < mark]
        own = len(self._fresh) - len(later)
        explained = min(self._maybe_counted, max(0, fallen - own))
        self._maybe_counted -= explained
        own += explained
        if fallen > own:
            self._others_now = True
        # Not below our own: the Hub's servers may disagree about what is left.
        by_all = max(fallen, own)
        kept = max(0.0, 1.0 - own / AVERAGED_CALLS)
        self._recent.by_all = self._recent.by_all * kept + by_all
        self._recent.own = self._recent.own * kept + own
        self._window.by_all += by_all
        self._window.own += own
        self._fresh = later
        self._base, self._round = mark, None
