"""What is known of one token's quota, and how many calls may go out now. Pure.

Three kinds of knowledge come together here: the window that the Hub announces (see
`_ratelimit`), the calls that are under way, and how many programs use the same token
without knowing of each other. The Hub tells each of them only what is left for all;
so whoever sees it fall faster than by their own calls has company, and takes care.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import MAX_WAIT_SECONDS, Quota

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE: Final = 1.0
"""Seconds after which a probe without an answer is given company."""

EARLIER: Final = 0.05
"""A window's end must come nearer by this many seconds to wake those who wait."""

ANY: Final = ""
"""The name of the hold that is for calls of every kind."""

FIRST_STEP: Final = 16
"""Calls under way at first; one more for each answer until the company is known."""

SUPPOSED: Final = 8
"""Programs that are supposed to use the quota until it is known."""

CARE: Final = 2.0
"""In company, so many times less than the own share of what is left is under way."""

MORE_CARE: Final = 4.0
"""The same in the first window, and where no 429 is to be risked."""

MEMORY: Final = 32
"""Own calls over which the number of programs is averaged."""

WORTH_A_REFUSAL: Final = 16
"""Calls that may be left for certain before a 429 is risked to find out whether they
are. With fewer, waiting for the next window costs next to nothing."""


@define(eq=False)
class Heard:
    """What one answer said of the quota.

    Attributes:
        received: When it came.
        quota: What its headers said; None if nothing.
        shut_until: Nothing goes out before: the quota is used up; None otherwise.
        hold: A kind of call and until when it is held back; None if none is.
    """

    received: float
    quota: Quota | None = None
    shut_until: float | None = None
    hold: tuple[str, float] | None = None


@define(eq=False)
class Permit:
    """Leave to send one request; to be given back when its answer is there.

    Attributes:
        action: Kind of call, such as "restart".
        sent: When the leave was given.
        ended: When it was given back.
        number: Its place among all.
        heard: What the answer said; None if there was none.
        open: Whether it was not given back yet.
        unsent: Whether nothing of the request went out, so that the Hub cannot have
            counted it.
        shared: Whether it stands in the ledger as well.
    """

    action: str
    sent: float
    number: int
    ended: float = 0.0
    heard: Heard | None = None
    open: bool = True
    unsent: bool = False
    shared: bool = False


