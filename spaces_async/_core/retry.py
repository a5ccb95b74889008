"""Which failure of which call may be tried again, and when.

The decision is a table over the class of the failure and the kind of call; the
loop around it is tenacity's. It is entered only after a first attempt has failed in a
way that may be repeated: in the usual case, a call that succeeds, tenacity costs
nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define
from tenacity import AsyncRetrying, RetryCallState

from spaces_async._wire.calls import Action, Failure, FailureClass, OnLost

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from spaces_async._clock import Clock
    from spaces_async.settings import RetryPolicy

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A and B say that nothing happened: any call may be repeated, bounded by time only.
FREE: Final = frozenset({FailureClass.NEVER_SENT, FailureClass.REFUSED})

_VERIFIED_REPEATS: Final = 1


def backoff_bound(policy: RetryPolicy, failures: int) -> float:
    """Return the upper bound in seconds of the back-off after so many failures."""
    exponent = min(max(failures - 1, 0), 60)
    return min(policy.wait_max, policy.wait_initial * 2.0**exponent)


@define
class RetryBudget:
    """What all calls of a client together may spend on repeating lost ones.

    An outage must not be multiplied by repeats: besides a few to start with, one
    repeat is earned by every fifth call.
    """

    earned: float = 10.0
    most: float = 100.0

    def earn(self) -> None:
        """Count a call."""
        self.earned = min(self.most, self.earned + 0.2)

    def spend(self) -> bool:
        """Take one repeat out; False if there is none."""
        if self.earned < 1.0:
            return False
        self.earned -= 1.0
        return True


@define
class Tally:
    """What became of one call so far.

    Attributes:
        sends: How many attempts were made, to connect included.
        waited: Seconds spent waiting between attempts and for the quota.
        lost: How many attempts left open whether the Hub acted.
        doubt: Whether one of them still does.
        free_failures: Failures of class A and B in a row.
    """

    sends: int = 0
    waited: float = 0.0
    lost: int = 0
    doubt: bool = False
    free_failures: int = 0

    def note(self, failure: Failure) -> None:
        """Count a failed attempt."""
        if failure.kind in FREE:
            self.free_failures += 1
        else:
            self.free_failures = 0
        if failure.kind is FailureClass.AMBIGUOUS:
            self.lost += 1
            self.doubt = True


def may_repeat(
    failure: Failure,
    action: Action,
    tally: Tally,
    policy: RetryPolicy,
    *,
    nothing_happened: bool,
) -> bool:
    """Decide whether a call may be sent once more.

    Args:
        failure: How the last attempt failed.
        action: What kind of call it is.
        tally: What became of it so far.
        policy: The caller's policy.
        nothing_happened: Whether a look at the state showed that the Hub has not
            acted on the lost attempt.
    """
    if not policy.enabled:
        return False
    if failure.kind in FREE:
        return True
    if failure.kind is not FailureClass.AMBIGUOUS:
        return False
    if action.on_lost is OnLost.REPEAT:
        return tally.lost < policy.max_attempts
    if action.on_lost is OnLost.VERIFY_THEN_REPEAT:
        return nothing_happened and tally.lost <= _VERIFIED_REPEATS
    return False


async def repeat(
    attempt: Callable[[], Awaitable[T | Failure]],
    first: Failure,
    *,
    tally: Tally,
    policy: RetryPolicy,
    clock: Clock,
    deadline: Callable[[], float | None],
    repeatable: Callable[[Failure], bool],
    rng: random.Random,
    what: str,
) -> T | Failure:
    """Go on with a call whose first attempt failed.

    Args:
        attempt: Makes one more attempt.
        first: How the first one failed.
        tally: What became of the call so far.
        policy: The caller's policy.
        clock: Measures and waits.
        deadline: Says the instant after which no attempt may start; None is no limit.
        repeatable: Decides whether a failed attempt may be repeated.
        rng: Spreads the back-off.
        what: The call, for the log.

    Returns:
        The result, or the failure to end with.
    """
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
        return again

    def wait(state: RetryCallState) -> float:
        return _wait(_result(state), tally, policy, rng)

    def stop(state: RetryCallState) -> bool:
        limit = deadline()
        longest = policy.max_rate_limit_wait
        if longest is not None and state.upcoming_sleep > max(longest, policy.wait_max):
            return True
        return limit is not None and clock.monotonic() + state.upcoming_sleep >= limit

    async def sleep(seconds: float) -> None:
        tally.waited += seconds
        logger.info("attempt %d follows in %.2f s", tally.sends + 1, seconds)
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
    # An attempt that raises (cancelled, or refused by the governor) has no result;
    # tenacity raises it again.
    if state.outcome is None or state.outcome.failed:
        return None
    return state.outcome.result()


def _wait(
    failure: Failure, tally: Tally, policy: RetryPolicy, rng: random.Random
) -> float:
    if failure.kind is FailureClass.REFUSED:
        # The governor makes the call wait for the quota; a server that goes on to
        # refuse without a reason to wait is asked more and more slowly.
        again = tally.free_failures - 1
        pause = rng.uniform(0, backoff_bound(policy, again)) if again > 0 else 0.0
        return max(failure.wait or 0.0, pause)
    failures = tally.free_failures or tally.lost
    return rng.uniform(0, backoff_bound(policy, failures))
