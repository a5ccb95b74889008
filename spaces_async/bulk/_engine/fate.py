"""What happens to one Space of a bulk: a state machine. Pure.

```
Fresh --send--> result: Finished, done
  |             trouble, the Hub may have acted ---> Lost
  |             trouble, it was not taken ---------> Open
  |             429 -------------------------------> as it was (bounded)
  |             2xx that cannot be read -----------> Acted
  |             any other error -------------------> Finished
Lost  --look--> done: Finished | not done: Open | cannot be told: Open and `unresolved`
  |             if the write may be repeated, else Finished, unknown
Acted --read--> Finished | trouble: Acted
Open  --send--> as Fresh, while attempts are left; else Finished
```

Trouble is what concerns the Hub or the way to it, and not the one Space. A state is
`unresolved` when an earlier copy of the write was sent and its effect is not known:
whatever ends the Space then, it ends as unknown.

Worked example: a pause is sent and the connection breaks (`Lost`). The Space is read and
is RUNNING, so the pause had no effect (`Open`). It is sent again and answered with a 403
(`Finished`, failed). Had the Space not been readable, the pause would have been sent
again as well, since it may be repeated (`Open`, unresolved), and the 403 would have made
it unknown: the first copy may have worked before the permission was taken away.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import define, frozen

from spaces_async._wire.calls import Done, OnLost, Verdict
from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.bulk.report import OutcomeStatus
from spaces_async.errors import (
    BadRequestError,
    RateLimitError,
    RequestTimeoutError,
    SpacesError,
    UnexpectedResponseError,
)
from spaces_async.models import SpaceRuntime

if TYPE_CHECKING:
    from spaces_async._clock import Clock

T = TypeVar("T")

# An access to a member of an enumeration takes time on Python 3.11.
_DONE: Final = OutcomeStatus.DONE

_MAX_REFUSALS: Final = 20
"""With the pauses between them, these take about as long as a call may take."""


@frozen
class Sent:
    """When a write was sent.

    Attributes:
        at: By the wall clock.
        since: By the monotonic clock; None if another process sent it, which has ended.
        soon: Whether that was moments after another write of the same key.
        before: The runtime before, where a listing showed it.
    """

    at: datetime
    since: float | None = None
    soon: bool = False
    before: SpaceRuntime | None = None

    @property
    def crashed(self) -> bool:
        """Whether the process that sent it has ended."""
        return self.since is None

    def age(self, clock: Clock) -> float:
        """Return how many seconds ago; infinity if the wall clock makes no sense."""
        if self.since is not None:
            return clock.monotonic() - self.since
        age = (clock.utcnow() - self.at).total_seconds()
        return age if age >= 0 else math.inf


@frozen
class Fresh:
    """Nothing was sent, or an earlier process sent it and it is to be sent again."""

    unresolved: bool = False


@frozen
class Open:
    """Sent or not, it had no effect as far as is known, and may be sent again."""

    error: SpacesError
    unresolved: bool = False


@frozen
class Lost:
    """The write was sent, and its response was lost."""

    error: SpacesError
    sent: Sent
    unresolved: bool = False


@frozen
class Acted:
    """The Hub acted on the write, and its response cannot be read."""

    error: SpacesError
    sent: Sent


@define
class Finished(Generic[T]):
    """It is over. It could be frozen, but each Space makes one, and that takes time.

    Attributes:
        status: How it ended.
        value: What the write returned; None unless it is done or unchanged.
        error: Why it is not done; None if it is, or if nothing was sent.
        reason: Why it was skipped, is unchanged or was not attempted.
    """

    status: OutcomeStatus
    value: T | None = None
    error: Exception | None = None
    reason: str | None = None


State = Fresh | Open | Lost | Acted | Finished[Any]


def is_unresolved(state: State) -> bool:
    """Return whether a write was sent whose effect is not known."""
    match state:
        case Lost() | Acted():
            return True
        case Fresh(unresolved) | Open(unresolved=unresolved):
            return unresolved
        case Finished():
            return False


def done(value: T) -> Finished[T]:
    """Return the end of a Space that is done."""
    return Finished(_DONE, value=value)


def failed(error: Exception, *, unknown: bool = False) -> Finished[Any]:
    """Return the end of a Space that failed, or may have failed."""
    unknown = unknown or (isinstance(error, SpacesError) and error.outcome_unknown)
    status = OutcomeStatus.UNKNOWN if unknown else OutcomeStatus.FAILED
    return Finished(status, error=error)


def after_error(
    state: State,
    error: SpacesError,
    sent: Sent,
    *,
    may_retry: bool,
    may_read: bool,
    in_container: bool,
) -> State:
    """Return the state after a write that raised; for a 429 see `after_refusal`.

    Args:
        state: The state before.
        error: What it raised.
        sent: When it was sent.
        may_retry: Whether the caller's policy allows retries.
        may_read: Whether it allows reads of the state.
        in_container: Whether a static Space cannot have what the write asks for.
    """
    unresolved = is_unresolved(state)
    if is_trouble(error):
        if not may_retry:
            return failed(error, unknown=unresolved)
        if error.outcome_unknown:
            return Lost(error, sent, unresolved)
        return Open(error, unresolved)
    if isinstance(error, UnexpectedResponseError):
        return Acted(error, sent) if may_read else failed(error, unknown=True)
    if in_container and not unresolved and _says_static(error):
        return Finished(OutcomeStatus.SKIPPED, error=error, reason="static")
    return failed(error, unknown=unresolved)


def _says_static(error: SpacesError) -> bool:
    return isinstance(error, BadRequestError) and "static" in error.message.lower()


def after_refusal(
    state: State, error: RateLimitError, refusals: list[RateLimitError]
) -> State:
    """Return the state after a 429, or after the governor refused a longer wait.

    Args:
        state: The state before.
        error: The refusal.
        refusals: The Hub's own refusals before it; this one is added.
    """
    unknown = is_unresolved(state)
    if error.attempts == 0:
        if not refusals:
            return failed(error, unknown=unknown)
        # The Hub's own refusal says more than the governor's.
        refusals[-1].retry_after = error.retry_after
        return failed(refusals[-1], unknown=unknown)
    refusals.append(error)
    if len(refusals) > _MAX_REFUSALS:
        return failed(error, unknown=unknown)
    return state


def after_look(state: Lost, found: Done[Any] | Verdict, on_lost: OnLost) -> State:
    """Return the state after a look at what the lost write did."""
    if isinstance(found, Done):
        return done(found.value)
    if found is Verdict.NOT_DONE:
        # That is about this copy: an earlier one may have taken effect before it.
        if state.sent.crashed:
            return Fresh(state.unresolved)
        # A Hub that was too slow to respond may still act.
        unresolved = state.unresolved or isinstance(state.error, RequestTimeoutError)
        state.error.outcome_unknown = unresolved
        return Open(state.error, unresolved)
    if on_lost is OnLost.REPEAT:
        return Open(state.error, unresolved=True)
    return failed(state.error, unknown=True)


def after_read(state: Acted, found: Done[Any] | Verdict) -> Finished[Any]:
    """Return the end after the result of a write was read from the state."""
    if isinstance(found, Done):
        return done(found.value)
    return failed(state.error, unknown=True)


def given_up(state: State) -> Finished[Any]:
    """Return the end of a Space for which nothing more may be sent."""
    match state:
        case Finished():
            return state
        case Open(error, unresolved):
            return failed(error, unknown=unresolved)
        case Lost(error) | Acted(error):
            return failed(error, unknown=True)
        case Fresh(unresolved):
            return _not_attempted(unknown=unresolved)


def cancelled(state: State, *, wrote: bool) -> Finished[Any]:
    """Return the end of a Space whose work was cancelled.

    Args:
        state: Where it was.
        wrote: Whether a write was in flight.
    """
    if isinstance(state, Finished):
        return state
    return _not_attempted(unknown=wrote or is_unresolved(state))


def _not_attempted(*, unknown: bool) -> Finished[Any]:
    status = OutcomeStatus.UNKNOWN if unknown else OutcomeStatus.NOT_ATTEMPTED
    return Finished(status)
