"""The ledger of many hosts: Redis.

Each token at each endpoint has a pool of calls there. A host takes them in blocks; the
rules are in `blocks`, and what has to be done in one step is in `take_script`. This
module does the IO: it runs the script, and decides when.

**No call waits for Redis** longer than `STORE_SECONDS`. If it does not answer by then,
or with an error, the ledger is away: that is logged once, and each host paces alone,
as one that shares its token with programs it knows nothing of (strict sharing).
Meanwhile calls that come have it asked again, and do not wait for that. When Redis is
back, blocks are taken again.

**One task** for each page makes its exchanges, one after the other, and no call does.
So a call that is cancelled cannot interrupt one, and a block that came for it is there
for the next call, or goes back.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from spaces_async._quota.blocks import BLOCK_SECONDS, REPORT_SECONDS, Answer, Block
from spaces_async._quota.ledger import Demand, Others, page_name, poll_delay
from spaces_async._quota.take_script import TAKE
from spaces_async._redis import RedisAwayError, RedisServer

if TYPE_CHECKING:
    import random

    from spaces_async._clock import Clock
    from spaces_async._quota.ledger import Governed
    from spaces_async._redacted import Redacted, Token

logger = logging.getLogger(__name__)

STORE_SECONDS: Final = 0.25
"""How long Redis may take to connect, and to answer."""

RETRY_SECONDS: Final = 1.0
"""The least time before Redis is asked again while it is away."""

HELD_SECONDS: Final = 5.0
"""How long calls that other hosts held count after Redis went away."""

_NAME: Final = "spaces_async:quota:1"
_NO_DEMAND: Final = Demand(0, 0, 0, 0.0)


class RedisLedger:
    """The ledger in Redis."""

    def __init__(self, url: Redacted[str], clock: Clock, rng: random.Random) -> None:
        """Make it; nothing is opened yet.

        Args:
            url: Where Redis is. It may contain a password.
            clock: The source of time.
            rng: Spreads the looks of several hosts.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        self.clock = clock
        self.rng = rng
        self.store = RedisServer(url, "ledger", seconds=STORE_SECONDS)
        self.is_away = False
        self.retry_at = float("-inf")
        self._pages: WeakSet[RedisPage] = WeakSet()

    def page(self, origin: str, token: Token | None) -> RedisPage:
        """Return the page of one token at one endpoint."""
        page = RedisPage(self, page_name(origin, token))
        self._pages.add(page)
        return page

    def went_away(self, why: str) -> None:
        """Note that Redis cannot be used; say so once."""
        if not self.is_away:
            logger.warning("the ledger cannot be used: %s; pacing without it", why)
        self.is_away = True
        # A whole second: the loop's timers need not be exact.
        self.retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS

    def came_back(self) -> None:
        """Note that Redis can be used."""
        if self.is_away:
            logger.warning("the ledger can be used again")
        self.is_away = False

    async def aclose(self) -> None:
        """Give back what is not needed, and close the connections."""
        try:
            for page in list(self._pages):
                await page.aclose()
        finally:
            await self.store.aclose()

    async def abandon(self) -> None:
        """Close the connections where their event loop does not run any more."""
        for page in list(self._pages):
            page.abandon()
        await self.store.abandon()