class SharedUseEstimator:
    """How many programs use a quota, as far as the answers tell.

    An answer says what is left after it. Between two answers the rest has fallen by
    the calls of all; how many of them were our own is known for certain as soon as all
    calls are answered that were under way at the later of the two. So the count is
    made in rounds: mark the least rest, wait for what is under way, count.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._numbers = 0
        self._under_way: set[int] = set()
        self._answers = 0
        self._fallen = 0.0
        self._own = 0.0
        self._window_own = 0.0
        self._window_fallen = 0.0
        self._last_window = 1.0
        self._care = MORE_CARE
        self._before = False  # whether somebody else called in the last window
        self._now = False  # the same of this window
        self._base: int | None = None
        self._mark: int | None = None
        self._awaited: set[int] = set()
        self._patience = 0
        self._fresh: list[int] = []
        self._unheard = 0

    @property
    def programs(self) -> float | None:
        """How many programs use the quota, this one included; None is unknown."""
        if not self._own:
            return None
        return max(self._fallen / self._own, self._last_window)

    @property
    def alone(self) -> bool:
        """Whether nobody else called in this window and the last."""
        return self._own > 0 and not (self._before or self._now)

    def sent(self) -> int:
        """A call goes out; return its number."""
        self._numbers += 1
        self._under_way.add(self._numbers)
        return self._numbers

    def answered(self, number: int, left: int) -> None:
        """A call was answered, and its answer said what is left in this window."""
        self._answers += 1
        if self._base is None:
            self._base = left
        elif left < self._base:
            self._fresh.append(left)
        self.ended(number)

    def unheard(self, number: int) -> None:
        """A call is over and nobody knows whether it was counted."""
        self._unheard += 1
        self.ended(number)

    def ended(self, number: int) -> None:
        """A call is over that says nothing of this window."""
        self._under_way.discard(number)
        self._awaited.discard(number)
        if self._mark is not None:
            self._patience -= 1
            if self._patience <= 0:
                # One that takes very long must not hold up the count.
                self._unheard += len(self._awaited)
                self._awaited.clear()
            if not self._awaited:
                self._count(self._mark)
        if self._mark is None and self._fresh:
            self._mark = min(self._fresh)
            self._awaited = set(self._under_way)
            self._patience = FIRST_STEP + 2 * len(self._awaited)
            if not self._awaited:
                self._count(self._mark)

    def window_over(self, *, busy: bool) -> None:
        """A window has ended.

        Args:
            busy: Whether calls waited for that, so that the next window goes on as
                this one did. Who comes back after a pause knows nothing any more.
        """
        self._before, self._now = self._now, False
        # Of the whole window: in its first round others may not have begun yet.
        own, fallen = self._window_own, self._window_fallen
        self._last_window = fallen / own if own and busy else 1.0
        self._care = MORE_CARE if self._strict or not busy else CARE
        self._window_own = self._window_fallen = 0.0
        self._base = self._mark = None
        self._awaited, self._fresh, self._unheard = set(), [], 0
        if not busy:
            self._answers = 0
            self._fallen = self._own = 0.0

    def most_under_way(self, left: int) -> int:
        """Return how many calls of this program may be under way.

        With company each takes only a part of its share of what is left, so that all
        of them together do not overdraw it before they hear of each other.

        Args:
            left: What is left for all.
        """
        if left <= 0:
            return 0
        # Who has just come does not know whether others have come as well.
        step = FIRST_STEP + self._answers
        programs = self.programs
        if programs is None:
            most = min(step, left // (2 * SUPPOSED))
        elif self.alone and not self._strict:
            return step
        else:
            most = min(step, int(left / (self._care * programs)))
        # The last ones are used up too: of those who try all but one are refused.
        return most if self._strict else max(1, most)

    def counted(self, left: int) -> int:
        """Return how many of the calls under way are in `left` already, for certain.

        Args:
            left: What the scarcest answer said is left.
        """
        if self._base is None or not self.alone:
            return 0
        # All that went out since the base was counted after it.
        rest = self._base - len(self._fresh) - self._unheard - len(self._under_way)
        return max(0, rest - (left - len(self._under_way)))

    def probes(self, limit: int | None) -> int:
        """Return how many calls may go out before anything is known of a window.

        Args:
            limit: Calls that a whole window has; None if that is unknown.
        """
        if limit is None or self._strict or not self.alone:
            return 1
        # Whoever was alone in the last window will hardly meet one that is used up.
        return max(1, min(FIRST_STEP + self._answers, limit // 4))

    def _count(self, mark: int) -> None:
        """All that was under way at the mark is answered: count."""
        base = mark if self._base is None else self._base
        fallen = base - mark
        own = sum(left >= mark for left in self._fresh)
        # What came back without an answer may have been counted.
        explained = min(self._unheard, max(0, fallen - own))
        self._unheard -= explained
        own += explained
        if fallen > own:
            self._now = True
        kept = max(0.0, 1.0 - own / MEMORY)
        self._fallen = self._fallen * kept + max(fallen, own)
        self._own = self._own * kept + own
        self._window_own += own
        self._window_fallen += max(fallen, own)
        self._fresh = [left for left in self._fresh if left < mark]
        self._base, self._mark = mark, None


@define(eq=False)
class QuotaState:
    """What is known of one token's quota.

    Attributes:
        window: The window that runs.
        in_flight: Calls of this program that are under way.
        others: Calls of others that are under way and stand in a shared ledger.
        excused: Calls under way that went out in an earlier window: a slow one must
            not keep the next window from being probed.
        probing_since: Since when an answer is awaited to learn what is left.
        holds: Until when which kind of call is held back.
        company: Who else uses the quota; None where all of them are in `others`.
        lost: When calls ended without an answer, of which nobody has heard since
            whether the Hub counted them.
    """

    window: Window = field(factory=Window)
    in_flight: int = 0
    others: int = 0
    excused: int = 0
    probing_since: float | None = None
    holds: dict[str, float] = field(factory=dict[str, float])
    company: SharedUseEstimator | None = None
    lost: list[float] = field(factory=list[float])

    def forget_what_is_over(self, now: float, *, busy: bool) -> None:
        """Forget a window and the holds that have ended.

        Args:
            now: The time.
            busy: Whether calls waited for that.
        """
        if self.window.forget_if_over(now):
            self._next_window(busy=busy)
        if self.holds:
            self.holds = {k: until for k, until in self.holds.items() if until > now}

    def held_until(self, action: str) -> float | None:
        """Return when the holds on a kind of call end; None if there is none."""
        ends = [self.holds[kind] for kind in (ANY, action) if kind in self.holds]
        return max(ends, default=None)

    def places(self, now: float, *, reserve: float) -> int:
        """Return how many more calls may go out now.

        Args:
            now: The time.
            reserve: Share of the whole window that is not to be touched.
        """
        left = self.window.available(0, reserve=reserve)
        if left is not None:
            return self._places_of(left)
        probes = 1
        if self.company is not None:
            probes = self.company.probes(self.window.limit)
        if self.probing_since is not None:
            # A slow probe must not hold up all others: one more each second.
            probes += int((now - self.probing_since) / PATIENCE)
        return probes - max(0, self.in_flight + self.others - self.excused)

    def used_up_until(self, *, reserve: float) -> float | None:
        """Return when the window ends, if no answer can free a place before that.

        That is so when the whole rest of the window would not do, and when nothing is
        under way and the rest is taken by calls that were lost.
        """
        left = self.window.available(0, reserve=reserve)
        if left is None:
            return None
        under_way = self.in_flight + self.others
        if self._most(left) > 0 and (under_way or self._places_of(left) > 0):
            return None
        return self.window.ends

    def take(self, now: float) -> int:
        """Take a place; return the call's number."""
        if self.window.left is None and self.probing_since is None:
            self.probing_since = now
        self.in_flight += 1
        return self.company.sent() if self.company is not None else 0

    def settle(self, tickets: Iterable[Permit]) -> bool:
        """Give places back and take in what their answers said.

        Returns:
            Whether calls that wait for the end of the window may go out earlier: it
            ends sooner than was known, or lost calls turn out not to be counted.
        """
        ends, in_doubt = self.window.ends, bool(self.lost)
        for ticket in tickets:
            self._settle(ticket)
        after = self.window.ends
        sooner = ends is not None and after is not None and after < ends - EARLIER
        return sooner or (in_doubt and not self.lost)

    def _settle(self, ticket: Permit) -> None:
        self.in_flight -= 1
        if ticket.sent < self.window.known_since and self.excused:
            self.excused -= 1
        heard = ticket.heard
        if heard is None:
            if not ticket.unsent:
                self.lost.append(ticket.ended)
            heard = Heard(ticket.ended)
        if heard.quota is not None:
            self._note(ticket.number, heard.quota, ticket.sent, heard.received)
        elif self.company is not None and ticket.unsent:
            self.company.ended(ticket.number)
        elif self.company is not None:
            self.company.unheard(ticket.number)
        if heard.shut_until is not None:
            self.window.shut(heard.shut_until)
        if heard.hold is not None:
            action, until = heard.hold
            until = min(until, heard.received + MAX_WAIT_SECONDS)
            self.holds[action] = max(until, self.holds.get(action, until))
        if not self.in_flight + self.others - self.excused:
            self.probing_since = None  # it told nothing: the next one is a probe, too

    def _note(self, number: int, quota: Quota, sent: float, received: float) -> None:
        standing = self.window.note(quota, sent=sent, received=received)
        if standing == "next":
            self._next_window(busy=True)
        if self.lost and standing != "past":
            # What was lost before this call went out is in what is left after it.
            self.lost = [at for at in self.lost if at > sent]
        if self.company is None:
            return
        if standing == "past":
            self.company.ended(number)
        else:
            self.company.answered(number, quota.remaining)

    def _next_window(self, *, busy: bool) -> None:
        self.probing_since = None
        self.lost = []
        self.excused = self.in_flight + self.others
        if self.company is not None:
            self.company.window_over(busy=busy)

    def _most(self, left: int) -> int:
        return left if self.company is None else self.company.most_under_way(left)

    def _places_of(self, left: int) -> int:
        """Return how many more calls may go out when so many are left for us."""
        under_way = self.in_flight + self.others
        places = left - under_way - len(self.lost)
        if self.company is not None:
            places += self.company.counted(self.window.left or 0)
        if not under_way and left >= WORTH_A_REFUSAL:
            # Only an answer can tell whether the lost ones were counted.
            places = max(1, places)
        return min(places, self._most(left) - self.in_flight)
