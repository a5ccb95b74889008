"""What the views of one client share, and the options of one view."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, field, frozen
from yarl import URL

from spaces_async._clock import Clock
from spaces_async._core.connections import Places
from spaces_async._core.recent_writes import RecentWrites
from spaces_async._core.retry import RetryBudget
from spaces_async._quota.governor import Governor, Permit
from spaces_async._quota.ledger import Ledger
from spaces_async._quota.waits import OnWait
from spaces_async._redacted import Token
from spaces_async._wire import responses
from spaces_async._wire.ratelimit import parse_clock
from spaces_async._wire.transport import Transport
from spaces_async.errors import ConfigurationError
from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts

if TYPE_CHECKING:
    # Loaded only where there is an observer.
    from spaces_async._core.observation import Observation, WindowsTold  # noqa: TC004
    from spaces_async._wire.messages import Response

# An access to a member of an enumeration takes time on Python 3.11.
_TOO_MANY_REQUESTS: Final = HTTPStatus.TOO_MANY_REQUESTS.value
_SERVER_ERRORS: Final = HTTPStatus.INTERNAL_SERVER_ERROR.value
_SERVICE_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE.value

_ACCOUNTS_BEFORE_CLEANUP: Final = 64
_MAX_UNUSED_ACCOUNTS: Final = 2048
"""An account takes some kilobytes, and its quota window runs for minutes after a call. A
web backend may see many thousand tokens in that time."""


class SendFence(Protocol):
    """Says until when writes may be sent, where others may take the work over.

    Attributes:
        longest: Seconds that one attempt may take.
    """

    longest: float

    def require(self, seconds: float) -> None:
        """Raise what ends the work, unless writes may be sent for so long from now."""
        ...

    def lasts(self, until: float) -> bool:
        """Return whether a write may go out now that may be sent until an instant.

        Args:
            until: When its attempt ends, by the monotonic clock.
        """
        ...


@define
class CallStats:
    """Counts of the calls of one task; see `collect_stats`.

    Attributes:
        sends: Requests sent, including attempts to connect.
        waited: Seconds spent waiting for the quota and between attempts.
        writes: Requests sent that write and that the Hub may have acted on.
        in_flight: Requests that are being sent now, or wait for their response.
        new_id: The id to which the Hub redirected the last write that was sent on.
        fence: Limits when writes may be sent; None: they always may.
    """

    sends: int = 0
    waited: float = 0.0
    writes: int = 0
    in_flight: int = 0
    new_id: str | None = None
    fence: SendFence | None = None


current_stats: ContextVar[CallStats | None] = ContextVar(
    "spaces_async_stats", default=None
)


def current_fence() -> SendFence | None:
    """Return what limits when the current task may send writes; None if nothing does."""
    stats = current_stats.get()
    return None if stats is None else stats.fence


def collect_stats() -> CallStats:
    """Start to count what the current task sends."""
    stats = CallStats()
    current_stats.set(stats)
    return stats


@define(eq=False)
class Account:
    """What is known about one token at the endpoint.

    Attributes:
        governor: Its quota.
        budget: Limits how many of its lost requests are sent again.
        memory: Results of calls that are `remembered`, by the name of their action.
        recent_writes: Stamped writes that ended a moment ago.
        polls: Waits that share a listing, by owner.
        asking: Held while a call for `memory` is sent, so that it is sent once.
        windows_told: Which quota window observers have been told of; None without one.
    """

    governor: Governor
    budget: RetryBudget = field(factory=RetryBudget)
    memory: dict[str, Any] = field(factory=dict[str, Any])
    recent_writes: RecentWrites = field(factory=RecentWrites)
    polls: dict[str, Any] = field(factory=dict[str, Any])
    asking: asyncio.Lock = field(factory=asyncio.Lock)
    windows_told: WindowsTold | None = None

    def in_use(self, now: float) -> bool:
        """Return whether it must be kept."""
        return (
            self.governor.in_use
            or bool(self.polls)
            or self.asking.locked()
            or self.recent_writes.any(now)
        )

    def wrote_a_moment_ago(self, repo_id: str | None, stamp: str, now: float) -> bool:
        """Return whether the same key was written just before; see `Call.stamp`."""
        return self.recent_writes.holds((repo_id or "", stamp), now)

    def note_write(self, repo_id: str | None, stamp: str, now: float) -> None:
        """Note the end of a call that may have written something stamped."""
        self.recent_writes.note((repo_id or "", stamp), now)


@define(eq=False)
class Shared:
    """What all views of one client share.

    Attributes:
        places: One for each request that may be in flight at a time.
        reached: Whether a request was ever sent: a Hub that was never reached is
            more likely misspelt than down.
        heard: `Date` of the last response, and when it arrived by the local wall
            clock: together they tell how far the two clocks are apart.
        accounts: What is known about each token.
        last_used: The token and the account of the last call.
        loop: The event loop that the client belongs to: that of its first call.
        ledger: Shares the quota with other programs; None if it is not shared.
        observation: Tells the observers; None if there is none.
        on_wait: Told of each wait for the quota; None if nothing is.
        request_ids: How all ids of requests begin.
        request_numbers: How they end.
        cleanup_at: Number of accounts at which some are dropped.
    """

    endpoint: URL
    settings: ClientSettings
    clock: Clock
    transport: Transport
    offline: bool
    rng: random.Random
    places: Places
    reached: bool = False
    heard: tuple[str, datetime] | None = None
    accounts: dict[Token | None, Account] = field(factory=dict["Token | None", Account])
    last_used: tuple[Token | None, Account] | None = None
    loop: asyncio.AbstractEventLoop | None = None
    ledger: Ledger | None = None
    observation: Observation | None = None
    on_wait: OnWait | None = None
    request_ids: str = field(init=False)
    request_numbers: Iterator[int] = field(factory=count, init=False)
    cleanup_at: int = _ACCOUNTS_BEFORE_CLEANUP

    def __attrs_post_init__(self) -> None:
        bits = f"{self.rng.getrandbits(80):020x}"
        self.request_ids = f"{bits[:8]}-{bits[8:12]}-4{bits[12:15]}-a{bits[15:18]}-"

    def require_own_loop(self) -> None:
        """Check that the running event loop is the client's.

        Connections, locks and waits belong to one loop, and in another one they fail
        in ways that look like lost requests.

        Raises:
            ConfigurationError: It is another one.
        """
        running = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = running
        elif self.loop is not running:
            raise ConfigurationError(
                "this client belongs to another event loop, that of its first call;"
                " make one client for each loop"
            )

    def new_request_id(self) -> str:
        """Return a UUID that no other request has; it is no secret.

        A client's ids begin alike, at random, and end with a number.
        """
        return f"{self.request_ids}{next(self.request_numbers):012x}"

    def by_hub_clock(self, instant: datetime) -> datetime | None:
        """Return the Hub's time at a local instant; None if that is unknown."""
        if self.heard is None:
            return None
        date, received = self.heard
        hub_time = parse_clock(date)
        return None if hub_time is None else instant + (hub_time - received)

    def hear(self, governor: Governor, permit: Permit, response: Response) -> None:
        """Note what the headers of a response say, and tell the governor."""
        date = response.date
        if date is not None and (self.heard is None or self.heard[0] != date):
            # Once a second.
            self.heard = date, self.clock.utcnow()
        if response.status == _TOO_MANY_REQUESTS:
            wait = responses.asked_wait(response)
            governor.refused(permit, response.quota, wait=wait)
        else:
            governor.observe(
                permit,
                response.quota,
                good=response.status != _SERVICE_UNAVAILABLE,
                hubs=response.status < _SERVER_ERRORS,
            )

    def account(self, token: Token | None) -> Account:
        """Return what is known about a token. Sometimes drops accounts."""
        if self.last_used is not None and self.last_used[0] is token:
            return self.last_used[1]
        # The one that was used last comes last.
        account = self.accounts.pop(token, None)
        if account is not None:
            self.accounts[token] = account
        else:
            if len(self.accounts) >= self.cleanup_at:
                self._drop_accounts()
            ledger, observation = self.ledger, self.observation
            origin = str(self.endpoint.origin())
            governor = Governor(
                self.clock,
                reserve=self.settings.reserve,
                strict=self.settings.sharing == "strict",
                page=None if ledger is None else ledger.page(origin, token),
                on_wait=self.on_wait,
                rng=self.rng,
            )
            account = self.accounts[token] = Account(governor)
            if observation is not None:
                account.windows_told = observation.windows_told()
        self.last_used = token, account
        return account

    def _drop_accounts(self) -> None:
        """Drop the idle accounts, and of the unused ones all but the last ones used."""
        now = self.clock.monotonic()
        kept = {t: a for t, a in self.accounts.items() if not a.governor.idle}
        unused = [t for t, a in kept.items() if not a.in_use(now)]
        for token in unused[: max(0, len(unused) - _MAX_UNUSED_ACCOUNTS)]:
            del kept[token]
        self.accounts = kept
        self.cleanup_at = max(_ACCOUNTS_BEFORE_CLEANUP, 2 * len(kept))


@frozen
class Options:
    """How one view makes its calls.

    Attributes:
        timeouts: Time limits of each call.
        retry: When a failed attempt is repeated.
        late_looks: Whether the state may be read while a response is late.
        background: Whether the calls are bulk work. Such calls do not use the reserve
            of the quota, and their time does not run while they wait for the quota.
    """

    timeouts: Timeouts
    retry: RetryPolicy
    background: bool = False
    late_looks: bool = True
