"""Looking at a Space until it has arrived: the IO of `_waiting`."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve

from spaces_async._follow.shared_listing import OwnerPoll, watching
from spaces_async._follow.streams import Following, open_events, stream_call
from spaces_async._operations import requests
from spaces_async._wire.calls import Action
from spaces_async.errors import (
    HubServerError,
    RateLimitError,
    SpacesError,
    TransportError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from spaces_async._core.session import HubSession
    from spaces_async._follow.stage_rules import Watch
    from spaces_async.models import SpaceRuntime, SpaceStage

logger = logging.getLogger(__name__)

WATCH_EVENTS: Final = Action("watch_events", "GET")
READ_LOG: Final = Action("read_log", "GET")

_A_LOOK: Final = 5.0
_FIRST: Final = 1.0
_MOST: Final = 15.0
_GROWTH: Final = 1.5
_TAIL: Final = 20
_TAIL_PATIENCE: Final = 8.0
_TAIL_SILENCE: Final = 2.0
_TRANSIENT: Final = (
    TransportError,
    HubServerError,
    RateLimitError,
    UnexpectedResponseError,
)


class Look:
    """One wait: looks again and again, alone or together with others."""

    def __init__(
        self,
        session: HubSession,
        repo_id: str,
        wanted: frozenset[SpaceStage],
        *,
        events: bool,
    ) -> None:
        self._session = session
        self._repo_id = repo_id
        self._wanted = wanted
        self._events = events
        self._stack = ExitStack()
        self._poll: OwnerPoll | None = None
        self._listener: asyncio.Task[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._last_look = float("-inf")

    async def __aenter__(self) -> Self:
        account = self._session.shared.account(await self._session.ready())
        self._poll = self._stack.enter_context(watching(account.polls, self._repo_id))
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

    async def until(
        self,
        watch: Watch,
        *,
        timeout: float | None,  # noqa: ASYNC109  (measured by the clock)
        on_stage: Callable[[SpaceRuntime], None] | None,
    ) -> SpaceRuntime:
        """Look until the watch is content.

        Args:
            watch: Judges what is seen.
            timeout: Seconds to wait; None is for ever.
            on_stage: Told of each new stage.
        """
        clock = self._session.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        # However short the wait, the first look may take the time of a call.
        bound = None if deadline is None else max(deadline, clock.monotonic() + _A_LOOK)
        interval = _FIRST
        while True:
            trouble: Exception | None = None
            before = watch.last
            try:
                runtime = await self._look(self._session.until(bound))
            except _TRANSIENT as error:
                trouble = error
            else:
                if on_stage and (before is None or before.stage != runtime.stage):
                    _tell(on_stage, runtime)
                if watch.arrived(runtime, clock.monotonic()):
                    return runtime
            bound = deadline
            pause = interval * random.uniform(0.8, 1.2)  # noqa: S311  (spreads load)
            if deadline is not None and timeout is not None:
                left = deadline - clock.monotonic()
                if left <= 0:
                    raise watch.timed_out(timeout, trouble)
                pause = min(pause, left)
            await self._sleep(pause)
            interval = min(interval * _GROWTH, _MOST)

    async def _look(self, session: HubSession) -> SpaceRuntime:
        poll = self._poll
        if poll is not None and poll.worth_it:
            last_look, self._last_look = self._last_look, session.clock.monotonic()
            runtime = await poll.look(session, self._repo_id, last_look=last_look)
            if runtime is not None and not self._decisive(runtime):
                return runtime
        # The last step is confirmed by the Space itself.
        return await session.send(requests.runtime_call(self._repo_id))

    def _decisive(self, runtime: SpaceRuntime) -> bool:
        return runtime.stage in self._wanted or not runtime.stage.is_transitional

    async def _sleep(self, seconds: float) -> None:
        if self._listener is None:
            await self._session.clock.sleep(seconds)
            return
        self._news = asyncio.get_running_loop().create_future()
        await self._session.clock.wait_for(self._news, seconds)
        self._news = None

    async def _listen(self) -> None:
        """Shorten the next pause when the event stream tells of a stage."""
        owner, _, name = self._repo_id.partition("/")
        segments = ("spaces", owner, name, "events")
        call = stream_call(WATCH_EVENTS, segments, self._repo_id)
        stream = Following(self._session, call)
        try:
            async with aclosing(stream.events()) as events:
                async for event in events:
                    stream.goes_on()
                    news = self._news
                    if event.kind == "stage" and news is not None and not news.done():
                        news.set_result(None)
        except SpacesError as error:
            logger.info("no events of %s, polling instead: %s", self._repo_id, error)


def _tell(on_stage: Callable[[SpaceRuntime], None], runtime: SpaceRuntime) -> None:
    try:
        on_stage(runtime)
    except Exception:
        logger.exception("on_stage failed; the wait goes on")


async def log_tail(session: HubSession, repo_id: str, kind: str) -> tuple[str, ...]:
    """Return the last lines of a log, or nothing if they do not come soon."""
    owner, _, name = repo_id.partition("/")
    segments = ("spaces", owner, name, "logs", kind)
    call = stream_call(READ_LOG, segments, repo_id, (("tail", str(_TAIL)),))
    quick = session.with_options(
        retry=evolve(session.options.retry, max_rate_limit_wait=0.0)
    )
    lines: list[str] = []
    try:
        async with (
            asyncio.timeout(_TAIL_PATIENCE),
            open_events(quick, call, silence=_TAIL_SILENCE) as stream,
            aclosing(stream.events()) as events,
        ):
            async for event in events:
                lines += requests.log_text(event.data)
    except (SpacesError, TimeoutError) as error:
        logger.info("the log of %s could not be read: %s", repo_id, error)
    return tuple(lines[-_TAIL:])
