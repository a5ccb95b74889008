"""Tells the observers of a client what happens; a client without one has none of this.

A call and a run are scopes. The scope that a task is in lies in a context variable, so it
reaches the tasks that a call or a run starts, and each event knows what it is part of.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import define, field

from spaces_async._wire.ratelimit import ROUNDING_SECONDS, Quota
from spaces_async.errors import HubResponseError, SpacesError
from spaces_async.observe.events import (
    AttemptEnded,
    BreakerChanged,
    CallEnded,
    CallStarted,
    Event,
    Observer,
    QuotaWait,
    QuotaWindow,
    Refusal,
    RetryWait,
    RunEnded,
    RunStarted,
    SpaceEnded,
    StageChanged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yarl import URL

    from spaces_async._wire.calls import Action, Call

__all__ = ["CallScope", "Observation", "RunScope", "WindowsTold", "current_scope"]

logger = logging.getLogger(__name__)

_numbers: Final = count(1)


@define(eq=False)
class CallScope:
    """A call that goes on.

    Attributes:
        number: Its number.
        attempts: How many requests it has sent.
        waited: Seconds that it has waited between attempts and for the quota.
    """

    number: int = field(factory=_numbers.__next__, init=False)
    attempts: int = field(default=0, init=False)
    waited: float = field(default=0.0, init=False)


@define(eq=False)
class WindowsTold:
    """Which quota window of a token has been told.

    Attributes:
        until: When it ends.
        used_up: Whether it has been told that nothing is left of it.
    """

    until: float = field(default=float("-inf"), init=False)
    used_up: bool = field(default=False, init=False)

    def is_news(self, quota: Quota, now: float) -> bool:
        """Return whether a response is the first of a window, or uses one up."""
        if now >= self.until:
            # The reset is rounded, so a window ends up to a second later than it says.
            self.until = now + quota.reset + ROUNDING_SECONDS
            self.used_up = quota.remaining <= 0
            return True
        if quota.remaining <= 0 and not self.used_up:
            self.used_up = True
            return True
        return False


class Observation:
    """Tells each observer of a client. Whatever one raises, the call goes on."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        # The last observer that was told of a begin is told first of the end: what they
        # set meanwhile, such as a context, is nested.
        self._at_ends = self._observers[::-1]
        self._failed: set[int] = set()

    def tell(self, event: Event) -> None:
        """Tell all observers of an event."""
        for observer in self._observers:
            try:
                observer(event)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001  (it is logged)
                self._note_failure(observer, event)

    def tell_end(self, event: CallEnded | RunEnded) -> None:
        """Tell all observers of the end of a call or a run."""
        for observer in self._at_ends:
            try:
                observer(event)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001  (it is logged)
                self._note_failure(observer, event)

    def _note_failure(self, observer: Observer, event: Event) -> None:
        if id(observer) not in self._failed:
            self._failed.add(id(observer))
            logger.exception(  # noqa: LOG004  (called by the handlers above)
                "an observer failed on %s; what it observes goes on, and its further"
                " failures are not logged",
                type(event).__name__,
            )

    def call_started(
        self, scope: CallScope, call: Call[Any], parent: int | None
    ) -> None:
        """Tell that a call begins."""
        action = call.action
        self.tell(
            CallStarted(
                call=scope.number,
                parent=parent,
                action=action.name,
                method=action.method,
                repo_id=call.repo_id,
            )
        )

    def call_ended(
        self,
        scope: CallScope,
        call: Call[Any],
        parent: int | None,
        *,
        seconds: float,
        error: BaseException | None,
    ) -> None:
        """Tell that a call is over."""
        action, ours = call.action, error if isinstance(error, SpacesError) else None
        self.tell_end(
            CallEnded(
                call=scope.number,
                parent=parent,
                action=action.name,
                method=action.method,
                repo_id=call.repo_id,
                seconds=seconds,
                attempts=scope.attempts,
                waited=scope.waited,
                error=None if error is None else type(error).__name__,
                message=None if ours is None else str(ours),
                status=_status_of(ours),
                outcome_unknown=ours is not None and ours.outcome_unknown,
            )
        )

    def attempt_ended(
        self,
        scope: CallScope,
        call: Call[Any],
        url: URL,
        *,
        seconds: float,
        waited: float,
        status: int | None,
        error: str | None,
        quota: Quota | None,
    ) -> None:
        """Tell that a request is over."""
        scope.attempts += 1
        action, host, port = call.action, url.host or "", url.port or 0
        self.tell(
            AttemptEnded(
                call=scope.number,
                number=scope.attempts,
                action=action.name,
                method=action.method,
                url=f"{url.scheme}://{url.host_port_subcomponent}{url.raw_path}",
                host=host,
                port=port,
                repo_id=call.repo_id,
                seconds=seconds,
                waited=waited,
                status=status,
                error=error,
                quota_left=None if quota is None else quota.remaining,
            )
        )

    def refused(
        self,
        scope: CallScope,
        action: Action,
        status: int,
        retry_after: float | None,
        quota: Quota | None,
    ) -> None:
        """Tell that the Hub refused a request."""
        self.tell(
            Refusal(
                call=scope.number,
                action=action.name,
                status=status,
                retry_after=retry_after,
                quota_left=None if quota is None else quota.remaining,
            )
        )

    def quota_seen(self, told: WindowsTold | None, quota: Quota, now: float) -> None:
        """Tell of a quota window, if a response says something new."""
        if told is not None and told.is_news(quota, now):
            self.tell(
                QuotaWindow(
                    limit=quota.limit, left=quota.remaining, resets_in=quota.reset
                )
            )

    def quota_wait(
        self, seconds: float, reason: Literal["window", "action"], action: str
    ) -> None:
        """Tell that a call begins to wait for the quota."""
        scope = current_scope.get()
        number = scope.number if isinstance(scope, CallScope) else None
        self.tell(QuotaWait(seconds, reason, action, number))

    def retry_wait(self, scope: CallScope, call: Call[Any], seconds: float) -> None:
        """Tell that a call pauses before another attempt."""
        self.tell(
            RetryWait(
                seconds=seconds,
                action=call.action.name,
                call=scope.number,
                run=None,
                repo_id=call.repo_id,
            )
        )

    def stage_changed(self, repo_id: str, stage: str, before: str | None) -> None:
        """Tell that a wait saw a new stage."""
        self.tell(
            StageChanged(
                repo_id=repo_id,
                stage=str(stage),
                before=None if before is None else str(before),
                parent=number_of_scope(),
            )
        )

    def windows_told(self) -> WindowsTold:
        """Return what notes the quota windows of one token that are told."""
        return WindowsTold()

    def run(self, operation: str) -> RunScope:
        """Return the scope of a new run."""
        return RunScope(self, operation)


