"""What a ledger is: where the programs that share a token tell each other of its quota.

There are two: a file for the processes of one host, and Redis for many hosts. Both
hold, for each token at each endpoint, what is left and which calls are taken. A
governor asks its page of the ledger before each request, and never waits for it: the
page answers from what it has at hand, or says that it will call back.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spaces_async._quota.state import Permit
    from spaces_async._redacted import Token


class SharedState(Protocol):
    """What is known about a quota: by this process itself, or through a ledger."""

    holds: dict[str, float]
    """Until when calls are held back, by kind."""

    @property
    def left(self) -> int | None:
        """Calls left in the window; None if unknown."""
        ...

    def forget_what_ended(self, now: float, *, busy: bool) -> None:
        """Forget a window and holds that have ended."""
        ...

    def held_until(self, action: str) -> float | None:
        """Return when the holds on a kind of call end; None if there is none."""
        ...

    def places(self, now: float, *, reserve: float) -> int:
        """Return how many more requests may go out now."""
        ...

    def used_up_until(self, *, reserve: float) -> float | None:
        """Return when the window ends, if nothing can free a place before that."""
        ...

    def take_place(self, now: float) -> int:
        """Take a place; return the number by which the state knows the request."""
        ...

    def settle(self, permits: Iterable[Permit]) -> bool:
        """Free the places of released permits and take in their reports."""
        ...


@frozen
class Demand:
    """What the calls of one governor need now.

    Attributes:
        calls: Calls that queue, without bulk work.
        bulk: Bulk work that queues.
        in_flight: Requests in flight.
        reserve: Share of a window that bulk work leaves to other calls.
    """

    calls: int
    bulk: int
    in_flight: int
    reserve: float


@frozen
class Others:
    """What was known of other programs before the ledger went away.

    Attributes:
        programs: How many programs used it; 0 if unknown.
        in_flight: Their requests that may still be on their way.
        left: Calls of the window that were not taken yet; None if unknown.
        ends: When the window ends; None if unknown.
    """

    programs: int = 0
    in_flight: int = 0
    left: int | None = None
    ends: float | None = None


class Governed(Protocol):
    """The governor, as its page of a ledger sees it."""

    def demand(self) -> Demand:
        """Return what its calls need now."""
        ...

    def ledger_changed(self) -> None:
        """Look at the page again: others may have changed it."""
        ...


class LedgerPage(Protocol):
    """What a ledger says about one token."""

    @property
    def spans_hosts(self) -> bool:
        """Whether other hosts use it.

        A process then goes by its own responses as well before it sends more than a
        probe, and estimates the others as long as the ledger is away.
        """
        ...

    def others(self, now: float) -> Others:
        """Return what was known of others when the ledger could be used last."""
        ...

    def attach(self, governor: Governed) -> None:
        """Say whose page this is."""
        ...

    def open(self, now: float) -> SharedState | None:
        """Open what the ledger says, for one decision.

        Returns:
            What is known, which `put_back` has to follow in the same turn of the event
            loop; None if the ledger cannot be used just now.
        """
        ...

    def put_back(self, now: float, *, keep: bool) -> None:
        """Close what was opened.

        Args:
            now: When it was opened.
            keep: Whether to keep what was changed in it.
        """
        ...

    def is_briefly_locked(self, now: float) -> bool:
        """Whether calls wait for the ledger rather than go on without it."""
        ...

    def look_soon(self) -> None:
        """Have `Governed.ledger_changed` called soon: calls queue."""
        ...

    def close(self) -> None:
        """Look no more: the governor is closed."""
        ...


class Ledger(Protocol):
    """Where programs that share a token tell each other of its quota."""

    def page(self, origin: str, token: Token | None) -> LedgerPage:
        """Return the page of one token at one endpoint."""
        ...

    async def aclose(self) -> None:
        """Give back what is not needed, and close it for good."""
        ...

    async def abandon(self) -> None:
        """Close it where its event loop does not run any more."""
        ...


def page_name(origin: str, token: Token | None) -> str:
    """Return the name of a token's page: a salted hash, from which no token is found."""
    secret = "" if token is None else token.reveal()
    text = f"spaces_async\n{origin}\n{secret}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def poll_delay(choose: Callable[[float, float], float], seconds: float) -> float:
    """Return a delay of about so many seconds: those who wait must not march in step.

    Args:
        choose: `random.Random.uniform`.
        seconds: The mean.
    """
    return choose(0.5, 1.5) * seconds
