"""How a host takes calls from a pool that many hosts share: in blocks. Pure.

The pool (in Redis) holds, for one token and one window, how many calls are not taken
yet: the rest. A host takes a block of them at once, spends the block without asking
again, and gives back what it does not need. An exchange with the pool says all that a
host has to tell (`Ask`) and brings all that it needs to know (`Answer`).

**The life of a window**, with a quota of 500 and two hosts:

1. The pool knows nothing. Host A asks for 3 calls and gets 1: the probe. Host B asks and
   gets none; it looks again in a moment.
2. The response to the probe says that 499 are left and that the window ends in 280 s. A
   tells the pool at once, and gets its 2 other calls. The rest is 497.
3. B has 40 calls that wait. It asks for 16 and gets them; the rest is 481.
4. As the rest shrinks, so do the blocks: a host asks for an eighth of the rest at most,
   or for four calls. So few are left in the hands of a host that has nothing to do.
5. A second after it came, what is left of a block is given back.
6. The rest is 0. When no block can come back any more, hosts wait for the next window.
   The end of the window voids all blocks. So a host that was lost costs nothing after it.

**Others.** A program that does not use the pool shows in the responses: fewer calls are
left than the pool has to give. From then on, and in the next window, the pool is
careful. It also subtracts what the hosts have not had answered, as a host does by
itself: the Hub may not have counted that yet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve, field, frozen, mutable

from spaces_async._quota.state import ANY_ACTION
from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async._quota.ledger import Demand
    from spaces_async._quota.state import Permit

MAX_BLOCK_CALLS: Final = 16
"""The most calls that a host takes at once."""

BLOCKS_IN_REST: Final = 8
"""A block is at most this part of the rest, so that all hosts get some of it."""

SMALL_BLOCK_CALLS: Final = 4
"""A block of so few may be up to half of the rest: smaller ones would cost many exchanges
for the last calls of a window."""

LOW_PART: Final = 4
"""While there is plenty, the next block is asked for when this part of one is left."""

BLOCK_SECONDS: Final = 1.0
"""What is left of a block after this goes back to the pool."""

LATE_SECONDS: Final = 0.25
"""How much later than that what goes back may arrive."""

FIRST_LOOK_SECONDS: Final = 0.2
"""How soon a host that got nothing looks again; each further time it waits twice as
long, up to `MAX_LOOK_SECONDS`."""

MAX_LOOK_SECONDS: Final = 15.0

FIRST_PROBE_LOOK_SECONDS: Final = 0.4
"""The same while another host probes: from afar its response takes 0.14 to 0.37 s, so
that an earlier look finds nothing."""

MAX_PROBE_LOOK_SECONDS: Final = 1.0

REPORT_SECONDS: Final = 0.1
"""How long answered calls are gathered while the pool is careful, before it is told."""

MAX_CALLS: Final = 10**9
MAX_HOLDS: Final = 32
_MAX_NAME: Final = 64
_MAX_WINDOW: Final = 2**53
_UNKNOWN: Final = -1
_MIN_ANSWER: Final = 10


@frozen
class Ask:
    """What a host tells the pool, and asks of it.

    Attributes:
        number: The number of this exchange. One that is repeated takes nothing twice.
        window: The window that the host believes to be in; 0 if it knows of none.
        in_flight: Its requests in flight.
        unspent: Calls of its block that it keeps.
        returned: Calls of its block that it gives back.
        calls: Calls that it wants.
        bulk: Calls for bulk work that it wants besides.
        reserve: Share of the window that is kept from bulk work.
        left: The least that responses in this window said is left; None if none did.
        ends_in: Seconds until the window has ended for certain; None if unknown.
        limit: Calls per window; None if unknown.
        used_up_in: Seconds until the quota opens again, after a 429; None without one.
        rejoins: Whether it has sent requests that the pool does not know of.
        holds: Seconds for which kinds of calls are held back.
    """

    number: int
    window: int
    in_flight: int
    unspent: int
    returned: int = 0
    calls: int = 0
    bulk: int = 0
    reserve: float = 0.0
    left: int | None = None
    ends_in: float | None = None
    limit: int | None = None
    used_up_in: float | None = None
    rejoins: bool = False
    holds: dict[str, float] = field(factory=dict[str, float])

    def later(self, seconds: float) -> Ask:
        """Return the same as it has to be told some seconds later."""
        ends_in, used_up_in = self.ends_in, self.used_up_in
        if used_up_in is not None:
            used_up_in = used_up_in - seconds if used_up_in > seconds else None
        return evolve(
            self,
            ends_in=None if ends_in is None else max(0.0, ends_in - seconds),
            used_up_in=used_up_in,
            holds={k: s - seconds for k, s in self.holds.items() if s > seconds},
        )

    def arguments(self) -> list[str | int]:
        """Return it as the script reads it: whole numbers, milliseconds, -1 for None."""
        holds = [
            part
            for name, seconds in list(self.holds.items())[:MAX_HOLDS]
            for part in (name, _milliseconds(seconds))
        ]
        return [
            self.number,
            self.window,
            self.in_flight,
            self.unspent,
            self.returned,
            self.calls,
            self.bulk,
            round(self.reserve * 1000),
            _UNKNOWN if self.left is None else self.left,
            _milliseconds(self.ends_in),
            _UNKNOWN if self.limit is None else self.limit,
            _milliseconds(self.used_up_in),
            int(self.rejoins),
            *holds,
        ]


@frozen
class Answer:
    """What the pool says.

    Attributes:
        window: The window that is open.
        granted: Calls that the host may send in it.
        rest: Calls not taken yet; None if nothing is known of the window.
        ends_in: Seconds until it ends; None if unknown.
        limit: Calls per window; None if unknown.
        idle: Seconds since any host was granted a call.
        careful: Whether requests that are not answered are subtracted as well.
        damaged: Whether the pool could not be read, and was started from scratch.
        hosts: How many hosts use the pool.
        claims: Calls that the other hosts hold or have in flight.
        holds: Seconds for which kinds of calls are held back.
    """

    window: int
    granted: int
    rest: int | None
    ends_in: float | None
    limit: int | None
    idle: float
    careful: bool
    damaged: bool
    hosts: int
    claims: int
    holds: dict[str, float]

    @classmethod
    def read(cls, values: Any, asked: Ask) -> Answer:
        """Read an answer. Every value is checked, as anyone who can reach Redis may have written it.

        Raises:
            ValueError: The script cannot have answered that.
        """
        parts = cast("list[Any]", values)
        if not isinstance(values, list) or len(parts) < _MIN_ANSWER:
            raise ValueError("not an answer")
        window, granted, rest, ends_in, limit, idle, careful, damaged, *more = parts
        hosts, claims, *holds = more
        if len(holds) % 2 or len(holds) > 2 * MAX_HOLDS:
            raise ValueError("not a list of holds")
        answer = cls(
            window=_whole(window, 1, _MAX_WINDOW),
            # The first host that asks for anything gets a probe.
            granted=_whole(granted, 0, asked.calls + asked.bulk),
            rest=_known(rest, MAX_CALLS),
            ends_in=_seconds(ends_in),
            limit=_known(limit, MAX_CALLS),
            idle=_whole(idle, 0, _MAX_WINDOW) / 1000,
            careful=bool(_whole(careful, 0, 1)),
            damaged=bool(_whole(damaged, 0, 1)),
            hosts=_whole(hosts, 0, MAX_CALLS),
            claims=_whole(claims, 0, MAX_CALLS),
            holds={
                _name(name): _seconds(seconds) or 0.0
                for name, seconds in zip(holds[::2], holds[1::2], strict=True)
            },
        )
        if (answer.rest is None) != (answer.ends_in is None):
            raise ValueError("half a window")
        return answer


@mutable(eq=False)
class Block:
    """The part of the pool that this host may use, and what it knows of the rest.

    Attributes:
        window: The window that the block is of; 0 if none is known.
        unspent: Calls of the block that may still be sent.
        rest: Calls not taken yet at the last answer; None if unknown.
        ends: When the window ends; None if unknown.
        limit: Calls per window; None if unknown.
        is_final: Whether no block of another host can come back to the rest.
        careful: Whether the pool subtracts requests that are not answered.
        hosts: How many hosts used the pool when it last answered.
        claims: Calls that the other hosts held or had in flight then.
        own: What responses to requests of this window have said.
        holds: Until when calls are held back, by kind.
        reports: Whether the pool must be told of something at once.
        answered: Whether a request has been answered that the pool takes for in flight.
        low: The next block is asked for when so few calls are unspent. So a busy host
            does not have to wait for it.
    """

    window: int = 0
    unspent: int = 0
    rest: int | None = None
    ends: float | None = None
    limit: int | None = None
    is_final: bool = False
    careful: bool = False
    hosts: int = 0
    claims: int = 0
    own: Window = field(factory=Window)
    holds: dict[str, float] = field(factory=dict[str, float])
    reports: bool = False
    answered: bool = False
    low: int = 0
    _is_bulk: bool = field(default=False, init=False)
    _number: int = field(default=0, init=False)
    _returned: int = field(default=0, init=False)
    _rejoins: bool = field(default=False, init=False)
    _used_up_until: float | None = field(default=None, init=False)
    _used: int = field(default=0, init=False)
    _pace: int = field(default=1, init=False)
    _looks: int = field(default=0, init=False)
    _unanswered: Ask | None = field(default=None, init=False)
    _asked_at: float = field(default=0.0, init=False)

    @property
    def left(self) -> int | None:
        """Calls left in the window, as far as this host may think of using them."""
        return None if self.rest is None else self.rest + self.unspent

    def forget_what_ended(self, now: float, *, busy: bool) -> None:  # noqa: ARG002  (see `SharedState`)
        """Forget a window and holds that have ended."""
        if self.ends is not None and now >= self.ends:
            self._void()
        if self.holds:
            self.holds = {k: until for k, until in self.holds.items() if until > now}

    def held_until(self, action: str) -> float | None:
        """Return when the holds on a kind of call end; None if there is none."""
        if not self.holds:
            return None
        ends = [self.holds[kind] for kind in (ANY_ACTION, action) if kind in self.holds]
        return max(ends, default=None)

    def places(self, now: float, *, reserve: float) -> int:  # noqa: ARG002  (see `SharedState`)
        """Return how many more requests may go out now."""
        self._is_bulk = reserve > 0
        if not reserve or self.left is None:
            return self.unspent
        return min(self.unspent, self.left - self._kept(reserve))

    def used_up_until(self, *, reserve: float) -> float | None:
        """Return when the window ends, if no call can come back to the pool before."""
        if self.left is None or not self.is_final:
            return None
        return self.ends if self.left - self._kept(reserve) <= 0 else None

    def take_place(self, now: float) -> int:  # noqa: ARG002  (see `SharedState`)
        """Spend a call of the block; return the window that it is of, else 0."""
        if not self.unspent:
            return 0  # the Hub announces no quota, so the call needs none
        self.unspent -= 1
        self._used += 1
        return self.window

    def settle(self, permits: Iterable[Permit]) -> bool:
        """Take in what released permits report."""
        for permit in permits:
            self._settle(permit)
        return False

    def can_ask(self, demand: Demand) -> bool:
        """Return whether it is time for the next block."""
        if not self.unspent:
            return demand.calls + demand.bulk > 0
        return self.unspent <= self.low

    def ask(self, demand: Demand, now: float) -> Ask:
        """Return what to tell the pool now.

        An exchange whose answer was lost is made once more, with the same number and
        amounts: the pool may have granted a block in it.

        Args:
            demand: What calls need now.
            now: The time.
        """
        if self._unanswered is not None:
            self._unanswered = self._unanswered.later(now - self._asked_at)
            self._asked_at = now
            return self._unanswered
        self._number += 1
        self._asked_at = now
        calls, bulk = self._wanted(demand)
        window, until = self.own, self._used_up_until
        self._unanswered = Ask(
            number=self._number,
            window=self.window,
            in_flight=demand.in_flight,
            unspent=self.unspent,
            returned=self._returned,
            calls=calls,
            bulk=bulk,
            reserve=demand.reserve,
            left=window.left,
            ends_in=None if window.ends is None else max(0.0, window.ends - now),
            limit=window.limit,
            used_up_in=None if until is None or until <= now else until - now,
            rejoins=self._rejoins,
            holds={kind: until - now for kind, until in self.holds.items()},
        )
        self._returned = 0
        self._rejoins = self.reports = self.answered = False
        self._used_up_until = None
        return self._unanswered

    def note(self, answer: Answer, now: float) -> None:
        """Take in an answer.

        Args:
            answer: The answer to the last `ask`.
            now: When it arrived.
        """
        self._unanswered = None
        if answer.window != self.window:
            self._void()
            self.window = answer.window
        self.unspent += answer.granted
        self.rest, self.limit = answer.rest, answer.limit
        self.ends = None if answer.ends_in is None else now + answer.ends_in
        self.careful, self.hosts = answer.careful, answer.hosts
        self.claims = answer.claims
        self.is_final = answer.idle >= BLOCK_SECONDS + LATE_SECONDS and not (
            self.unspent or answer.granted
        )
        for kind, seconds in answer.holds.items():
            self.holds[kind] = max(now + seconds, self.holds.get(kind, now))
        self._looks = 0 if answer.granted else self._looks + 1
        if answer.granted:
            self._used = 0
        is_plenty = block_size(self.rest) == MAX_BLOCK_CALLS and not self.careful
        self.low = answer.granted // LOW_PART if self.rest and is_plenty else 0

    def next_look(self, demand: Demand, idle: float) -> float:
        """Return in how many seconds a host that got nothing looks again.

        Args:
            demand: What calls need now.
            idle: Seconds since any host was granted a call, as the pool said.
        """
        kept = 0 if demand.calls else self._kept(demand.reserve)
        if self.rest is not None and self.rest <= kept:
            # What other hosts do not need comes back by then.
            return max(FIRST_LOOK_SECONDS, BLOCK_SECONDS + LATE_SECONDS - idle)
        # What a host that was lost claims takes a window. A probe takes a moment.
        first, last = FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS
        if self.rest is None:
            first, last = FIRST_PROBE_LOOK_SECONDS, MAX_PROBE_LOOK_SECONDS
        doublings = min(max(0, self._looks - 1), 10)
        return min(last, first * 2.0**doublings)

    def give_back(self) -> bool:
        """Give back what is left of a block whose time is over.

        Returns:
            Whether the pool must be told: of that, or that requests were answered.
        """
        # So much is needed in the time of a block.
        self._pace = max(1, self._used)
        self._used = 0
        self.reports = self.reports or self.answered or self.unspent > 0
        self._returned += self.unspent
        self.unspent = 0
        return self.reports

    def part(self) -> None:
        """Note that the pool is away: its calls are not used, and given back later."""
        self.give_back()
        self.reports, self._rejoins = True, True
        self.own = Window(limit=self.own.limit)
        if self._unanswered is not None:
            self._unanswered = evolve(self._unanswered, rejoins=True)
        self.is_final = False

    def _void(self) -> None:
        """Forget the window: its end voids all blocks."""
        self.window = 0
        self.unspent = self.low = self._returned = self._used = self._looks = 0
        self.rest = self.ends = None
        self.is_final = self.careful = False
        self.own = Window(limit=self.own.limit)

    def _kept(self, reserve: float) -> int:
        return math.ceil(reserve * self.limit) if reserve and self.limit else 0

    def _wanted(self, demand: Demand) -> tuple[int, int]:
        """Return how many calls to ask for, and how many for bulk work besides."""
        if not self.can_ask(demand):
            return 0, 0
        if self._used:
            # The last block lasted less than its time: twice as much may be needed.
            self._pace = min(MAX_BLOCK_CALLS, 2 * self._used)
        most = block_size(self.rest)
        calls = min(most, demand.calls)
        bulk = min(most - calls, demand.bulk)
        more = max(0, min(most, self._pace) - calls - bulk)
        is_bulk = not calls and (bulk > 0 or self._is_bulk)
        return (calls, bulk + more) if is_bulk else (calls + more, bulk)

    def _settle(self, permit: Permit) -> None:
        report = permit.report
        is_of_window = bool(self.window) and permit.ledger_number == self.window
        if is_of_window:
            self.answered = True
        if report is None or report.quota is None:
            if is_of_window and permit.is_unsent and report is None:
                self.unspent += 1
            elif is_of_window and self.rest is None:
                # The probe said nothing. The next one has to go out.
                self.reports = True
        elif is_of_window:
            self.own.note(report.quota, sent=permit.issued, received=report.received)
            if self.rest is None:
                self.reports = True
        if report is None:
            return
        if report.used_up_until is not None:
            self._used_up_until = report.used_up_until
            self._returned, self.unspent = self._returned + self.unspent, 0
            self.reports = True
        if report.hold is not None:
            kind, until = report.hold
            until = min(until, report.received + MAX_WAIT_SECONDS)
            self.holds[kind] = max(until, self.holds.get(kind, until))
            self.reports = True


def block_size(rest: int | None) -> int:
    """Return the most calls that a host asks for at once.

    Args:
        rest: Calls not taken yet; None if unknown.
    """
    if rest is None:
        return MAX_BLOCK_CALLS
    share = max(rest // BLOCKS_IN_REST, min(SMALL_BLOCK_CALLS, rest // 2))
    return max(1, min(MAX_BLOCK_CALLS, share))


def _milliseconds(seconds: float | None) -> int:
    return _UNKNOWN if seconds is None else math.ceil(max(0.0, seconds) * 1000)


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, int) and least <= value <= most:
        return value
    raise ValueError("not a number that the script answers")


def _known(value: Any, most: int) -> int | None:
    number = _whole(value, _UNKNOWN, most)
    return None if number == _UNKNOWN else number


def _seconds(value: Any) -> float | None:
    milliseconds = _known(value, round(MAX_WAIT_SECONDS * 1000))
    return None if milliseconds is None else milliseconds / 1000


def _name(value: Any) -> str:
    if isinstance(value, str) and len(value) <= _MAX_NAME and value.isprintable():
        return value
    raise ValueError("not the name of a kind of calls")
