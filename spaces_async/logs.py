"""Live streams of a Space: logs, events, metrics.

Every stream is an async context manager that yields an async iterator. Leaving the
context closes its connection.

```python
async with client.logs.stream_logs("acme/demo", follow=True) as lines:
    async for line in lines:
        print(line.timestamp, line.text)
```
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve, frozen

from spaces_async import _validate
from spaces_async._follow.resume import ReplayFilter
from spaces_async._follow.streams import (
    ReconnectingStream,
    open_events,
)
from spaces_async._hints import Resource
from spaces_async._operations import requests
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import DecodeError, parse_json, structure
from spaces_async._wire.ratelimit import parse_clock
from spaces_async.errors import (
    ConfigurationError,
    SpacesError,
    StreamInterruptedError,
)
from spaces_async.records import LogLine, SpaceEvent, SpaceMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async._wire.sse import Event

__all__ = ["Logs"]

logger = logging.getLogger(__name__)

STREAM_LOGS: Final = Action("stream_logs", "GET")
STREAM_EVENTS: Final = Action("stream_events", "GET")
STREAM_METRICS: Final = Action("stream_metrics", "GET")

_REPLAY_SILENCE_SECONDS: Final = 5.0
"""Silence after which the replay of a log that is not followed has ended."""

_REPLAY_MARGIN: Final = timedelta(seconds=1)
"""A line that is this much younger than the request is not part of the replay."""

_MERGE_QUEUE_LINES: Final = 1000

Kind = Literal["run", "build"]


@frozen
class _Failed:
    """A stream of `stream_many` that has failed."""

    repo_id: str
    error: SpacesError


class Logs(Resource):
    """Streams. Available as `client.logs`. The Hub requires a token for all of them."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    @asynccontextmanager
    async def stream_logs(
        self,
        repo_id: str,
        *,
        kind: Kind = "run",
        follow: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[AsyncIterator[LogLine], None]:
        """Stream the log of a Space, line by line.

        Endpoint: `GET /api/spaces/{repo_id}/logs/{kind}`. Safe to repeat. Leaving the
        context, or cancelling it, closes the connection. The Hub replays the lines
        that it has kept and then sends new ones without end. Without `follow`, the
        iterator ends with the replay (at the first line that is younger than the
        request, or after 5 s of silence).

        With `follow`, a broken connection is reopened and the replay is compared with
        the lines already seen: no line is repeated, and no line is lost that the Hub
        still has. The Hub closes the log of a build when the build ends, and that ends
        the iterator.

        A line of more than 1 MiB is cut, and its text ends with a mark that says so.

        Args:
            repo_id: "owner/name".
            kind: "run" is the app's log, "build" the log of the image build.
            follow: Continue with new lines: without end, or until the build ends.
            tail: Number of existing lines to replay; None replays all.

        Yields:
            An async iterator of `LogLine`.

        Raises:
            AuthenticationError: The token is missing or invalid.
            SpaceNotFoundError: The Space does not exist, or the token may not see it.
            StreamInterruptedError: With `follow`, the stream broke and could not be
                reopened; without, it broke before the replay had ended.
        """
        call = _logs_call(repo_id, kind, tail)
        _validate.flag(follow, "follow")
        lines = self._follow(call) if follow else self._replay(call)
        async with aclosing(lines):
            yield lines

    @asynccontextmanager
    async def stream_many(
        self,
        repo_ids: Iterable[str],
        *,
        kind: Kind = "run",
        follow: bool = True,
        tail: int | None = None,
        on_failure: Callable[[str, SpacesError], None] | None = None,
    ) -> AsyncGenerator[AsyncIterator[LogLine], None]:
        """Stream the logs of several Spaces as one; each line has its `repo_id`.

        Endpoint: `GET /api/spaces/{repo_id}/logs/{kind}` for each Space, with one
        connection each. Safe to repeat. Leaving the context closes all connections.
        The lines of one Space keep their order. If one stream fails, the others go on,
        and with their next line a warning is logged. When all have ended, the iterator
        raises the first error.

        Args:
            repo_ids: The Spaces.
            kind: As in `stream_logs`.
            follow: As in `stream_logs`.
            tail: As in `stream_logs`, for each Space.
            on_failure: Called at once with the id and the error of a Space whose
                stream fails. Must not block.

        Yields:
            An async iterator of `LogLine`.

        Raises:
            SpacesError: All streams have ended, and this was the first to fail; see
                `stream_logs`.
        """
        given = list(dict.fromkeys(_validate.items(repo_ids, "repo_ids")))
        calls = [_logs_call(repo_id, kind, tail) for repo_id in given]
        lines: asyncio.Queue[LogLine | _Failed | Exception | None]
        lines = asyncio.Queue(_MERGE_QUEUE_LINES)

        async def pump(call: Call[None]) -> None:
            source = self._follow(call) if follow else self._replay(call)
            try:
                async with aclosing(source):
                    async for line in source:
                        await lines.put(line)
            except SpacesError as error:
                if on_failure is not None:
                    on_failure(call.repo_id or "", error)
                await lines.put(_Failed(call.repo_id or "", error))
            else:
                await lines.put(None)

        async def pump_or_tell(call: Call[None]) -> None:
            try:
                await pump(call)
            except Exception as bug:  # noqa: BLE001  (raised in _merged)
                await lines.put(bug)

        tasks = [asyncio.create_task(pump_or_tell(call)) for call in calls]
        merged = _merged(lines, len(tasks))
        try:
            async with aclosing(merged):
                yield merged
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    @asynccontextmanager
    async def stream_events(
        self, repo_id: str
    ) -> AsyncGenerator[AsyncIterator[SpaceEvent], None]:
        """Stream the events of a Space: changes of its stage, use of ZeroGPU.

        Endpoint: `GET /api/spaces/{repo_id}/events`. Safe to repeat. Leaving the
        context closes the connection; a broken connection is reopened. The Hub does
        not document the payload: see `SpaceEvent`.

        Args:
            repo_id: "owner/name".

        Yields:
            An async iterator of `SpaceEvent`, without an end.

        Raises:
            AuthenticationError: The token is missing or invalid.
            SpaceNotFoundError: The Space does not exist, or the token may not see it.
            StreamInterruptedError: The stream broke and could not be reopened.
        """
        call = requests.stream_call(STREAM_EVENTS, repo_id, "events")

        async def events() -> AsyncGenerator[SpaceEvent, None]:
            stream = ReconnectingStream(self._session, call)
            async with aclosing(stream.events()) as source:
                async for event in source:
                    stream.note_progress()
                    if event.data:
                        yield SpaceEvent(event.kind, _payload(event.data), repo_id)

        made = events()
        async with aclosing(made):
            yield made

    @asynccontextmanager
    async def stream_metrics(
        self, repo_id: str
    ) -> AsyncGenerator[AsyncIterator[SpaceMetrics], None]:
        """Stream the resource usage of each replica, about once a second.

        Endpoint: `GET /api/spaces/{repo_id}/metrics`. Safe to repeat. Leaving the
        context closes the connection; a broken connection is reopened.

        Args:
            repo_id: "owner/name".

        Yields:
            An async iterator of `SpaceMetrics`, without an end.

        Raises:
            HubResponseError: 406: the Space is not running.
            AuthenticationError: The token is missing or invalid.
            SpaceNotFoundError: The Space does not exist, or the token may not see it.
            StreamInterruptedError: The stream broke and could not be reopened.
        """
        call = requests.stream_call(STREAM_METRICS, repo_id, "metrics")

        async def metrics() -> AsyncGenerator[SpaceMetrics, None]:
            stream = ReconnectingStream(self._session, call)
            async with aclosing(stream.events()) as source:
                async for event in source:
                    stream.note_progress()
                    payload = _payload(event.data)
                    if isinstance(payload, dict):
                        yield _metrics(payload)  # pyright: ignore[reportUnknownArgumentType]

        made = metrics()
        async with aclosing(made):
            yield made

    async def _replay(self, call: Call[None]) -> AsyncGenerator[LogLine, None]:
        async with (
            open_events(self._session, call, silence=_REPLAY_SILENCE_SECONDS) as stream,
            aclosing(stream.events()) as events,
        ):
            requested_at = parse_clock(stream.response.date)
            if requested_at is None:
                requested_at = self._session.clock.utcnow()
            async for event in events:
                line = _line(event, call.repo_id or "")
                if line is None:
                    continue
                written = line.timestamp
                if written is not None and written > requested_at + _REPLAY_MARGIN:
                    return
                yield line
            lost = stream.lost
        # Silence ends a replay; a log that broke off must not look complete.
        if lost is not None and lost.phase != "read":
            raise StreamInterruptedError(
                f"the log of {call.repo_id} broke off before its end: {lost.reason};"
                " read it again"
            )

    async def _follow(self, call: Call[None]) -> AsyncGenerator[LogLine, None]:
        replay = ReplayFilter()
        # The Hub counts `tail` from the end at each connection, so only the first may
        # ask for it. The Hub closes the log of a build when the build ends.
        stream = ReconnectingStream(
            self._session,
            call,
            reopen_call=evolve(call, query=()),
            ends_on_close=call.segments[-1] == "build",
        )
        connections = 1
        async with aclosing(stream.events()) as source:
            async for event in source:
                if stream.connections > connections:
                    connections = stream.connections
                    replay.reconnected()
                line = _line(event, call.repo_id or "")
                if line is not None and replay.is_new(line.timestamp, line.text):
                    stream.note_progress()
                    yield line


async def _merged(
    lines: asyncio.Queue[LogLine | _Failed | Exception | None], sources: int
) -> AsyncGenerator[LogLine, None]:
    failures: list[_Failed] = []
    told = 0
    while sources:
        line = await lines.get()
        if isinstance(line, LogLine):
            # A failure is worth a warning if the others go on. Else it is raised.
            for failed in failures[told:]:
                logger.warning("the log of %s ended: %s", failed.repo_id, failed.error)
            told = len(failures)
            yield line
            continue
        if isinstance(line, _Failed):
            failures.append(line)
        elif line is not None:
            raise line  # a bug: here, or in a callback
        sources -= 1
    if failures:
        raise failures[0].error


def _logs_call(repo_id: str, kind: str, tail: int | None) -> Call[None]:
    if kind not in ("run", "build"):
        raise ConfigurationError(f"kind must be 'run' or 'build', not {kind!r}")
    if tail is not None:
        _validate.whole(tail, "tail")
    return requests.stream_call(STREAM_LOGS, repo_id, "logs", kind, tail=tail)


def _payload(data: str) -> Any:
    try:
        return parse_json(data.encode())
    except DecodeError:
        return data


def _metrics(payload: dict[str, Any]) -> SpaceMetrics:
    # The Hub does not document the format: what cannot be read is kept in `raw`.
    return structure(payload, SpaceMetrics)


def _line(event: Event, repo_id: str) -> LogLine | None:
    said = requests.log_event(event.data, is_cut=event.is_cut)
    if said is None:
        return None
    return LogLine(_timestamp(said.timestamp), said.text, repo_id)


def _timestamp(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