class RedisPage:
    """What the pool says about one token, and the exchanges with it."""

    spans_hosts = True

    def __init__(self, ledger: RedisLedger, key: str) -> None:
        self.block = Block()
        self._ledger = ledger
        # A cluster keeps both keys on one server.
        pool = f"{_NAME}:{{{key}}}"
        self._keys = pool, f"{pool}:{os.urandom(8).hex()}"
        self._governor: Governed | None = None
        self._closed = False
        self._has_parted = False
        self._parted_at = float("-inf")
        self._exchanges: asyncio.Task[None] | None = None
        self._look: asyncio.TimerHandle | None = None
        self._report: asyncio.TimerHandle | None = None
        self._end_of_block: asyncio.TimerHandle | None = None

    def others(self, now: float) -> Others:
        """Return what is known of other hosts, for as long as Redis is away."""
        block = self.block
        block.forget_what_ended(now, busy=False)
        is_recent = now - self._parted_at < HELD_SECONDS
        return Others(
            programs=block.hosts,
            in_flight=block.claims if is_recent else 0,
            left=block.rest,
            ends=block.ends,
        )

    def attach(self, governor: Governed) -> None:
        """Say whose page this is."""
        self._governor = governor

    def open(self, now: float) -> Block | None:  # noqa: ARG002  (see `LedgerPage`)
        """Return the block; None while Redis is away."""
        ledger = self._ledger
        if not ledger.is_away:
            return self.block
        if not self._has_parted:
            self._part()
        if asyncio.get_running_loop().time() >= ledger.retry_at:
            self._start()
        return None

    def put_back(self, now: float, *, keep: bool) -> None:  # noqa: ARG002  (see `LedgerPage`)
        """Tell the pool what it has to know, and ask for the next block."""
        block = self.block
        if block.reports:
            self._start()
        elif block.unspent <= block.low and self._look is None:
            if block.can_ask(self._demand()):
                self._start()
        elif block.careful and block.answered and self._report is None:
            self._report = self._later(REPORT_SECONDS, self._report_now)

    def is_briefly_locked(self, now: float) -> bool:  # noqa: ARG002  (see `LedgerPage`)
        """Whether calls wait for it: never, while it is away."""
        return False

    def look_soon(self) -> None:
        """Ask for a block, unless it is known that none is to be had yet."""
        if self._ledger.is_away or self._look is not None:
            return
        if self.block.unspent <= self.block.low:
            # The task sees all calls that queue until it runs.
            self._start()

    def close(self) -> None:
        """Look no more. `aclose` of the ledger gives back what is left."""
        self._closed = True
        for timer in (self._look, self._report, self._end_of_block):
            if timer is not None:
                timer.cancel()

    def abandon(self) -> None:
        """Let an exchange end whose event loop does not run any more."""
        self.close()
        if self._exchanges is not None:
            with suppress(RuntimeError):  # that loop is closed
                self._exchanges.cancel()

    async def aclose(self) -> None:
        """Give back what is left of the block, once."""
        self.close()
        if self._exchanges is not None:
            # The end of a program may have cancelled it: the store is closed even so.
            exchanges = self._exchanges
            try:
                await asyncio.wait((exchanges,))
            finally:
                exchanges.cancel()  # Else it would open another connection.
        if self.block.give_back() and not self._ledger.is_away:
            await self.exchange()

    def _demand(self) -> Demand:
        return _NO_DEMAND if self._governor is None else self._governor.demand()

    def _later(self, seconds: float, do: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, do)

    def _part(self) -> None:
        if not self._has_parted:
            self._has_parted = True
            self._parted_at = self._ledger.clock.monotonic()
        self.block.part()

    def _start(self) -> None:
        """Let the exchanges begin, unless they are under way."""
        if self._exchanges is None and not self._closed:
            if self._ledger.is_away:
                # One asks; the others wait for its result.
                self._ledger.retry_at = float("inf")
            self._exchanges = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Make exchanges as long as there is something to tell or to ask."""
        ledger = self._ledger
        try:
            # An eager task begins before the call that it asks for has queued.
            await asyncio.sleep(0)
            while not self._closed and (ledger.is_away or self._has_something()):
                is_there = await self.exchange()
                self._tell_governor()
                if not is_there:
                    break
        finally:
            self._exchanges = None
            if ledger.retry_at == float("inf"):
                # It was cancelled while others waited for its result.
                ledger.retry_at = float("-inf")

    def _has_something(self) -> bool:
        block = self.block
        if block.reports or (block.careful and block.answered and not self._report):
            return True
        return self._look is None and block.can_ask(self._demand())

    def _tell_governor(self) -> None:
        if self._governor is not None:
            self._governor.ledger_changed()

    async def exchange(self) -> bool:
        """Tell and ask once; return whether Redis answered."""
        block, clock = self.block, self._ledger.clock
        asked = block.ask(self._demand(), clock.monotonic())
        try:
            values = await self._ledger.store.run(TAKE, self._keys, *asked.arguments())
            answer = Answer.read(values, asked)
        except RedisAwayError as error:
            self._fail(str(error))
            return False
        except ValueError:
            self._fail("it holds what this package cannot have written")
            return False
        if answer.damaged:
            logger.warning("the ledger was damaged and starts from scratch")
        self._ledger.came_back()
        self._has_parted = False
        block.note(answer, clock.monotonic())
        if answer.granted:
            self._time_block()
        elif block.can_ask(self._demand()):
            self._look_later(answer.idle)
        return True

    def _fail(self, why: str) -> None:
        self._ledger.went_away(why)
        self._part()

    def _time_block(self) -> None:
        if self._end_of_block is not None:
            self._end_of_block.cancel()
        if not self._closed:
            self._end_of_block = self._later(BLOCK_SECONDS, self._block_is_over)

    def _block_is_over(self) -> None:
        self._end_of_block = None
        is_told_anyway = self._look is not None and not self.block.unspent
        if not (self._ledger.is_away or is_told_anyway) and self.block.give_back():
            self._start()

    def _look_later(self, idle: float) -> None:
        if self._closed or self._look is not None:
            return
        seconds = self.block.next_look(self._demand(), idle)
        # Later rather than earlier: what is waited for should be there.
        seconds += poll_delay(self._ledger.rng.uniform, seconds / 4)
        self._look = self._later(seconds, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        self._tell_governor()

    def _report_now(self) -> None:
        self._report = None
        if not self._ledger.is_away:
            self._start()
