"""When to stop sending because the Hub is out, and when to start again. Pure.

Closed, calls go out. After several failures in a row that concern the Hub and not one
Space it opens: nothing goes out but a small read now and then. When the Hub answers
that, one call is tried; its success closes the breaker, its failure opens it again.

A Hub may answer reads and fail all writes. What tells that from a Space that is broken
is another Space: those that met trouble since the last success are the suspects, and
when there are several of them, the Hub is to blame.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from attrs import define, field, frozen

from spaces_async.errors import (
    ConnectionFailedError,
    HubResponseError,
    HubServerError,
    TransportError,
)

_IN_A_ROW: Final = 5
_FIRST: Final = 1.0
_MOST: Final = 15.0
_SOON: Final = 0.001
_IN_VAIN: Final = 2
"""Trials that fail before one that has met no trouble yet is tried instead."""
_PATIENCE: Final = 120.0
"""Seconds that a Hub which answers reads may fail the writes of several Spaces. Later
it is taken for their own trouble: the last ones of a bulk may all be broken."""
# 501 and 505 are answers for good; 408 and 425 say that it was not looked at.
_ANSWERS: Final = frozenset({501, 505})
_NOT_LOOKED_AT: Final = frozenset({408, 425})


def is_trouble(error: BaseException) -> bool:
    """Whether an error concerns the Hub, or the way to it, and not the one Space."""
    if isinstance(error, HubServerError):
        return error.status not in _ANSWERS
    if isinstance(error, HubResponseError):
        return error.status in _NOT_LOOKED_AT
    if isinstance(error, ConnectionFailedError):
        return not error.permanent
    return isinstance(error, TransportError)


def asked_wait(error: BaseException) -> float:
    """Return the seconds that the Hub asks to be left alone."""
    found = error.retry_after if isinstance(error, HubResponseError) else None
    return found or 0.0


class Phase(Enum):
    """Where a breaker is."""

    CLOSED = "calls go out"
    OPEN = "nothing goes out"
    TRIAL = "one call is tried"


@frozen
class Admission:
    """Leave to make one call.

    Attributes:
        epoch: The breaker's when it was given; what comes of a call that was given
            leave in an earlier one is old news.
        trial: Whether it is the call by which the breaker decides.
    """

    epoch: int
    trial: bool = False


@define
class CircuitBreaker:
    """The state of a breaker.

    Attributes:
        max_outage: Seconds after which it gives up; None: never.
        phase: Where it is.
        outages: How often it has opened.
        epoch: How often its phase has changed.
        in_a_row: Failures since the last success.
        interval: Seconds until the Hub is asked again.
        opened_at: When the present outage began.
        suspects: Who met trouble since the last success.
        accused: Who was a suspect when one that was none showed that the Hub is well.
        heard_at: When it first answered a read in the present outage.
        not_before: Until when the Hub asked to be left alone.
        in_vain: Trials that failed in the present outage.
        trying: Whether the one call of a trial is under way.
    """

    max_outage: float | None = None
    phase: Phase = Phase.CLOSED
    outages: int = 0
    epoch: int = 0
    in_a_row: int = 0
    interval: float = _FIRST
    opened_at: float = 0.0
    suspects: set[str] = field(factory=set[str])
    accused: set[str] = field(factory=set[str])
    heard_at: float | None = None
    not_before: float = -math.inf
    in_vain: int = 0
    trying: bool = False

    def admit(self, *, decides: bool = True) -> Admission | None:
        """Give leave for a call; None: not now.

        Args:
            decides: Whether the call may be the one of a trial. One that may take
                hours may not: it goes out as soon as the Hub has answered a read.
        """
        if self.phase is Phase.TRIAL and not decides:
            self._enter(Phase.CLOSED)
        if self.phase is Phase.CLOSED:
            return Admission(self.epoch)
        if self.phase is Phase.OPEN or self.trying:
            return None
        self.trying = True
        return Admission(self.epoch, trial=True)

    def succeeded(self, admission: Admission, repo_id: str = "") -> None:
        """Note that the Hub gave a definite answer to a call.

        Args:
            admission: Its admission.
            repo_id: Its Space.
        """
        if admission.epoch != self.epoch:
            return
        if admission.trial and repo_id not in self.suspects:
            self.accused = set(self.suspects)
        self.in_a_row = 0
        self.suspects.clear()
        self.not_before = -math.inf
        if admission.trial:
            self._enter(Phase.CLOSED)

    def failed(
        self,
        admission: Admission,
        now: float,
        repo_id: str = "",
        *,
        wait: float = 0.0,
        is_last: bool = False,
    ) -> None:
        """Note trouble with a call.

        Args:
            admission: Its admission.
            now: The time.
            repo_id: Its Space.
            wait: Seconds that the Hub asked to be left alone.
            is_last: Whether there is no other Space left that could show whether it is
                the Hub's trouble.
        """
        if self.phase is Phase.OPEN or admission.epoch == self.epoch:
            # This is no old news, even if the call went out before it opened.
            self.suspects.add(repo_id)
            self._leave_alone(now + wait)
        if admission.epoch != self.epoch:
            return
        if admission.trial:
            self.in_vain += 1
            self.interval = min(_MOST, self.interval * 2)
            self._enter(Phase.OPEN)
            return
        if repo_id in self.accused and not is_last:
            return
        self.in_a_row += 1
        if self.in_a_row >= _IN_A_ROW:
            self.outages += 1
            self.opened_at = now
            self.heard_at = None
            self.in_vain = 0
            self.accused.clear()
            self.interval = _FIRST
            self._enter(Phase.OPEN)

    def is_widespread(self, now: float) -> bool:
        """Return whether it takes the trouble of several Spaces for the Hub's."""
        patient = self._is_patient(now)
        return patient and self.phase is not Phase.CLOSED and len(self.suspects) > 1

    def is_suspect(self, repo_id: str, now: float) -> bool:
        """Return whether only another Space can show who is to blame."""
        alone = self.phase is Phase.CLOSED or len(self.suspects) == 1
        in_vain = self.in_vain >= _IN_VAIN and self._is_patient(now)
        return (alone or in_vain) and repo_id in self.suspects

    def _is_patient(self, now: float) -> bool:
        return self.heard_at is None or now - self.heard_at < _PATIENCE

    def left(self, admission: Admission) -> None:
        """Note that an admission is over; a trial without a result is given to the next."""
        if admission.trial and admission.epoch == self.epoch:
            self.trying = False

    def pause(self, now: float) -> float | None:
        """Return the seconds until the Hub is asked again; None: give up."""
        wait = max(self.interval, self.not_before - now)
        if self.max_outage is None:
            return wait
        left = self.opened_at + self.max_outage - now
        return None if left < _SOON else min(wait, left)

    def asked(self, *, answered: bool, now: float = 0.0, wait: float = 0.0) -> None:
        """Note whether the Hub has answered the read.

        Args:
            answered: Whether it has.
            now: The time.
            wait: Seconds that it asked to be left alone.
        """
        if self.phase is not Phase.OPEN:
            return
        if answered:
            self.heard_at = now if self.heard_at is None else self.heard_at
            self._enter(Phase.TRIAL)
        else:
            self.interval = min(_MOST, self.interval * 2)
            self._leave_alone(now + wait)

    def _leave_alone(self, until: float) -> None:
        self.not_before = max(self.not_before, until)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.CLOSED:
            self.suspects.clear()
        self.epoch += 1
        self.in_a_row = 0
        self.trying = False
