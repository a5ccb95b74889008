"""When to stop sending because the Hub is down, and when to start again. Pure.

The circuit breaker is closed while requests go out. After several failures in a row that
concern the Hub and not one Space, it opens: nothing goes out except a small read now and
then. When the Hub answers that read, the breaker is half-open: one write is tried. Its
success closes the breaker, its failure opens it again.

A Hub may answer reads and fail all writes. What distinguishes that from a broken Space is
another Space. The Spaces that met trouble since the last success are the suspects. When
another Space succeeds, the suspects are accused: their trouble is their own, and does not
open the breaker any more. Only trouble that no Space can be at fault for still does: a
read that fails, or a connection that cannot be made.

Worked example: 16 requests are in flight when the Hub goes down. The fifth failure in a
row opens the breaker; the other eleven failures only add suspects. After 1 s a read fails,
after 2 s more the next one, then the pause grows to 15 s. A read succeeds: the breaker is
half-open. All 16 are suspects, so a Space that has met no trouble is tried. Its success
lets all go on; its failure makes it the 17th suspect, and the pause goes on. If the 16
fail again while others succeed, they were broken themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Final

from attrs import define, field, frozen

from spaces_async._clock import TIMER_SLACK_SECONDS
from spaces_async.errors import (
    ConnectionFailedError,
    HubResponseError,
    HubServerError,
    TransportError,
    UnexpectedResponseError,
)

_FAILURES_TO_OPEN: Final = 5
_FIRST_PROBE_SECONDS: Final = 1.0
_MAX_PROBE_SECONDS: Final = 15.0
_WRITE_TROUBLE_SECONDS: Final = 120.0
"""How long a Hub that answers reads may fail the writes of several Spaces. Later the
Spaces are accused: the last ones of a bulk may all be broken."""
_DEFINITE_STATUSES: Final = frozenset({501, 505})
"""Server errors that stay the same when a request is repeated."""
_UNPROCESSED_STATUSES: Final = frozenset({408, 425})
"""Client errors that say that the request was not looked at."""


def is_trouble(error: BaseException) -> bool:
    """Return whether an error concerns the Hub, or the way to it, and not one Space."""
    if isinstance(error, HubServerError):
        return error.status not in _DEFINITE_STATUSES
    if isinstance(error, HubResponseError):
        return error.status in _UNPROCESSED_STATUSES
    if isinstance(error, ConnectionFailedError):
        return not error.permanent
    if isinstance(error, UnexpectedResponseError):
        # Of a write: the answer was perhaps not the Hub's.
        return error.outcome_unknown and not error.incomplete
    return isinstance(error, TransportError)


def asked_wait(error: BaseException) -> float:
    """Return the seconds that the Hub asks to be left alone."""
    found = error.retry_after if isinstance(error, HubResponseError) else None
    return found or 0.0


class Phase(Enum):
    """The phase of a circuit breaker."""

    CLOSED = "requests go out"
    OPEN = "nothing goes out"
    HALF_OPEN = "one request is tried"


@frozen
class Admission:
    """What lets one request through the breaker.

    Attributes:
        epoch: The breaker's epoch when it was given. The result of a request that was
            admitted in an earlier one says nothing about now.
        trial: Whether the request decides between closed and open.
    """

    epoch: int
    trial: bool = False


@define
class CircuitBreaker:
    """The state of a circuit breaker.

    Attributes:
        max_outage: Seconds after which it gives up; None is never.
        phase: Its phase.
        outages: How often it has opened.
        epoch: How often its phase has changed.
        failures_in_a_row: Failures since the last success.
        interval: Seconds until the next probe.
        down_since: When it opened first since the last success.
        suspects: The Spaces that met trouble since the last success.
        accused: The Spaces that were suspects when another one succeeded, since the
            last outage.
        heard_at: When a probe was first answered in the present outage.
        not_before: Until when the Hub asked to be left alone.
        trying: Whether the request of a trial is in flight.
        on_phase: Called after each change of the phase; None calls nothing.
        usual: What admits each request while it is closed.
        is_calm: Whether no trouble is left that a success would change.
    """

    max_outage: float | None = None
    phase: Phase = Phase.CLOSED
    outages: int = 0
    epoch: int = 0
    failures_in_a_row: int = 0
    interval: float = _FIRST_PROBE_SECONDS
    down_since: float | None = None
    suspects: set[str] = field(factory=set[str])
    accused: set[str] = field(factory=set[str])
    heard_at: float | None = None
    not_before: float = -math.inf
    trying: bool = False
    on_phase: Callable[[Phase], None] | None = field(default=None, eq=False, repr=False)
    usual: Admission = field(default=Admission(0), init=False, eq=False, repr=False)
    is_calm: bool = field(default=True, init=False, eq=False, repr=False)

    def admit(self, *, decides: bool = True) -> Admission | None:
        """Admit a request; None: not now.

        Args:
            decides: Whether the request may be the one of a trial. One that may take
                hours may not: it goes out as soon as the Hub has answered a probe.
        """
        if self.phase is Phase.HALF_OPEN and not decides:
            self._enter(Phase.CLOSED)
        if self.phase is Phase.CLOSED:
            return self.usual
        if self.phase is Phase.OPEN or self.trying:
            return None
        self.trying = True
        return Admission(self.epoch, trial=True)

    def succeeded(self, admission: Admission, repo_id: str = "") -> None:
        """Note that the Hub gave a definite response to a request.

        Args:
            admission: Its admission.
            repo_id: Its Space.
        """
        if admission.epoch != self.epoch:
            return
        if self.suspects:
            self.accused |= self.suspects
            self.suspects.clear()
        self.accused.discard(repo_id)
        self.failures_in_a_row = 0
        self.down_since = None
        self.not_before = -math.inf
        self.is_calm = not self.accused
        if admission.trial:
            self._enter(Phase.CLOSED)

    def failed(
        self,
        admission: Admission,
        now: float,
        repo_id: str = "",
        *,
        wait: float = 0.0,
        is_the_hubs: bool = False,
    ) -> None:
        """Note trouble with a request.

        Args:
            admission: Its admission.
            now: The time.
            repo_id: Its Space.
            wait: Seconds that the Hub asked to be left alone.
            is_the_hubs: Whether no Space can be at fault for it.
        """
        self.is_calm = False
        if self.phase is Phase.OPEN or admission.epoch == self.epoch:
            # This is news, even if the request went out before the breaker opened.
            self.suspects.add(repo_id)
            self._leave_alone(now + wait)
        if admission.epoch != self.epoch:
            return
        if admission.trial:
            self.interval = min(_MAX_PROBE_SECONDS, self.interval * 2)
            self._enter(Phase.OPEN)
            return
        if repo_id in self.accused and not is_the_hubs:
            return
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= _FAILURES_TO_OPEN:
            self.outages += 1
            self.down_since = now if self.down_since is None else self.down_since
            self.heard_at = None
            self.accused.clear()
            self.interval = _FIRST_PROBE_SECONDS
            self._enter(Phase.OPEN)

    def is_widespread(self, now: float) -> bool:
        """Return whether it takes the trouble of several Spaces for the Hub's."""
        is_open = self.phase is not Phase.CLOSED
        return is_open and len(self.suspects) > 1 and self._blames_the_hub(now)

    def is_suspect(self, repo_id: str, now: float) -> bool:
        """Return whether only another Space can show who is at fault."""
        alone = self.phase is Phase.CLOSED or len(self.suspects) == 1
        return repo_id in self.suspects and (alone or self._blames_the_hub(now))

    def _blames_the_hub(self, now: float) -> bool:
        return self.heard_at is None or now - self.heard_at < _WRITE_TROUBLE_SECONDS

    def is_accused(self, repo_id: str) -> bool:
        """Return whether others succeeded after this Space met trouble."""
        return repo_id in self.accused

    def left(self, admission: Admission) -> None:
        """Note that a request is over; a trial without a result goes to the next."""
        if admission.trial and admission.epoch == self.epoch:
            self.trying = False

    def pause(self, now: float) -> float | None:
        """Return the seconds until the next probe; None: give up."""
        wait = max(self.interval, self.not_before - now)
        if self.max_outage is None:
            return wait
        since = now if self.down_since is None else self.down_since
        left = since + self.max_outage - now
        return None if left < TIMER_SLACK_SECONDS else min(wait, left)

    def probed(self, *, answered: bool, now: float = 0.0, wait: float = 0.0) -> None:
        """Note whether the Hub has answered a probe.

        Args:
            answered: Whether it has.
            now: The time.
            wait: Seconds that it asked to be left alone.
        """
        if self.phase is not Phase.OPEN:
            return
        if answered:
            self.heard_at = now if self.heard_at is None else self.heard_at
            if self._blames_the_hub(now):
                self._enter(Phase.HALF_OPEN)
            else:
                self.accused |= self.suspects
                self._enter(Phase.CLOSED)
        else:
            self.interval = min(_MAX_PROBE_SECONDS, self.interval * 2)
            self._leave_alone(now + wait)

    def _leave_alone(self, until: float) -> None:
        self.not_before = max(self.not_before, until)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.CLOSED:
            self.suspects.clear()
        self.epoch += 1
        self.usual = Admission(self.epoch)
        self.failures_in_a_row = 0
        self.trying = False
        if self.on_phase is not None:
            self.on_phase(phase)
