"""What is known about one token's quota, and how many requests may go out now. Pure.

Three kinds of knowledge meet here: the window that the Hub announces (`Window`), the
requests in flight, and how many programs share the token (`SharedUseEstimator`).

`left` may or may not include the requests in flight. So each of them is subtracted, and
so is each lost request: one that ended without a response and may have been counted.

    places = left - in flight - lost

For example, with 10 left, 6 in flight and 1 lost, 3 more may go out, and the Hub cannot
refuse any of them. If this program is alone and knows that 4 of the 6 are included in
the 10 already, these 4 are not subtracted twice: 7 may go out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from spaces_async._quota.shared_use import SharedUseEstimator
from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import MAX_WAIT_SECONDS, Quota

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async._quota.ledger import Others

PROBE_INTERVAL_SECONDS: Final = 1.0
"""While a probe has no response, one more goes out each time this many seconds pass."""

EARLIER_END_SECONDS: Final = 0.05
"""Sleeping calls are woken if the window ends earlier by more than this."""

ANY_ACTION: Final = ""
"""The name of the hold that concerns calls of every kind."""

CALLS_WORTH_A_429: Final = 16
"""If so many calls may be left, one request is sent to find out, at the risk of a 429.

With fewer, waiting for the next window costs next to nothing.
"""


@define(eq=False)
class QuotaReport:
    """What one response said about the quota.

    Attributes:
        received: When the response arrived.
        quota: What its headers said; None if nothing.
        used_up_until: When the quota opens again; None if it is not used up.
        hold: A kind of call and until when it is held back; None if none is.
    """

    received: float
    quota: Quota | None = None
    used_up_until: float | None = None
    hold: tuple[str, float] | None = None


@define(eq=False)
class Permit:
    """A permit to send one request.

    Release it when the response has arrived or the attempt has failed.

    Attributes:
        action: Kind of call, such as "restart".
        issued: When the permit was issued. The request is sent after that.
        number: The request's number in the state of this process.
        report: What the response said about the quota; None without a response.
        is_held: Whether the permit has not been released yet.
        is_unsent: Whether nothing of the request was sent, so that the Hub cannot have
            counted it.
        in_ledger: Whether the ledger counts the request as well.
        ledger_number: The request's number in the ledger.
    """

    action: str
    issued: float
    number: int
    report: QuotaReport | None = None
    is_held: bool = True
    is_unsent: bool = False
    in_ledger: bool = False
    ledger_number: int = 0


@define(eq=False)
class QuotaState:
    """What is known about one token's quota.

    Attributes:
        window: The current window.
        in_flight: Requests of this process in flight.
        others_in_flight: Requests of other processes in flight, as the ledger says.
        carried_over: Requests in flight that were sent in an earlier window. A slow one
            must not prevent a probe of this window.
        probing_since: Since when a response is awaited that says what is left.
        holds: Until when calls are held back, by kind.
        shared_use: Estimates the other programs; None where a file counts them.
        others_are_counted: Whether the estimate only goes along, because a ledger
            counts the other programs.
        requests: Requests so far. A new one has the next number.
        lost: One entry for each request that ended without a response, which the Hub
            may have counted: the number of the last request that was sent before that.
            Numbers, and not instants: on a coarse clock much has the same instant.
        is_ledgers: Whether it is the state in a ledger, which has numbers of its own.
    """

    window: Window = field(factory=Window)
    in_flight: int = 0
    others_in_flight: int = 0
    carried_over: int = 0
    probing_since: float | None = None
    holds: dict[str, float] = field(factory=dict[str, float])
    shared_use: SharedUseEstimator | None = None
    others_are_counted: bool = False
    requests: int = 0
    lost: list[int] = field(factory=list[int])
    is_ledgers: bool = False

    @property
    def left(self) -> int | None:
        """Calls left in the window, the lowest number of all responses."""
        return self.window.left

    @property
    def _estimate(self) -> SharedUseEstimator | None:
        """What decides how many programs there are; None if a ledger does."""
        return None if self.others_are_counted else self.shared_use

    def forget_what_ended(self, now: float, *, busy: bool) -> None:
        """Forget a window and holds that have ended.

        Args:
            now: The time.
            busy: Whether calls waited for that.
        """
        if self.window.forget_if_over(now):
            self._start_window(busy=busy)
        if self.holds:
            self.holds = {k: until for k, until in self.holds.items() if until > now}

    def go_on_alone(self, others: Others) -> None:
        """Take into account what is known of others while no ledger counts them."""
        window = self.window
        self.others_in_flight = others.in_flight
        if self.shared_use is not None:
            self.shared_use.known_programs = others.programs
        if others.left is None or others.ends is None:
            return
        if window.left is not None:
            window.left = min(window.left, others.left)
        elif others.left == 0:
            # More would be taken on trust: what is left must be found out.
            window.mark_used_up(others.ends)

    def held_until(self, action: str) -> float | None:
        """Return when the holds on a kind of call end; None if there is none."""
        if not self.holds:
            return None
        ends = [self.holds[kind] for kind in (ANY_ACTION, action) if kind in self.holds]
        return max(ends, default=None)

    def places(self, now: float, *, reserve: float) -> int:
        """Return how many more requests may go out now.

        Args:
            now: The time.
            reserve: Share of the whole window to keep unused.
        """
        left = self.window.left
        if left is not None:
            if reserve:
                left = self.window.available(0, reserve=reserve) or 0
            return self._places_of(left)
        probes = 1
        if (estimate := self._estimate) is not None:
            probes = estimate.max_probes(self.window.limit)
        if self.probing_since is not None:
            # A slow probe must not hold up all other calls.
            probes += int((now - self.probing_since) / PROBE_INTERVAL_SECONDS)
        return probes - max(
            0, self.in_flight + self.others_in_flight - self.carried_over
        )

    def used_up_until(self, *, reserve: float) -> float | None:
        """Return when the window ends, if no response can free a place before that.

        That is so if nothing is left apart from the reserve, and if nothing is in
        flight and lost requests account for all that is left.
        """
        left = self.window.available(0, reserve=reserve)
        if left is None:
            return None
        in_flight = self.in_flight + self.others_in_flight
        if self._max_in_flight(left) > 0 and (in_flight or self._places_of(left) > 0):
            return None
        return self.window.ends

    def take_place(self, now: float) -> int:
        """Take a place; return the request's number."""
        if self.window.left is None and self.probing_since is None:
            self.probing_since = now
        self.in_flight += 1
        self.requests += 1
        if self.shared_use is not None:
            self.shared_use.request_sent(self.requests)
        return self.requests

    def settle(self, permits: Iterable[Permit]) -> bool:
        """Free the places of released permits and take in their reports.

        Returns:
            Whether calls that wait for the end of the window may go out earlier: it
            ends earlier than was known, or lost requests turn out not to be counted.
        """
        ends, in_doubt = self.window.ends, bool(self.lost)
        for permit in permits:
            self._settle(permit)
        after = self.window.ends
        if ends is not None and after is not None:
            return after < ends - EARLIER_END_SECONDS or (in_doubt and not self.lost)
        return in_doubt and not self.lost

    def _settle(self, permit: Permit) -> None:
        self.in_flight -= 1
        if self.carried_over and permit.issued < self.window.known_since:
            self.carried_over -= 1
        report = permit.report
        if report is None:
            if not permit.is_unsent:
                self.lost.append(self.requests)
            self._forget_request(permit)
        else:
            if report.quota is not None:
                self._note(permit, report.quota, report.received)
            else:
                self._forget_request(permit)
            if report.used_up_until is not None:
                self.window.mark_used_up(report.used_up_until)
            if report.hold is not None:
                action, until = report.hold
                until = min(until, report.received + MAX_WAIT_SECONDS)
                self.holds[action] = max(until, self.holds.get(action, until))
        if not self.in_flight + self.others_in_flight - self.carried_over:
            self.probing_since = None  # it said nothing: the next one is a probe, too

    def _forget_request(self, permit: Permit) -> None:
        """Tell the estimate of a request that says nothing of the quota."""
        if self.shared_use is None:
            return
        if permit.is_unsent:
            self.shared_use.request_ended(permit.number)
        else:
            self.shared_use.request_lost(permit.number)

    def _note(self, permit: Permit, quota: Quota, received: float) -> None:
        order = self.window.note(quota, sent=permit.issued, received=received)
        if order == "next":
            self._start_window(busy=True)
        if self.lost and order != "past":
            # What is left now includes each request that was lost before this one was
            # sent.
            number = permit.ledger_number if self.is_ledgers else permit.number
            self.lost = [last for last in self.lost if last >= number]
        if self.shared_use is None:
            return
        if order == "past":
            self.shared_use.request_ended(permit.number)
        else:
            self.shared_use.response_received(permit.number, quota.remaining)

    def _start_window(self, *, busy: bool) -> None:
        self.probing_since = None
        self.lost = []
        self.carried_over = self.in_flight + self.others_in_flight
        if self.shared_use is not None:
            self.shared_use.window_ended(busy=busy)

    def _max_in_flight(self, left: int) -> int:
        estimate = self._estimate
        return left if estimate is None else estimate.max_in_flight(left)

    def _places_of(self, left: int) -> int:
        """Return how many more requests may go out if so many calls are left for us."""
        in_flight = self.in_flight + self.others_in_flight
        places = left - in_flight - len(self.lost)
        most = self._max_in_flight(left) - self.in_flight
        if places >= most:
            return most
        if (estimate := self._estimate) is not None:
            places += estimate.known_counted(self.window.left or 0)
        if not in_flight and left >= CALLS_WORTH_A_429:
            # Only a response can tell whether the lost requests were counted.
            places = max(1, places)
        return min(places, most)