class RunScope:
    """A run that goes on.

    Attributes:
        number: Its number.
    """

    def __init__(self, observation: Observation, operation: str) -> None:
        self.number = next(_numbers)
        self._observation = observation
        self._operation = operation
        self._is_open = False

    def begin(self, *, concurrency: int, total: int | None) -> Context:
        """Tell that the run begins; return the context that its tasks run in.

        It is a copy of the caller's. An observer is called in it, so what the observer
        sets in a context variable reaches the tasks of the run, and not the caller.
        """
        parent, context = number_of_scope(), copy_context()
        self._is_open = True
        context.run(current_scope.set, self)
        event = RunStarted(
            run=self.number,
            parent=parent,
            operation=self._operation,
            concurrency=concurrency,
            total=total,
        )
        context.run(self._observation.tell, event)
        return context

    def end(
        self, *, seconds: float, counts: Mapping[str, int], stopped_by: str | None
    ) -> None:
        """Tell that the run is over, if it has begun."""
        if not self._is_open:
            return
        self._is_open = False
        self._observation.tell_end(
            RunEnded(
                run=self.number,
                operation=self._operation,
                seconds=seconds,
                counts=counts,
                stopped_by=stopped_by,
            )
        )

    def space_ended(
        self,
        repo_id: str,
        *,
        status: str,
        attempts: int,
        seconds: float,
        waited: float,
        reason: str | None,
        error: BaseException | None,
    ) -> None:
        """Tell the outcome of a Space."""
        self._observation.tell(
            SpaceEnded(
                run=self.number,
                operation=self._operation,
                repo_id=repo_id,
                status=status,
                attempts=attempts,
                seconds=seconds,
                waited=waited,
                reason=reason,
                error=None if error is None else type(error).__name__,
            )
        )

    def retry_wait(self, repo_id: str, seconds: float) -> None:
        """Tell that a Space pauses before another attempt."""
        self._observation.tell(
            RetryWait(
                seconds=seconds,
                action=self._operation,
                call=None,
                run=self.number,
                repo_id=repo_id,
            )
        )

    def breaker_changed(self, phase: Literal["closed", "open", "half-open"]) -> None:
        """Tell that the circuit breaker has another phase."""
        self._observation.tell(BreakerChanged(run=self.number, phase=phase))


current_scope: ContextVar[CallScope | RunScope | None] = ContextVar(
    "spaces_async_scope", default=None
)


def number_of_scope() -> int | None:
    """Return the number of the call or run that the current task is in."""
    scope = current_scope.get()
    return None if scope is None else scope.number


def _status_of(error: SpacesError | None) -> int | None:
    # One without an attempt is the governor's: the Hub has said nothing.
    if isinstance(error, HubResponseError) and error.attempts > 0:
        return error.status
    return None
