"""Where the workers of a bulk wait while the Hub is down."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Literal

from spaces_async._core.shared import collect_stats
from spaces_async._operations.requests import listing_call
from spaces_async.bulk._engine.breaker import (
    Admission,
    CircuitBreaker,
    Phase,
    asked_wait,
    is_trouble,
)
from spaces_async.errors import ConnectionFailedError, SpacesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spaces_async._clock import Clock
    from spaces_async._core.observation import RunScope
    from spaces_async._core.session import HubSession

logger = logging.getLogger(__name__)

# An access to a member of an enumeration takes time on Python 3.11.
_CLOSED: Final = Phase.CLOSED

_PHASES: Final[Mapping[Phase, Literal["closed", "open", "half-open"]]] = {
    Phase.CLOSED: "closed",
    Phase.OPEN: "open",
    Phase.HALF_OPEN: "half-open",
}
"""What observers call them."""


class OutageError(Exception):
    """The Hub was down for longer than allowed."""


class NotStartedError(Exception):
    """The bulk ended before anything was sent for a Space."""


def _how_long(seconds: float | None) -> str:
    """Return for how long a bulk waits for the Hub."""
    if seconds is None:
        return "waits without a limit"
    return f"waits for up to {seconds:.0f} s"


class Gate:
    """A circuit breaker that workers can wait at.

    It probes the Hub by listing one Space of an owner: a read that changes nothing and
    does not depend on a Space that may be the only one in trouble.

    Attributes:
        successes: Requests with a definite response so far.
    """

    def __init__(
        self,
        session: HubSession,
        *,
        max_outage: float | None,
        on_lasting: Callable[[], None],
        told: RunScope | None = None,
    ) -> None:
        """Make a gate.

        Args:
            session: Probes the Hub, with one attempt for each call.
            max_outage: Seconds after which it gives up; None is never.
            on_lasting: Called when it does.
            told: Told of each phase of the breaker; None if there is no observer.
        """
        self.successes = 0
        self._session = session
        self._clock: Clock = session.clock
        self._breaker = CircuitBreaker(max_outage)
        if told is not None:
            self._breaker.on_phase = lambda phase: told.breaker_changed(_PHASES[phase])
        self._on_lasting = on_lasting
        self._changed = asyncio.Event()
        self._waiting: set[str] = set()
        self._resting: set[asyncio.Future[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._lasting = False
        self._owner = ""

    @property
    def outages(self) -> int:
        """How often the Hub went down."""
        return self._breaker.outages

    @property
    def is_open(self) -> bool:
        """Whether nothing may be sent now."""
        return self._breaker.phase is not Phase.CLOSED

    @property
    def is_widespread(self) -> bool:
        """Whether several Spaces are in the present trouble, so that it is the Hub's."""
        return self._breaker.is_widespread(self._clock.monotonic())

    def is_suspect(self, repo_id: str) -> bool:
        """Return whether only another Space can show who is at fault."""
        return self._breaker.is_suspect(repo_id, self._clock.monotonic())

    def is_accused(self, repo_id: str) -> bool:
        """Return whether others succeeded after this Space met trouble."""
        return self._breaker.is_accused(repo_id)

    def admit(self) -> Admission | None:
        """Admit a request if the Hub is well; None: wait with `enter`."""
        breaker = self._breaker
        if breaker.phase is not _CLOSED or self._lasting:
            return None
        return breaker.usual

    def forget(self, repo_id: str) -> None:
        """Note that a Space is finished: whose fault its trouble was counts no more."""
        self._breaker.accused.discard(repo_id)

    async def enter(
        self, repo_id: str, *, decides: bool, may_leave: Callable[[], bool]
    ) -> Admission:
        """Wait until a request may be sent. `leave` must follow.

        Args:
            repo_id: Its Space.
            decides: See `CircuitBreaker.admit`.
            may_leave: Whether to stop waiting; asked now and at each `wake`.

        Raises:
            OutageError: The outage lasts too long.
            NotStartedError: `may_leave` said so.
        """
        self._waiting.add(repo_id)
        try:
            while True:
                if may_leave():
                    raise NotStartedError
                if self._lasting:
                    raise OutageError
                admission = None
                if not self._gives_way(repo_id):
                    admission = self._breaker.admit(decides=decides)
                if admission is not None:
                    if not self.is_open:
                        self._changed.set()
                    return admission
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._waiting.discard(repo_id)
            if self._breaker.phase is Phase.HALF_OPEN and not self._breaker.trying:
                # Another Space may have given way to this one.
                self._changed.set()

    def _gives_way(self, repo_id: str) -> bool:
        """Return whether a Space that is no suspect waits to be tried."""
        if self._breaker.phase is not Phase.HALF_OPEN or not self.is_suspect(repo_id):
            return False
        return not self._waiting <= self._breaker.suspects

    def succeeded(self, admission: Admission, repo_id: str) -> None:
        """Note that the Hub gave a definite response."""
        breaker = self._breaker
        self.successes += 1
        if breaker.is_calm and admission is breaker.usual:
            return
        before = breaker.phase
        breaker.succeeded(admission, repo_id)
        if breaker.phase is not before:
            logger.warning("the Hub is back; the bulk goes on")
            self._changed.set()

    def failed(
        self,
        admission: Admission,
        repo_id: str,
        error: SpacesError,
        *,
        is_read: bool = False,
    ) -> None:
        """Note that a request met trouble; see `CircuitBreaker.failed`."""
        now = self._clock.monotonic()
        self._breaker.failed(
            admission,
            now,
            repo_id,
            wait=asked_wait(error),
            is_the_hubs=is_read or isinstance(error, ConnectionFailedError),
        )
        if self._breaker.phase is Phase.OPEN and self._probing is None:
            self._owner = repo_id.partition("/")[0]
            logger.warning(
                "the Hub is in trouble (%s); the bulk asks again in %.0f s, and %s",
                error,
                self._breaker.pause(now) or 0.0,
                _how_long(self._breaker.max_outage),
            )
            self._probing = asyncio.create_task(self._probe_until_it_answers())

    def leave(self, admission: Admission) -> None:
        """Note that a request is over."""
        if not admission.trial:
            return
        self._breaker.left(admission)
        if self._breaker.phase is Phase.HALF_OPEN:
            # The next in line decides. After a failure no waiter is woken, so that the
            # Space that failed goes to the end of the line.
            self._changed.set()

    async def rest(self, seconds: float) -> bool:
        """Wait so long; return False if `wake` came before."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resting.add(waiter)
        try:
            await self._clock.wait_for(waiter, seconds)
        finally:
            self._resting.discard(waiter)
        return not waiter.done()

    def wake(self) -> None:
        """Wake everything that waits, to see whether it may go on."""
        self._changed.set()
        for waiter in self._resting:
            if not waiter.done():
                waiter.set_result(None)

    async def aclose(self) -> None:
        """End the probes."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.wait((probing,))

    async def _probe_until_it_answers(self) -> None:
        collect_stats()  # A probe does not count as an attempt.
        try:
            while self._breaker.phase is Phase.OPEN:
                pause = self._breaker.pause(self._clock.monotonic())
                if pause is None:
                    self._lasting = True
                    self._on_lasting()
                    return
                await self._clock.sleep(pause)
                await self._probe()
        finally:
            self._probing = None
            self._changed.set()

    async def _probe(self) -> None:
        listing = self._session.pages(listing_call(self._owner, limit=1))
        answered, wait = True, 0.0
        try:
            async with aclosing(listing):
                await anext(listing, None)
        except SpacesError as error:
            answered, wait = not is_trouble(error), asked_wait(error)
        self._breaker.probed(answered=answered, now=self._clock.monotonic(), wait=wait)
