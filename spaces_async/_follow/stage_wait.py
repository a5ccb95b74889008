"""Waits for a stage: the IO around the rules of `stage_rules`."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve

from spaces_async._follow.shared_listing import OwnerListing, join_listing
from spaces_async._follow.streams import (
    TRANSIENT,
    ReconnectingStream,
    open_events,
)
from spaces_async._operations import requests
from spaces_async._wire.calls import Action
from spaces_async.errors import (
    ClientClosedError,
    RateLimitError,
    RequestTimeoutError,
    SpaceNotFoundError,
    SpacesError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from spaces_async._core.session import HubSession
    from spaces_async._follow.stage_rules import StageJudge
    from spaces_async.models import SpaceRuntime

logger = logging.getLogger(__name__)

WATCH_EVENTS: Final = Action("watch_events", "GET")
READ_LOG: Final = Action("read_log", "GET")

_FIRST_READ_SECONDS: Final = 5.0
_FAIR_READ_SECONDS: Final = 1.0
"""A read that has less time, at the end of a wait, tells nothing of the Hub if it fails."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 15.0
_PAUSE_GROWTH: Final = 1.5
_LOG_TAIL_LINES: Final = 20
_LOG_TAIL_TIMEOUT_SECONDS: Final = 8.0
_LOG_TAIL_SILENCE_SECONDS: Final = 2.0
_NOT_FOUND_SECONDS: Final = 5.0
"""A Space that is missing for longer does not exist."""
_LISTING_MARGIN_SECONDS: Final = 0.5
"""Lets a call's own timeout come first: its error says more."""
_CALLS_NEED_A_PAUSE: Final = (RateLimitError, ClientClosedError)
_TRANSIENT: Final = (*TRANSIENT, UnexpectedResponseError)


