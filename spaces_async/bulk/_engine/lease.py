"""The lease of a block of Spaces: until when this host may send anything for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async.bulk._store.protocol import Block

__all__ = ["Lease", "LeaseLostError"]

_SHARE_OF_ATTEMPT: Final = 0.5
"""An attempt may take this share of a lease, so that a renewed one outlasts it."""


class LeaseLostError(Exception):
    """The lease of the Space is over, or ends too soon: another host may take it."""


class Lease:
    """The lease of one block. It fences the writes of its Spaces off (`SendFence`).

    It is counted from before its renewal was asked for, by the monotonic clock. So it
    ends here before it ends in the store, however long the answer took and whatever the
    wall clock says, and a process that was stopped finds it over when it goes on.

    Attributes:
        block: The block.
        until: When it ends, by the monotonic clock.
        begins: When its Spaces may be begun.
        lost: Whether it was given up, or has passed to another host.
        open: Its Spaces whose outcome this host has not recorded yet.
        longest: Seconds that an attempt of its Spaces may take.
    """

    __slots__ = (
        "_clock",
        "_seconds",
        "begins",
        "block",
        "longest",
        "lost",
        "open",
        "until",
    )

    def __init__(
        self, block: Block, clock: Clock, *, asked: float, seconds: float, hold: float
    ) -> None:
        """Begin it.

        Args:
            block: The block.
            clock: Measures it.
            asked: When it was asked for, by the monotonic clock.
            seconds: How long it lasts.
            hold: Seconds before which its Spaces may not be begun.
        """
        self.block = block
        self.lost = False
        self.open = set(block.entries)
        self.longest = _SHARE_OF_ATTEMPT * seconds
        self.begins = clock.monotonic() + hold if hold else asked
        self._clock = clock
        self._seconds = seconds
        self.until = asked + seconds

    def renew(self, asked: float) -> None:
        """Let it last from when its renewal was asked for."""
        self.until = max(self.until, asked + self._seconds)

    def require(self, seconds: float) -> None:
        """Give it up, unless it lasts for so long from now.

        Raises:
            LeaseLostError: It does not.
        """
        if self.lost or self._clock.monotonic() + seconds > self.until:
            self.lost = True
            raise LeaseLostError

    def lasts(self, until: float) -> bool:
        """Return whether it goes on until an instant that has not passed yet."""
        return not self.lost and self._clock.monotonic() < until <= self.until
