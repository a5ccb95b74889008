"""Admission of one request: a permit of the quota and a place among the connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spaces_async._wire.calls import Failure, FailureClass
from spaces_async.errors import RequestTimeoutError

if TYPE_CHECKING:
    from types import TracebackType

    from spaces_async._core.retry import Attempts
    from spaces_async._core.shared import Options, Shared
    from spaces_async._quota.governor import Governor, Permit
    from spaces_async._wire.messages import Progress

__all__ = ["admit"]


class admit:  # noqa: N801  (it reads as a verb: `async with admit(...)`)
    """Holds a permit of the quota and a place among the connections.

    `async with` waits for both and gives back both, however the block ends. It then
    tells the governor whether anything of the request was sent, because the Hub counts
    only requests that it received.
    """

    __slots__ = (
        "_action",
        "_attempts",
        "_governor",
        "_has_place",
        "_options",
        "_permit",
        "_progress",
        "_shared",
    )

    _permit: Permit

    def __init__(
        self,
        action: str,
        governor: Governor,
        *,
        shared: Shared,
        options: Options,
        attempts: Attempts,
        progress: Progress,
    ) -> None:
        """Prepare to wait.

        Args:
            action: Kind of call, such as "restart".
            governor: The quota of its token.
            shared: Has the places and the clock.
            options: How long the call may wait.
            attempts: The call's attempts so far. The wait is added to them.
            progress: How far the request has come when the block ends.
        """
        self._action = action
        self._governor = governor
        self._shared = shared
        self._options = options
        self._attempts = attempts
        self._progress = progress
        self._has_place = False

    async def __aenter__(self) -> Permit | Failure:
        """Wait for both.

        Returns:
            The permit; or a failure, if no place was free in time.

        Raises:
            RateLimitError: The quota opens later than allowed.
            RequestTimeoutError: The call's total time passed while it waited.
            ClientClosedError: The client was closed while it waited.
        """
        self._permit = await self._get_permit()
        try:
            self._has_place = await self._take_place()
        except BaseException:
            self._governor.release(self._permit, sent=False)
            raise
        if self._has_place:
            return self._permit
        return Failure(
            FailureClass.NEVER_SENT,
            RequestTimeoutError(
                "all connections (max_connections) were busy until the call's total"
                " time had passed",
                phase="total",
            ),
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back both."""
        if self._has_place:
            self._shared.places.give_back(background=self._options.background)
        self._governor.release(self._permit, sent=self._progress.sent)

    async def _get_permit(self) -> Permit:
        clock, attempts = self._shared.clock, self._attempts
        background = self._options.background
        before = clock.monotonic()
        permit = await self._governor.acquire(
            self._action,
            background=background,
            longest=self._options.retry.max_rate_limit_wait,
            deadline=None if background else attempts.deadline,
        )
        waited = clock.monotonic() - before
        if waited > 0:
            attempts.waited += waited
            if background and attempts.deadline is not None:
                attempts.deadline += waited
        return permit

    async def _take_place(self) -> bool:
        places, background = self._shared.places, self._options.background
        if not places.is_busy(background=background):
            await places.take(background=background)
            return True
        now = self._shared.clock.monotonic()
        limit = self._attempts.time_limit(self._options.timeouts.attempt, now)
        try:
            async with asyncio.timeout(limit.seconds):
                await places.take(background=background)
        except TimeoutError:
            return False
        return True
