"""What the engine asks of the store of a run. Pure.

A run is one job with a list of Spaces. A host claims blocks of them, and holds each for
as long as its lease lasts. It announces each write before it is sent, and settles each
Space with its outcome. What a claim may do is fenced: once a block has passed to another
host, the first one can neither announce nor settle anything of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from spaces_async.bulk._journal.format import Entry
from spaces_async.bulk.report import OutcomeStatus, StopReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from spaces_async.bulk._store.job import Job

__all__ = [
    "BLOCK_SPACES",
    "Block",
    "Counts",
    "NotOursError",
    "Result",
    "RunStore",
    "Settlement",
    "StoppedError",
    "StoreAwayError",
    "blocks_of",
]

BLOCK_SPACES = 16
"""The most Spaces of a block."""

_SHARES = 32
"""The fewest blocks of a short run, so that each host gets some."""


class StoreAwayError(Exception):
    """The store cannot be reached now; asked again it may answer. The text says why."""


class NotOursError(Exception):
    """The block has passed to another host."""


class StoppedError(Exception):
    """The run has ended early: nothing more may be sent."""


@frozen
class Counts:
    """How far a run is, over all hosts.

    Attributes:
        total: How many Spaces it has.
        started: Spaces that the waves have let start; 0 without waves.
        finished: Spaces with an outcome.
        troubled: Those of them that failed or are unknown.
        stop: Why it ended early; None if it has not.
        by_status: How many ended how; only where they were asked for.
        hosts: Blocks that each host holds; only where they were asked for.
    """

    total: int = 0
    started: int = 0
    finished: int = 0
    troubled: int = 0
    stop: StopReason | None = None
    by_status: Mapping[OutcomeStatus, int] = field(
        factory=dict[OutcomeStatus, int], eq=False
    )
    hosts: Mapping[str, int] = field(factory=dict[str, int], eq=False)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do: all is finished, or it ended early."""
        return self.stop is not None or self.finished >= self.total


@frozen
class Block:
    """Some Spaces that a host has claimed.

    Attributes:
        key: Which block it is.
        fence: Which claim of it: each claim has a higher number than those before.
        entries: What is known of each of its Spaces that has no outcome.
        started: Those of them that the waves have let start.
    """

    key: str
    fence: int
    entries: Mapping[str, Entry]
    started: Collection[str] = ()


@frozen
class Settlement:
    """The outcome of one Space, for the store.

    Attributes:
        block: Its block.
        repo_id: The Space.
        status: How it ended.
        attempts: Requests that were sent for it.
        told: `error_type`, `error` and `reason`, as far as there are any.
    """

    block: Block
    repo_id: str
    status: OutcomeStatus
    attempts: int
    told: Mapping[str, str]


@frozen
class Result:
    """What the store says of one Space of a run.

    Attributes:
        repo_id: The Space.
        entry: What was announced, and how it ended.
        told: As in `Settlement`.
    """

    repo_id: str
    entry: Entry
    told: Mapping[str, str]


class RunStore(Protocol):
    """Where one run is kept.

    Each method may raise `StoreAwayError`. Repeating the call is safe then: its effect
    happens once. `StoreError` is for good: the run is gone, or damaged.

    Attributes:
        shown: Where it is, without a password.
        counts: What the last answer said.
        hold_seconds: Time after a claim before which nothing of its block may be sent.
    """

    shown: str
    counts: Counts
    hold_seconds: float

    async def find(self) -> Job | None:
        """Return the job of the run; None if there is none, or it is not whole yet."""
        ...

    async def begin(self, job: Job, repo_ids: Sequence[str]) -> bool:
        """Begin the run with these Spaces.

        Returns:
            False if there is one already, or another host is beginning it.
        """
        ...

    async def claim(
        self, known: Collection[str], *, only_lost: bool = False
    ) -> Block | None:
        """Take a block that no other host holds.

        Args:
            known: Keys of the blocks that this host works on.
            only_lost: Take only a block whose host has fallen silent.

        Returns:
            None if there is none now; `counts` say whether there will be.
        """
        ...

    async def renew(self, blocks: Sequence[Block]) -> Collection[Block]:
        """Hold blocks for one more lease; return those that have passed to another."""
        ...

    async def start(self, block: Block, repo_id: str) -> float:
        """Start a Space, if the waves let it.

        Returns:
            Seconds after which to ask again; 0 if it is started.

        Raises:
            NotOursError: The block has passed to another host.
            StoppedError: The run has ended early.
        """
        ...

    async def intend(
        self, block: Block, repo_id: str, before: Mapping[str, Any] | None
    ) -> None:
        """Announce a write, which may be sent then, and hold its block for one more lease.

        Args:
            block: The block of the Space.
            repo_id: The Space.
            before: The state before, as JSON; None if it is not recorded.

        Raises:
            NotOursError: The block has passed to another host.
            StoppedError: The run has ended early.
        """
        ...

    async def settle(self, ends: Sequence[Settlement]) -> Collection[Settlement]:
        """Record outcomes, each once; return those whose block has passed to another."""
        ...

    async def release(self) -> None:
        """Leave the run: other hosts may have at once what this one holds."""
        ...

    async def read_counts(self) -> Counts:
        """Return how far the run is, in full."""
        ...

    async def cancel(self, reason: StopReason, *, unless_others: float = 0.0) -> None:
        """End the run early, on all hosts. The first reason counts.

        Args:
            reason: Why.
            unless_others: Not if another host has renewed its leases in so many seconds.
        """
        ...

    def results(self) -> AsyncIterator[Result]:
        """Yield what is known of each Space, in the order of the targets."""
        ...

    async def aclose(self) -> None:
        """Let go of the store. What this host holds is free when its lease ends."""
        ...


def blocks_of(repo_ids: Sequence[str]) -> list[Sequence[str]]:
    """Return the blocks of a run, in the order of its Spaces.

    Worked example: 1000 Spaces make 63 blocks of 16; 100 make 34 blocks of 3.
    """
    size = max(1, min(BLOCK_SPACES, len(repo_ids) // _SHARES))
    return [repo_ids[at : at + size] for at in range(0, len(repo_ids), size)]
