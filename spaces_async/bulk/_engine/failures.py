"""How often one Space met trouble, and whether that was its own or the Hub's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from spaces_async._wire.calls import OnLost
from spaces_async.bulk._engine.breaker import Admission, asked_wait, is_trouble

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async.bulk._engine.gate import Gate
    from spaces_async.errors import SpacesError
    from spaces_async.settings import RetryPolicy

Met = Literal["lost", "refused", "unread"]
"""A call lost its answer, was not taken, or its effect could not be looked at."""

_VERIFIED_REPEATS: Final = 1


class FailureCounter:
    """The trouble of one Space, counted where the Hub was well.

    Attributes:
        met: What the last step met that is not counted yet; None: nothing.
        asked: Seconds that the Hub asked to wait with the last trouble.
        is_last: Whether there is no other Space left to show who is to blame.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        clock: Clock,
        policy: RetryPolicy,
        total: float | None,
        on_lost: OnLost,
    ) -> None:
        """Begin to count.

        Args:
            gate: Knows whether the Hub is out.
            clock: What measures time.
            policy: How often to try.
            total: Seconds that the Space may be refused for; None is no limit.
            on_lost: Whether its call may be repeated.
        """
        self.met: Met | None = None
        self.asked = 0.0
        self.is_last = False
        self._gate = gate
        self._clock = clock
        self._policy = policy
        self._total = total
        self._on_lost = on_lost
        self._lost = self._refused = self._unread = 0
        self._refused_since: float | None = None
        self._is_the_hubs = False
        self._outages = 0

    def note(self, turn: Admission, met: Met, repo_id: str, error: SpacesError) -> None:
        """Take note of trouble; it is counted when leave to send is given again."""
        gate = self._gate
        if is_trouble(error):
            gate.bad(turn, repo_id, error, is_last=self.is_last)
            self.asked = asked_wait(error)
        self.met = met
        self._is_the_hubs = gate.is_open and (not turn.trial or gate.is_widespread)
        self._outages = gate.outages

    def count(self, since: float) -> None:
        """Decide whose fault the last trouble was, and count what was not the Hub's.

        Args:
            since: When the Space began to wait for leave to send.
        """
        met, self.met = self.met, None
        if self._is_the_hubs or self._outages != self._gate.outages:
            self._refused_since = None
        elif met == "lost":
            self._lost += 1
        elif met == "unread":
            self._unread += 1
        elif met == "refused":
            self._refused += 1
            self._refused_since = self._refused_since or since

    def forgive(self) -> None:
        """Drop what was counted: it was the Hub's fault."""
        self._lost = self._refused = self._unread = 0
        self._refused_since = None

    @property
    def failures(self) -> int:
        """How many lengthen the pause."""
        return self._lost + self._refused

    @property
    def may_look(self) -> bool:
        """Whether to try once more to look at what became of a call."""
        return self._unread < self._policy.max_attempts

    @property
    def may_repeat(self) -> bool:
        """Whether to send once more."""
        if not self._policy.enabled:
            return False
        since, now = self._refused_since, self._clock.monotonic()
        if self._total is not None and since is not None and now - since >= self._total:
            return False
        if self._on_lost is OnLost.REPEAT:
            return self._lost < self._policy.max_attempts
        return self._lost <= _VERIFIED_REPEATS
