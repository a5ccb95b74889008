"""Admission of one request where it has to wait: for the quota, or for a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spaces_async._wire.calls import Failure, FailureClass
from spaces_async.errors import RequestTimeoutError

if TYPE_CHECKING:
    from spaces_async._core.retry import Attempts
    from spaces_async._core.shared import Options, Shared
    from spaces_async._quota.governor import Governor, Permit

__all__ = ["wait_for_admission"]


async def wait_for_admission(
    action: str,
    governor: Governor,
    permit: Permit | None,
    *,
    shared: Shared,
    options: Options,
    attempts: Attempts,
) -> Permit | Failure:
    """Wait for a permit of the quota and a place among the connections.

    Cancelling leaves neither.

    Args:
        action: Kind of call, such as "restart".
        governor: The quota of its token.
        permit: The permit, if it is there; only the place is waited for then.
        shared: Has the places and the clock.
        options: How long the call may wait.
        attempts: The call's attempts so far. The wait is added to them.

    Returns:
        The permit; or a failure, if no place was free in time.

    Raises:
        RateLimitError: The quota opens later than allowed.
        RequestTimeoutError: The call's total time passed while it waited.
        ClientClosedError: The client was closed while it waited.
    """
    if permit is None:
        permit = await _get_permit(
            action, governor, shared=shared, options=options, attempts=attempts
        )
    before = shared.clock.monotonic()
    limit = attempts.time_limit(options.timeouts.attempt, before)
    has_place = False
    try:
        async with asyncio.timeout(limit.seconds):
            await shared.places.take(background=options.background)
        has_place = True
    except TimeoutError:
        pass
    finally:
        attempts.waited += shared.clock.monotonic() - before
        if not has_place:
            governor.release(permit, sent=False)
    if has_place:
        return permit
    whose = "the call's total time" if limit.phase == "total" else "the attempt's time"
    return Failure(
        FailureClass.NEVER_SENT,
        RequestTimeoutError(
            f"all connections (max_connections) were busy until {whose} had passed",
            phase=limit.phase,
        ),
    )


async def _get_permit(
    action: str,
    governor: Governor,
    *,
    shared: Shared,
    options: Options,
    attempts: Attempts,
) -> Permit:
    clock, background = shared.clock, options.background
    before = clock.monotonic()
    permit = await governor.acquire(
        action,
        background=background,
        longest=options.retry.max_rate_limit_wait,
        deadline=None if background else attempts.deadline,
    )
    waited = clock.monotonic() - before
    if waited > 0:
        attempts.waited += waited
        if background and attempts.deadline is not None:
            attempts.deadline += waited
    return permit
