"""Which failed calls are repeated, and when.

The decision is a table: the class of the failure and the kind of call. The loop around
it is tenacity's, and it starts only after a first attempt has failed and may be
repeated. So tenacity costs a call that succeeds nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define

from spaces_async._wire.calls import Action, Failure, FailureClass, OnLost
from spaces_async._wire.messages import TimeLimit
from spaces_async.errors import RateLimitError, RequestTimeoutError, SpacesError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

    from spaces_async._clock import Clock
    from spaces_async.settings import RetryPolicy

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNCOUNTED: Final = frozenset({FailureClass.NEVER_SENT, FailureClass.REFUSED})
"""Failures that use up no attempt: the Hub did not act, so any call may be repeated.
Only time limits them."""

_TOLD_AFTER_FAILURES: Final = 2
"""A Hub that cannot be reached is silent: after so many failures in a row a warning
tells what is tried, and for how long."""

UNREACHED_WARNING: Final = "%s; the call is tried again %s"

UNREACHED_SECONDS: Final = 15.0
"""How long a call tries to reach a Hub that the client has never reached: a name that
is misspelt, or a network that is not there, is reported soon."""

_LOST: Final = frozenset({FailureClass.AMBIGUOUS, FailureClass.NOT_DONE})
_MAX_VERIFIED_REPEATS: Final = 1
_MAX_DOUBLINGS: Final = 60
_BUDGET_AT_START: Final = 10.0
_BUDGET_MAX: Final = 100.0
_BUDGET_PER_CALL: Final = 0.2


def backoff_bound(policy: RetryPolicy, failures: int) -> float:
    """Return the longest back-off in seconds after a number of failures in a row."""
    exponent = min(max(failures - 1, 0), _MAX_DOUBLINGS)
    return min(policy.wait_max, policy.wait_initial * 2.0**exponent)


@define
class RetryBudget:
    """How many lost requests all calls with one token may send again.

    Retries must not multiply an outage. Besides a few to start with, every fifth call
    earns one.
    """

    earned: float = _BUDGET_AT_START
    most: float = _BUDGET_MAX

    def earn(self) -> None:
        """Count a call."""
        self.earned = min(self.most, self.earned + _BUDGET_PER_CALL)

    def spend(self) -> bool:
        """Take one retry out of the budget; return False if there is none."""
        if self.earned < 1.0:
            return False
        self.earned -= 1.0
        return True


@define
class Attempts:
    """The attempts of one call so far.

    Attributes:
        deadline: Instant after which no attempt may go on; None is no limit.
        sends: Number of attempts, including attempts to connect.
        first_sent: When the first one started.
        last_sent: When the last one started.
        waited: Seconds spent waiting between attempts and for the quota.
        lost: Number of attempts after which it was unknown whether the Hub acted.
        in_doubt: Whether that is still unknown for one of them.
        uncounted: Failures in a row that use up no attempt.
        refusal: The last 429 of the Hub; None if there was none.
        unreached: Why the attempts since the Hub was last reached got no connection;
            None if there were none.
        unreached_until: Instant after which the call gives up, if the Hub was never
            reached; None if it was, or if the call may wait for it.
    """

    deadline: float | None = None
    sends: int = 0
    first_sent: float = 0.0
    last_sent: float = 0.0
    waited: float = 0.0
    lost: int = 0
    in_doubt: bool = False
    uncounted: int = 0
    refusal: RateLimitError | None = None
    unreached: SpacesError | None = None
    unreached_until: float | None = None

    def note_send(self, now: float) -> None:
        """Count an attempt that starts now."""
        self.sends += 1
        self.last_sent = now
        if self.sends == 1:
            self.first_sent = now

    def note_failure(self, failure: Failure) -> None:
        """Count a failed attempt."""
        if failure.kind is not FailureClass.NEVER_SENT:
            self.unreached = None
        elif not is_out_of_time(failure.error):
            self.unreached = failure.error
        self.uncounted = self.uncounted + 1 if failure.kind in UNCOUNTED else 0
        if failure.kind in _LOST:
            self.lost += 1
            # A Hub that was too slow to respond may still act, whatever a look shows.
            too_slow = isinstance(failure.error, RequestTimeoutError)
            self.in_doubt = failure.kind is FailureClass.AMBIGUOUS or too_slow
        elif failure.kind is FailureClass.APPLIED:
            # It took effect, but not even its result could be read.
            self.in_doubt = True
        if isinstance(failure.error, RateLimitError):
            self.refusal = failure.error

    def time_left(self, now: float) -> float | None:
        """Return the seconds until the deadline; None is no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - now)

    def time_to_reach(self, now: float) -> float | None:
        """Return how long the call may go on without the Hub; None is no limit."""
        ends = [end for end in (self.deadline, self.unreached_until) if end is not None]
        return max(0.0, min(ends) - now) if ends else None

    def time_limit(self, attempt: float | None, now: float) -> TimeLimit:
        """Return how long an attempt may take that starts now.

        Args:
            attempt: `Timeouts.attempt`.
            now: By the clock of the deadline.
        """
        left = self.time_left(now)
        if attempt is None or (left is not None and left <= attempt):
            return TimeLimit(left, "total")
        return TimeLimit(attempt, "attempt")


