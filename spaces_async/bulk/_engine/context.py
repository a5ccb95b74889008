"""What all Spaces of a bulk share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from attrs import frozen

from spaces_async._clock import Clock
from spaces_async.bulk._engine.gate import Gate
from spaces_async.bulk._engine.resolver import Resolver
from spaces_async.bulk._journal.writer import Journal
from spaces_async.bulk.operations import Operation
from spaces_async.errors import JournalError
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)

T = TypeVar("T")

OnUnknown = Literal["verify", "retry", "skip"]


@frozen(kw_only=True)
class BulkContext(Generic[T]):
    """What all Spaces of a bulk share.

    Attributes:
        operation: What to do.
        client: Calls with the caller's own policy of repeats.
        once: Calls that are sent once.
        policy: That policy.
        total: Seconds that a Space may be refused for; None is no limit.
        clock: What measures time.
        gate: Where to wait while the Hub is out.
        resolver: Reads states; None if the operation does not say how.
        journal: What is going to be sent is recorded there first; None if nowhere.
        on_unknown: What to do about a call that another process has left.
        try_another: Does the next Space before its turn; False if there is none.
        stopping: Whether nothing new may be started.
        on_broken: Told when the journal cannot be written.
    """

    operation: Operation[T]
    client: SpacesClient
    once: SpacesClient
    policy: RetryPolicy
    total: float | None
    clock: Clock
    gate: Gate
    resolver: Resolver[T] | None
    journal: Journal | None
    on_unknown: OnUnknown
    try_another: Callable[[], Awaitable[bool]]
    stopping: Callable[[], bool]
    on_broken: Callable[[JournalError], None]
