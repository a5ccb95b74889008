"""The quota as this process knows it and as the ledger knows it, in one.

Each process keeps a state of its own, even with a ledger. Of the two, the one that
knows of fewer calls is right. So a ledger that is deleted, damaged or written by an
earlier boot costs accuracy for a moment, and nothing else.

A store that other hosts use is trusted even less. Until a response of its own says what
is left, a process sends no more than a probe, whatever the store says. So a store that
somebody has tampered with cannot make it send faster than the Hub's headers allow.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from spaces_async._quota.shared_use import SharedUseEstimator
from spaces_async._quota.state import ANY_ACTION, Permit, QuotaState
from spaces_async._quota.waits import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from spaces_async._quota.ledger import LedgerPage, SharedState


class CombinedState:
    """One or two states, as one. Where they differ, the more careful one counts."""

    __slots__ = ("_own", "_own_counts", "_states")

    def __init__(
        self,
        own: QuotaState,
        shared: SharedState | None = None,
        *,
        own_counts: bool = False,
    ) -> None:
        """Combine what this process knows with what the ledger says.

        Args:
            own: What this process knows.
            shared: What the ledger says; None without one.
            own_counts: Whether a process that knows nothing of a window sends a probe
                only, whatever the ledger says.
        """
        self._own = own
        self._own_counts = own_counts
        self._states: Sequence[SharedState] = (
            (own,) if shared is None else (own, shared)
        )

    @property
    def left(self) -> int | None:
        """Calls left in the window; None if unknown."""
        known = [s.left for s in self._states if s.left is not None]
        return min(known, default=None)

    def forget_what_ended(self, now: float, *, busy: bool) -> None:
        """Forget a window and holds that have ended; see `QuotaState`."""
        for state in self._states:
            state.forget_what_ended(now, busy=busy)

    def hold_on(self, action: str, now: float) -> Wait | None:
        """Return the wait for the holds on a kind of call; None if there is none."""
        until = now
        for state in self._states:
            until = max(until, state.held_until(action) or until)
        if until <= now:
            return None
        is_for_all = any(s.holds.get(ANY_ACTION) == until for s in self._states)
        return Wait(until, self.left, is_for_action=not is_for_all)

    def places(self, now: float, *, reserve: float) -> int:
        """Return how many more requests may go out now."""
        states = self._states
        if not self._own_counts:
            states = [s for s in states if s.left is not None] or states
        return min(state.places(now, reserve=reserve) for state in states)

    def wait_for_window(self, *, reserve: float) -> Wait | None:
        """Return the wait for the next window; None if a response may free a place."""
        ends = [state.used_up_until(reserve=reserve) for state in self._states]
        until = max((end for end in ends if end is not None), default=None)
        return None if until is None else Wait(until, self.left)

    def issue_permit(self, action: str, now: float) -> Permit:
        """Take a place in each state."""
        permit = Permit(action, now, self._own.take_place(now))
        for shared in self._states[1:]:
            permit.in_ledger = True
            permit.ledger_number = shared.take_place(now)
        return permit


class StateStore:
    """Opens the combined state for one decision, and settles released permits in it.

    Attributes:
        own: What this process knows.
        sole: The same where there is no ledger: all that is known. None with one.
        unsettled: Permits that were released, and have yet to be settled in the ledger.
    """

    def __init__(
        self,
        *,
        strict: bool,
        page: LedgerPage | None,
        on_earlier: Callable[[], None],
    ) -> None:
        """Start with no knowledge.

        Args:
            strict: Leave the last calls of a window unused rather than risk a 429.
            page: The token's page of the ledger; None without a ledger.
            on_earlier: Called when sleeping calls may go out earlier than was known.
        """
        # A ledger counts the requests of the others. Where it spans hosts, the estimate
        # goes along, for the time when the ledger is away.
        self._spans_hosts = page is not None and page.spans_hosts
        shared_use: SharedUseEstimator | None = None
        if page is None or self._spans_hosts:
            shared_use = SharedUseEstimator(strict=strict or self._spans_hosts)
        self.own = QuotaState(shared_use=shared_use)
        self.sole = self.own if page is None else None
        self._page = page
        self._own_only = nullcontext(CombinedState(self.own))
        self._opening = None if page is None else _Opening(self, page)
        self._on_earlier = on_earlier
        # Another process may have the ledger locked when a permit is released.
        self.unsettled: list[Permit] = []

    def look_soon(self) -> None:
        """Have the governor called soon, if other programs may change what is known."""
        if self._page is not None:
            self._page.look_soon()

    def close(self) -> None:
        """Look no more."""
        if self._page is not None:
            self._page.close()

    def open(self, now: float) -> AbstractContextManager[CombinedState | None]:
        """Open what is known; what is changed in it is kept.

        The context manager gives None if another process has the ledger locked just
        now.
        """
        if self._opening is None:
            return self._own_only
        self._opening.now = now
        return self._opening

    def settle(self, permit: Permit) -> None:
        """Free the place of a permit and take in its report.

        In the ledger, the permit is settled when the ledger is next opened.
        """
        if self.own.settle((permit,)):
            self._on_earlier()
        if permit.in_ledger:
            self.unsettled.append(permit)

    def combine(self, shared: SharedState) -> CombinedState:
        """Combine what the ledger says with what this process knows.

        What was released since the ledger was open last is settled first.
        """
        if self.unsettled:
            permits, self.unsettled = self.unsettled, []
            if shared.settle(permits):
                self._on_earlier()
        return CombinedState(self.own, shared, own_counts=self._spans_hosts)


class _Opening:
    """Opens the page of a ledger for one decision, as a context manager."""

    __slots__ = ("_is_open", "_page", "_store", "now")

    def __init__(self, store: StateStore, page: LedgerPage) -> None:
        self._store = store
        self._page = page
        self._is_open = False
        self.now = 0.0

    def __enter__(self) -> CombinedState | None:
        store, page, now = self._store, self._page, self.now
        shared = page.open(now)
        self._is_open = shared is not None
        store.own.others_are_counted = self._is_open
        if shared is not None:
            store.own.others_in_flight = 0
            return store.combine(shared)
        if page.is_briefly_locked(now):
            return None
        store.own.go_on_alone(page.others(now))
        return CombinedState(store.own)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_open:
            self._is_open = False
            self._page.put_back(self.now, keep=kind is None)