def is_out_of_time(error: SpacesError) -> bool:
    """Return whether a call ended only because its total time was up."""
    return isinstance(error, RequestTimeoutError) and error.phase == "total"


def may_repeat(
    failure: Failure, action: Action, attempts: Attempts, policy: RetryPolicy
) -> bool:
    """Decide whether a call may be sent once more.

    Args:
        failure: How the last attempt failed.
        action: What kind of call it is.
        attempts: Its attempts, with the last one.
        policy: The caller's policy.
    """
    if not policy.enabled:
        return False
    if failure.kind in UNCOUNTED:
        return True
    if failure.kind not in _LOST:
        return False
    match action.on_lost:
        case OnLost.REPEAT:
            return attempts.lost < policy.max_attempts
        case OnLost.VERIFY_THEN_REPEAT:
            not_done = failure.kind is FailureClass.NOT_DONE
            return not_done and attempts.lost <= _MAX_VERIFIED_REPEATS
        case OnLost.VERIFY:
            return False


def _warn_unreached(error: SpacesError, left: float | None) -> None:
    limit = "without a limit" if left is None else f"for up to {left:.0f} s"
    logger.warning(UNREACHED_WARNING, error, limit)


async def repeat(
    attempt: Callable[[], Awaitable[T | Failure]],
    first: Failure,
    *,
    attempts: Attempts,
    policy: RetryPolicy,
    clock: Clock,
    repeatable: Callable[[Failure], bool],
    rng: random.Random,
    what: str,
    on_pause: Callable[[float], None],
) -> T | Failure:
    """Continue a call whose first attempt failed.

    Args:
        attempt: Makes one more attempt.
        first: How the first one failed.
        attempts: The attempts so far. No further one starts after their deadline.
        policy: The caller's policy.
        clock: Measures and waits.
        repeatable: Decides whether a failed attempt may be repeated.
        rng: Spreads the back-off.
        what: The call, for the log.
        on_pause: Called with the seconds of each pause, when it begins.

    Returns:
        The result, or the failure to end with.
    """
    from tenacity import AsyncRetrying

    pending: Failure | None = first

    async def step() -> T | Failure:
        nonlocal pending
        if pending is not None:
            failure, pending = pending, None
            return failure
        return await attempt()

    def failed(state: RetryCallState) -> bool:
        result = _result(state)
        again = isinstance(result, Failure) and repeatable(result)
        if again:
            logger.info("%s failed and may be repeated: %s", what, result.error)
            unreached = result.kind is FailureClass.NEVER_SENT
            if unreached and attempts.uncounted == _TOLD_AFTER_FAILURES:
                left = attempts.time_to_reach(clock.monotonic())
                _warn_unreached(result.error, left)
        return again

    def wait(state: RetryCallState) -> float:
        return _wait(_result(state), attempts, policy, rng)

    def stop(state: RetryCallState) -> bool:
        pause, longest = state.upcoming_sleep, policy.max_rate_limit_wait
        if longest is not None and pause > max(longest, policy.wait_max):
            return True
        left = attempts.time_to_reach(clock.monotonic())
        return left is not None and pause >= left

    async def sleep(seconds: float) -> None:
        attempts.waited += seconds
        logger.info("attempt %d follows in %.2f s", attempts.sends + 1, seconds)
        on_pause(seconds)
        await clock.sleep(seconds)

    # One object per call: a shared one loses results (its state is thread-local).
    retrying = AsyncRetrying(
        sleep=sleep,
        retry=failed,
        wait=wait,
        stop=stop,
        retry_error_callback=_result,
    )
    return await retrying(step)


def _result(state: RetryCallState) -> Any:
    # An attempt that raises (it was cancelled, or the governor refused it) has no
    # result. Tenacity raises the exception again.
    if state.outcome is None or state.outcome.failed:
        return None
    return state.outcome.result()


def _wait(
    failure: Failure, attempts: Attempts, policy: RetryPolicy, rng: random.Random
) -> float:
    if failure.kind is FailureClass.REFUSED:
        # The governor makes the call wait for the quota. A server that keeps refusing
        # without a time to wait is asked less and less often.
        again = attempts.uncounted - 1
        pause = rng.uniform(0, backoff_bound(policy, again)) if again > 0 else 0.0
        return max(failure.wait or 0.0, pause)
    failures = attempts.uncounted or attempts.lost
    return rng.uniform(0, backoff_bound(policy, failures))
