"""How often the write of one Space met trouble that was its own, and not the Hub's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from spaces_async._wire.calls import OnLost
from spaces_async.bulk._engine.breaker import Admission, asked_wait, is_trouble
from spaces_async.errors import HubResponseError, SpacesError

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async.bulk._engine.gate import Gate
    from spaces_async.settings import RetryPolicy

Trouble = Literal["lost", "refused", "unread"]
"""A response was lost, a write was not taken, or the state could not be read."""

_VERIFIED_REPEATS: Final = 1


class FailureCounter:
    """The trouble of one write, counted where the Hub was well.

    Whose fault a failure was is known only later, when the gate opens again: it is noted
    at once and counted then.

    Attributes:
        asked: Seconds that the Hub asked to wait with the last trouble.
        is_last: Whether there is no other Space left to show who is at fault.
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
            total: Seconds that the write may be refused for; None is no limit.
            on_lost: Whether it may be repeated.
        """
        self.asked = 0.0
        self.is_last = False
        self._gate = gate
        self._clock = clock
        self._policy = policy
        self._total = total
        self._on_lost = on_lost
        self._pending: Trouble | None = None
        self._is_the_hubs = False
        self._outages = 0
        self._lost = self._refused = self._unread = self._attempts_refused = 0
        self._refused_since: float | None = None
        self._successes = 0
        self._was_answered = self._is_accused = False

    def note(
        self, admission: Admission, trouble: Trouble, repo_id: str, error: SpacesError
    ) -> None:
        """Note trouble; it is counted when the next request may be sent."""
        gate = self._gate
        if is_trouble(error):
            gate.failed(admission, repo_id, error, is_read=trouble == "unread")
            self.asked = asked_wait(error)
        self._successes = gate.successes
        self._is_accused = gate.is_accused(repo_id)
        self._was_answered = isinstance(error, HubResponseError)
        self._pending = trouble
        self._is_the_hubs = gate.is_open and (not admission.trial or gate.is_widespread)
        self._outages = gate.outages

    def count(self, since: float) -> None:
        """Decide whose fault the last trouble was, and count what was not the Hub's.

        Args:
            since: When the Space began to wait for the gate.
        """
        trouble, self._pending = self._pending, None
        if self._is_the_hubs or self._outages != self._gate.outages:
            self._refused_since = None
        elif trouble == "lost":
            self._lost += 1
        elif trouble == "unread":
            self._unread += 1
        elif trouble == "refused":
            self._refused += 1
            self._refused_since = self._refused_since or since
            # A 503 with `Retry-After` is the Hub's word, unless others succeed.
            others_succeed = self._gate.successes > self._successes or self._is_accused
            self._attempts_refused += self._was_answered and others_succeed

    @property
    def is_pending(self) -> bool:
        """Whether there is trouble that is not counted yet."""
        return self._pending is not None

    def forgive(self) -> None:
        """Drop what was counted: it was the Hub's fault."""
        self._lost = self._refused = self._unread = self._attempts_refused = 0
        self._refused_since = None

    @property
    def failures(self) -> int:
        """How many failures lengthen the pause."""
        return self._lost + self._refused

    @property
    def may_read(self) -> bool:
        """Whether the state may be read once more."""
        return self._unread < self._policy.max_attempts

    @property
    def may_send(self) -> bool:
        """Whether the write may be sent once more."""
        if not self._policy.enabled:
            return False
        since, now = self._refused_since, self._clock.monotonic()
        if self._total is not None and since is not None and now - since >= self._total:
            return False
        attempts = self._lost + self._attempts_refused
        if attempts >= self._policy.max_attempts:
            return False
        return self._on_lost is OnLost.REPEAT or self._lost <= _VERIFIED_REPEATS
