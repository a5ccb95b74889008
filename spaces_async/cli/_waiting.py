"""Why a command waits, in words that count down. Pure."""

from __future__ import annotations

from attrs import define, field

from spaces_async.cli._output import human_seconds

__all__ = ["QuotaHold"]

_QUOTA = "quota used up; opens in"
_ACTION = "limit of the Hub; next try in"


@define
class QuotaHold:
    """The wait for the quota that ends last, if there is one now.

    Attributes:
        until: When it ends.
    """

    until: float = field(default=float("-inf"), init=False)
    _head: str = field(default="", init=False)

    def begin(self, reason: str, until: float) -> None:
        """Take in a wait; one that ends before another changes nothing.

        Args:
            reason: "window" if the quota is used up, "action" for another limit.
            until: When it ends.
        """
        if until > self.until:
            self.until = until
            self._head = _QUOTA if reason == "window" else _ACTION

    def text(self, now: float, done: int = 0, total: int = 0) -> str:
        """Return why it waits, such as "quota used up; opens in 4m 41s".

        Args:
            now: The time.
            done: How many Spaces are finished.
            total: How many there are; 0 leaves both out.

        Returns:
            The text; "" if nothing waits any more.
        """
        left = self.until - now
        if left <= 0:
            return ""
        # Rounded up: at the end of the time that it names it is over.
        seconds = human_seconds(-(-left // 1))
        counts = f" ({done} of {total} done)" if total else ""
        return f"{self._head} {seconds}{counts}"
