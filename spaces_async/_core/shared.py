"""What the views of one client share, and what one view brings of its own."""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from attrs import define, field, frozen
from yarl import URL

from spaces_async._clock import Clock
from spaces_async._core.recent_writes import RecentWrites
from spaces_async._core.retry import RetryBudget
from spaces_async._quota.governor import Governor, Permit
from spaces_async._quota.ledger import Ledger
from spaces_async._redacted import Token
from spaces_async._wire import responses
from spaces_async._wire.calls import Answer, Call
from spaces_async._wire.ratelimit import Quota, parse_quota, parse_retry_after
from spaces_async._wire.transport import Transport
from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts

_MANY_ACCOUNTS: Final = 64
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500
_UNAVAILABLE: Final = 503


@define
class CallStats:
    """What the calls of one task have sent so far; see `collect_stats`.

    Attributes:
        sends: Requests sent.
        waited: Seconds spent waiting for the quota and between attempts.
        writes: How many of them were writes that the Hub may have acted on.
    """

    sends: int = 0
    waited: float = 0.0
    writes: int = 0


current_stats: ContextVar[CallStats | None] = ContextVar(
    "spaces_async_stats", default=None
)


def collect_stats() -> CallStats:
    """Start to count what the current task sends from here on."""
    stats = CallStats()
    current_stats.set(stats)
    return stats


def resume_stats(stats: CallStats) -> None:
    """Go on to count what the current task sends, after it did something else."""
    current_stats.set(stats)


@frozen
class Reply:
    """An answer and what its headers say of the quota."""

    answer: Answer
    quota: Quota | None
    retry_after: float | None


@define(eq=False)
class Account:
    """What is known of one token at the endpoint.

    Attributes:
        governor: Its quota.
        memory: Answers that are worth keeping, by name.
        polls: Waits that share a listing, by owner (see `_polls`).
        recent_writes: Stamped writes that ended a moment ago.
        asking: Held by whoever asks for one of them, so that nobody else does.
    """

    governor: Governor
    memory: dict[str, Any] = field(factory=dict[str, Any])
    recent_writes: RecentWrites = field(factory=RecentWrites)
    polls: dict[str, Any] = field(factory=dict[str, Any])
    asking: asyncio.Lock = field(factory=asyncio.Lock)

    def wrote_a_moment_ago(
        self, repo_id: str | None, stamp: str | None, now: float
    ) -> bool:
        """Return whether the same thing was written just before; see `Call.stamp`."""
        if stamp is None:
            return False
        return self.recent_writes.holds((repo_id or "", stamp), now)

    def note_write(self, call: Call[Any], now: float) -> None:
        """Note that a call has ended that may have written something stamped."""
        if call.stamp is not None:
            self.recent_writes.note((call.repo_id or "", call.stamp), now)


@define(eq=False)
class Shared:
    """What all views of one client share.

    `heard` is the `Date` of the last answer and when it came, by this machine's wall
    clock: together they tell how far the two clocks are apart.
    """

    endpoint: URL
    settings: ClientSettings
    clock: Clock
    transport: Transport
    offline: bool
    rng: random.Random
    places: asyncio.Semaphore
    budget: RetryBudget = field(factory=RetryBudget)
    heard: tuple[str, datetime] | None = None
    accounts: dict[Token | None, Account] = field(factory=dict["Token | None", Account])
    ledger: Ledger | None = None
    many: int = _MANY_ACCOUNTS

    def by_hub_clock(self, instant: datetime | None) -> datetime | None:
        """Return what the Hub's clock showed at an instant of ours, if that is known."""
        if self.heard is None or instant is None:
            return None
        date, received = self.heard
        try:
            return instant + (parsedate_to_datetime(date) - received)
        except (ValueError, TypeError):
            return None

    def hear(self, governor: Governor, ticket: Permit, answer: Answer) -> Reply:
        """Take in what the headers of an answer say, and tell the governor."""
        now = self.clock.utcnow()
        if answer.date is not None:
            self.heard = answer.date, now
        quota = parse_quota(answer.rate_limit, answer.rate_limit_policy)
        retry_after = parse_retry_after(answer.retry_after, date=answer.date, now=now)
        if answer.status == _TOO_MANY:
            wait = responses.asked_wait(answer, quota, retry_after)
            governor.refused(ticket, quota, wait=wait)
        else:
            governor.observe(
                ticket,
                quota,
                good=answer.status != _UNAVAILABLE,
                hubs=answer.status < _SERVER_ERRORS,
            )
        return Reply(answer, quota, retry_after)

    def account(self, token: Token | None) -> Account:
        """Return what is known of a token; now and then forget those that are idle."""
        account = self.accounts.get(token)
        if account is None:
            if len(self.accounts) >= self.many:
                kept = {t: a for t, a in self.accounts.items() if not a.governor.idle}
                self.accounts = kept
                self.many = max(_MANY_ACCOUNTS, 2 * len(kept))
            ledger = self.ledger
            origin = str(self.endpoint.origin())
            governor = Governor(
                self.clock,
                reserve=self.settings.reserve,
                strict=self.settings.sharing == "strict",
                page=None if ledger is None else ledger.page(origin, token),
                on_wait=self.settings.on_wait,
                rng=self.rng,
            )
            account = self.accounts[token] = Account(governor)
        return account


@frozen
class Options:
    """How one view makes its calls.

    Attributes:
        timeouts: Time limits of each call.
        retry: When a failed attempt is tried again.
        background: Whether the calls are bulk work: they leave the reserve of the
            quota to others, and waiting for the quota does not use up their time.
    """

    timeouts: Timeouts
    retry: RetryPolicy
    background: bool = False