class StageWait:
    """One wait: reads the runtime repeatedly, alone or from a shared listing."""

    def __init__(
        self,
        session: HubSession,
        repo_id: str,
        *,
        events: bool,
    ) -> None:
        self._session = session
        self._repo_id = repo_id
        self._events = events
        self._stack = ExitStack()
        self._listing: OwnerListing | None = None
        self._listener: asyncio.Task[None] | None = None
        self._new_stage: asyncio.Future[None] | None = None
        self._last_read = float("-inf")
        self._found_by = float("-inf")
        self._not_found: SpaceNotFoundError | None = None

    async def __aenter__(self) -> Self:
        account = self._session.shared.account(await self._session.ready())
        self._listing = self._stack.enter_context(
            join_listing(account.polls, self._repo_id)
        )
        if self._events:
            self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait((self._listener,))

    async def run(
        self,
        judge: StageJudge,
        *,
        timeout: float | None,  # noqa: ASYNC109  (measured by the clock)
        on_stage: Callable[[SpaceRuntime], None] | None,
    ) -> SpaceRuntime:
        """Read the runtime until the judge says that the wait is over.

        Args:
            judge: Decides after each read.
            timeout: Seconds to wait; None means without limit.
            on_stage: Called with the runtime of each new stage.

        Returns:
            The runtime in one of the requested stages.

        Raises:
            SpaceFailedError: The judge says that the Space will not reach the stage.
            WaitTimeoutError: The time is up.
        """
        clock = self._session.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        # However short the wait is, the first read gets enough time for one call.
        read_by = deadline
        if deadline is not None:
            read_by = max(deadline, clock.monotonic() + _FIRST_READ_SECONDS)
        interval, read_error = _FIRST_PAUSE_SECONDS, None
        self._found_by = clock.monotonic() + _NOT_FOUND_SECONDS
        while True:
            before, began = judge.last, clock.monotonic()
            runtime, error = await self._try_to_read(judge, read_by)
            is_cut = read_by is not None and read_by - began < _FAIR_READ_SECONDS
            if error is None or not is_cut:
                read_error = error
            if runtime is not None:
                if before is None or before.stage != runtime.stage:
                    self._note_stage(runtime, before, on_stage)
                if judge.arrived(runtime, clock.monotonic()):
                    return runtime
            read_by = deadline
            pause = interval * random.uniform(0.8, 1.2)  # noqa: S311  (spreads load)
            if deadline is not None and timeout is not None:
                remaining = deadline - clock.monotonic()
                if remaining <= 0:
                    raise self._not_found or judge.timed_out(timeout, read_error)
                pause = min(pause, remaining)
            await self._sleep(pause)
            interval = min(interval * _PAUSE_GROWTH, _MAX_PAUSE_SECONDS)

    def _note_stage(
        self,
        runtime: SpaceRuntime,
        before: SpaceRuntime | None,
        on_stage: Callable[[SpaceRuntime], None] | None,
    ) -> None:
        """Tell of a new stage: the observers of the client, and who asked for it."""
        observation = self._session.shared.observation
        if observation is not None:
            last = None if before is None else before.stage
            observation.stage_changed(self._repo_id, runtime.stage, last)
        if on_stage is not None:
            _call_on_stage(on_stage, runtime)

    async def _try_to_read(
        self, judge: StageJudge, read_by: float | None
    ) -> tuple[SpaceRuntime | None, SpacesError | None]:
        """Return the runtime, or the error that does not end the wait."""
        try:
            runtime = await self._read_in_time(judge, read_by)
        except _TRANSIENT as error:
            return None, error
        except SpaceNotFoundError as error:
            # A copy may be answered with 404 for a moment after it was made.
            late = self._session.clock.monotonic() >= self._found_by
            if judge.last is not None or late:
                raise
            self._not_found = error
            return None, error
        self._not_found = None
        return runtime, None

    async def _read_in_time(
        self, judge: StageJudge, read_by: float | None
    ) -> SpaceRuntime:
        session = self._session.until(read_by)
        if read_by is None:
            return await self._read_runtime(judge, session)
        left = max(0.0, read_by - session.clock.monotonic())
        try:
            # Each page of a listing has its own limit, and so has the wait for another
            # reader's listing. This is the limit for all of it.
            async with asyncio.timeout(left + _LISTING_MARGIN_SECONDS):
                return await self._read_runtime(judge, session)
        except TimeoutError as error:
            if isinstance(error, SpacesError):
                raise
            raise RequestTimeoutError(
                f"the listing was not read within {left:.0f} s", phase="total"
            ) from None

    async def _read_runtime(
        self, judge: StageJudge, session: HubSession
    ) -> SpaceRuntime:
        runtime = await self._listed_runtime(session)
        if runtime is not None and not judge.is_decisive(runtime):
            return runtime
        # A listing may be old, so the Space's own endpoint confirms the last stage.
        return await session.send(requests.runtime_call(self._repo_id))

    async def _listed_runtime(self, session: HubSession) -> SpaceRuntime | None:
        listing = self._listing
        if listing is None or not listing.is_cheaper:
            return None
        last_read, self._last_read = self._last_read, session.clock.monotonic()
        try:
            runtime = await listing.get_runtime(
                session, self._repo_id, last_read=last_read
            )
        except _CALLS_NEED_A_PAUSE:
            raise  # the Space's own endpoint would be refused for the same reason
        except SpacesError as error:
            logger.info(
                "the Spaces of the owner of %s cannot be listed, so it is read alone:"
                " %s",
                self._repo_id,
                error,
            )
            return None
        # What could not be read in the listing may be readable on its own.
        return None if runtime is None or runtime.problems else runtime

    async def _sleep(self, seconds: float) -> None:
        if self._listener is None:
            await self._session.clock.sleep(seconds)
            return
        self._new_stage = asyncio.get_running_loop().create_future()
        await self._session.clock.wait_for(self._new_stage, seconds)
        self._new_stage = None

    async def _listen(self) -> None:
        """End the current pause when the event stream reports a new stage."""
        call = requests.stream_call(WATCH_EVENTS, self._repo_id, "events")
        stream = ReconnectingStream(self._session, call)
        try:
            async with aclosing(stream.events()) as events:
                async for event in events:
                    stream.note_progress()
                    waiter = self._new_stage
                    if event.kind == "stage" and waiter and not waiter.done():
                        waiter.set_result(None)
        except SpacesError as error:
            logger.info(
                "the event stream of %s ended, so the wait only polls: %s",
                self._repo_id,
                error,
            )


def _call_on_stage(
    on_stage: Callable[[SpaceRuntime], None], runtime: SpaceRuntime
) -> None:
    try:
        on_stage(runtime)
    except Exception:
        logger.exception("on_stage raised an exception; the wait continues")


async def log_tail(session: HubSession, repo_id: str, kind: str) -> tuple[str, ...]:
    """Return the last lines of a log; empty if they do not arrive soon."""
    call = requests.stream_call(READ_LOG, repo_id, "logs", kind, tail=_LOG_TAIL_LINES)
    quick = session.with_options(
        retry=evolve(session.options.retry, max_rate_limit_wait=0.0)
    )
    lines: list[str] = []
    try:
        async with (
            asyncio.timeout(_LOG_TAIL_TIMEOUT_SECONDS),
            open_events(quick, call, silence=_LOG_TAIL_SILENCE_SECONDS) as stream,
            aclosing(stream.events()) as events,
        ):
            async for event in events:
                said = requests.log_event(event.data, is_cut=event.is_cut)
                if said is not None:
                    lines.append(said.text)
    except (SpacesError, TimeoutError) as error:
        logger.info("the log of %s could not be read: %s", repo_id, error)
    return tuple(lines[-_LOG_TAIL_LINES:])
