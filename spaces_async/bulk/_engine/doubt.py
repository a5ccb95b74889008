"""What the state of a Space says of a call whose answer nobody saw. Pure.

A call is in doubt when its answer was lost, or when the process that sent it has
ended. Two things differ then: after a lost answer in an outage the Hub has most likely
not acted, after the end of a process it most likely has.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import field, frozen

from spaces_async._wire.calls import Done, OnLost, Verdict
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async.client import SpacesClient

T = TypeVar("T")

SETTLE: Final = 2.0
"""Seconds after which a Space that was told to restart has left RUNNING."""

_STARTS: Final = 10.0
"""Seconds that a restart takes at least until RUNNING is seen again."""
_OUTAGE: Final = 300.0
"""Seconds after which the stage says nothing of a call in an outage any more."""


@frozen
class InDoubt:
    """When a call was sent of which nobody knows what became.

    Attributes:
        at: By the wall clock.
        since: By the monotonic clock; None if that was in another process.
    """

    at: datetime
    since: float | None = None

    @property
    def crashed(self) -> bool:
        """Whether the process that sent it has ended."""
        return self.since is None

    def age(self, clock: Clock) -> float:
        """Return how many seconds ago; if the wall clock makes no sense, infinity."""
        if self.since is not None:
            return clock.monotonic() - self.since
        age = (clock.utcnow() - self.at).total_seconds()
        return age if age >= 0 else math.inf


Judge = Callable[[SpaceRuntime, float, bool], "Done[T] | Verdict"]
"""Given a runtime, the age of the call, and whether its process has ended."""

Look = Callable[["SpacesClient", str, InDoubt], Awaitable["Done[T] | Verdict"]]


@frozen(kw_only=True)
class Recovery(Generic[T]):
    """What can be done about a call in doubt.

    Attributes:
        on_lost: Whether it may be repeated.
        judge: Decides by the Space's runtime. One listing can tell of many Spaces.
        look: Decides by what else there is to read of the one Space.
        settle: Seconds after sending before RUNNING means anything.
    """

    on_lost: OnLost = OnLost.REPEAT
    judge: Judge[T] | None = None
    look: Look[T] | None = None
    settle: float = field(default=0.0)


def shows(wanted: Callable[[SpaceRuntime], bool]) -> Judge[SpaceRuntime]:
    """Judge by an end state: it is there, or nothing has happened."""

    def judge(
        runtime: SpaceRuntime,
        _age: float,
        _crashed: bool,  # noqa: FBT001  (a Judge)
    ) -> Done[SpaceRuntime] | Verdict:
        return Done(runtime) if wanted(runtime) else Verdict.NOT_DONE

    return judge


def judge_restart(
    runtime: SpaceRuntime,
    age: float,
    crashed: bool,  # noqa: FBT001  (a Judge)
) -> Done[SpaceRuntime] | Verdict:
    """Judge a restart by the stage: building or starting is its effect.

    A PAUSED Space was not restarted, since nothing else gets it out of there. Any other
    stage of rest says so only as long as a restart cannot have come to its end.
    """
    stage = runtime.stage
    if stage.is_transitional:
        return Done(runtime)
    if stage is SpaceStage.PAUSED:
        return Verdict.NOT_DONE
    if age > (_STARTS if crashed else _OUTAGE):
        return Verdict.UNKNOWN
    if stage is SpaceStage.RUNNING or stage.is_idle or stage.is_failed:
        return Verdict.NOT_DONE
    return Verdict.UNKNOWN


def judge_factory_reboot(
    runtime: SpaceRuntime,
    _age: float,
    _crashed: bool,  # noqa: FBT001  (a Judge)
) -> Done[SpaceRuntime] | Verdict:
    """Judge a factory reboot: it may be done already, and a second costs too much."""
    return Done(runtime) if runtime.stage.is_transitional else Verdict.UNKNOWN
