"""Waits for the quota, and how they are reported: log, callback, error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal

from attrs import frozen

from spaces_async.errors import ActionLimitError, RateLimitError

logger = logging.getLogger(__name__)

OnWait = Callable[[float, Literal["window", "action"], str], None]
"""Told of a wait: its seconds, what is used up, and the kind of call that waits."""

WAIT_MESSAGE: Final = "%s: waiting %.0f s for more"

LONG_WAIT_SECONDS: Final = 10.0
"""A wait of so many seconds is logged as a warning: the program seems to hang."""

SAME_END_SECONDS: Final = 1.0
"""Two waits whose ends differ by no more than this are reported as one."""


@frozen
class Wait:
    """A call must wait until a known time.

    Attributes:
        until: The time.
        left: Calls left in the window; None if unknown.
        is_for_action: Whether only calls of this kind must wait.
    """

    until: float
    left: int | None
    is_for_action: bool = False

    @property
    def reason(self) -> Literal["window", "action"]:
        """What is used up: the window, or the limit on one kind of call."""
        return "action" if self.is_for_action else "window"

    def ends_later_than(self, until: float) -> bool:
        """Whether it ends noticeably later than a wait that ends then."""
        return self.until > until + SAME_END_SECONDS


class WaitNotifier:
    """Logs each wait once, however many calls wait, and tells of each of them."""

    def __init__(self, on_wait: OnWait | None) -> None:
        """Make a notifier.

        Args:
            on_wait: Told of each wait; None if nothing is. Must not raise.
        """
        self._on_wait = on_wait
        self._logged_until = float("-inf")

    def log(self, action: str, wait: Wait, now: float) -> None:
        """Log the wait, unless another call has logged the same one."""
        if wait.ends_later_than(self._logged_until):
            self._logged_until = wait.until
            seconds = wait.until - now
            is_long = seconds >= LONG_WAIT_SECONDS
            level = logging.WARNING if is_long else logging.INFO
            logger.log(level, WAIT_MESSAGE, _why(action, wait), seconds)

    def notify(self, action: str, wait: Wait, now: float) -> None:
        """Tell of the wait."""
        if self._on_wait is not None:
            self._on_wait(wait.until - now, wait.reason, action)


def _why(action: str, wait: Wait) -> str:
    if wait.is_for_action:
        return f"the limit on {action} calls is used up"
    if wait.left:
        return f"the {wait.left} calls left in the quota are kept for other calls"
    return "the quota is used up"


def wait_too_long_error(
    action: str,
    wait: Wait,
    now: float,
    *,
    longest: float | None,
    deadline: float | None,
) -> RateLimitError | None:
    """Return the error of a call that does not wait so long; None if it waits.

    Args:
        action: Kind of call.
        wait: The wait.
        now: The time.
        longest: Seconds that the call may wait; None means no limit.
        deadline: When the call's time ends; None means never.
    """
    seconds = wait.until - now
    if longest is not None and seconds > longest:
        limit = f"max_rate_limit_wait ({longest:.0f} s)"
    elif deadline is not None and wait.until > deadline:
        limit = f"the {max(0.0, deadline - now):.0f} s that the call has left"
    else:
        return None
    what = "the quota of this token opens again"
    kind: type[RateLimitError] = RateLimitError
    if wait.is_for_action:
        what = f"the Hub limits {action} calls: the next is possible"
        kind = ActionLimitError
    return kind(
        f"{what} in {seconds:.0f} s, longer than {limit}",
        retry_after=seconds,
        remaining=wait.left,
    )
