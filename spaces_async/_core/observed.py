"""The session of a client that has an observer.

What it tells is told around the steps of the usual session and of the usual execution,
by subclasses. A client without an observer never loads this module, and its calls do not
even ask whether there is one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import copy_context
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from spaces_async._core.execution import CallExecution, Received
from spaces_async._core.late_look import LateLook
from spaces_async._core.observation import (
    CallScope,
    Observation,
    current_scope,
    number_of_scope,
)
from spaces_async._core.session import HubSession
from spaces_async._core.shared import collect_stats
from spaces_async._wire import responses
from spaces_async._wire.calls import Failure
from spaces_async._wire.messages import Response

if TYPE_CHECKING:
    from yarl import URL

    from spaces_async._wire.calls import Call, Done

__all__ = ["ObservedSession"]

T = TypeVar("T")

_TOO_MANY_REQUESTS: Final = HTTPStatus.TOO_MANY_REQUESTS.value
_SERVICE_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE.value


class ObservedExecution(CallExecution[T]):
    """One call, whose requests and waits are told."""

    __slots__ = ("_observation", "_scope")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scope, observation = current_scope.get(), self._shared.observation
        assert isinstance(scope, CallScope)  # noqa: S101  (see `ObservedSession._run`)
        assert observation is not None  # noqa: S101  (it has made this session)
        self._scope = scope
        self._observation: Observation = observation

    async def run(self) -> Received[T]:
        """Make the call; see `CallExecution.run`."""
        try:
            return await super().run()
        finally:
            self._scope.waited += self._attempts.waited

    async def _send(self, url: URL) -> Response | Received[T] | Failure:
        """Send one request, and tell of it."""
        clock, sends = self._shared.clock, self._attempts.sends
        before = clock.monotonic()
        received: Response | Received[T] | Failure | None = None
        raised: str | None = None
        try:
            ended = received = await super()._send(url)
        except BaseException as error:
            raised = type(error).__name__
            raise
        finally:
            if self._attempts.sends > sends:
                self._tell_attempt(url, before, received, raised)
        return ended

    def _tell_attempt(
        self,
        url: URL,
        before: float,
        received: Response | Received[T] | Failure | None,
        raised: str | None,
    ) -> None:
        now, sent = self._shared.clock.monotonic(), self._attempts.last_sent
        response = received if isinstance(received, Response) else None
        if isinstance(received, Failure):
            raised = type(received.error).__name__
        self._observation.attempt_ended(
            self._scope,
            self._call,
            url,
            seconds=now - sent,
            waited=sent - before,
            status=None if response is None else response.status,
            error=raised,
            quota=None if response is None else response.quota,
        )
        if response is not None:
            self._tell_response(response, now)

    def _tell_response(self, response: Response, now: float) -> None:
        quota, status = response.quota, response.status
        if quota is not None:
            self._observation.quota_seen(self._account.windows_told, quota, now)
        asked = response.retry_after
        if status == _TOO_MANY_REQUESTS:
            asked = responses.asked_wait(response)
        elif status != _SERVICE_UNAVAILABLE or asked is None:
            return
        self._observation.refused(self._scope, self._call.action, status, asked, quota)

    def _note_pause(self, seconds: float) -> None:
        # A call that was refused waits for the quota, which is told by itself.
        if seconds > 0:
            self._observation.retry_wait(self._scope, self._call, seconds)

    def _late_look(self) -> LateLook[T] | None:
        """Return a look that runs in the context of this call.

        A timer begins it, whose context is that of any call of the client.
        """
        look = super()._late_look()
        if look is None:
            return None
        context = copy_context()
        # As without an observer, what the look reads does not count as an attempt for a Space.
        context.run(collect_stats)

        async def begin() -> Done[T] | None:
            task = asyncio.create_task(self._look_while_late(), context=context)
            return await task

        return LateLook(look.seconds, begin)


class ObservedSession(HubSession):
    """Sends calls, and tells of each of them."""

    __slots__ = ()

    _execution: ClassVar[type[CallExecution[Any]]] = ObservedExecution

    async def _run(
        self, call: Call[T], url: URL, *, stream: bool = False
    ) -> Received[T]:
        """Make a call, and tell of its begin and its end."""
        observation, clock = self._shared.observation, self._shared.clock
        assert observation is not None  # noqa: S101  (it has made this session)
        parent, scope, began = number_of_scope(), CallScope(), clock.monotonic()
        token = current_scope.set(scope)
        ended: BaseException | None = None
        observation.call_started(scope, call, parent)
        try:
            return await super()._run(call, url, stream=stream)
        except BaseException as error:
            ended = error
            raise
        finally:
            observation.call_ended(
                scope, call, parent, seconds=clock.monotonic() - began, error=ended
            )
            del ended  # Else the frame and its exception hold each other.
            # A coroutine that is dropped unfinished is closed in another context.
            with suppress(ValueError):
                current_scope.reset(token)
