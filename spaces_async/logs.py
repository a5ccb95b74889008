"""What a Space says and does, as it happens: logs, events, metrics.

Every stream is an async context manager that gives an async iterator: leaving the
context closes its connection.

```python
async with client.logs.stream_logs("acme/demo", follow=True) as lines:
    async for line in lines:
        print(line.timestamp, line.text)
```
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve

from spaces_async import _validate
from spaces_async._follow.resume import Resume
from spaces_async._follow.streams import Following, open_events, stream_call
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import DecodeError, parse_json, structure
from spaces_async.errors import (
    ConfigurationError,
    StreamInterruptedError,
)
from spaces_async.records import LogLine, SpaceEvent, SpaceMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async._wire.sse import Event

__all__ = ["Logs"]

STREAM_LOGS: Final = Action("stream_logs", "GET")
STREAM_EVENTS: Final = Action("stream_events", "GET")
STREAM_METRICS: Final = Action("stream_metrics", "GET")

_QUIET: Final = 5.0
"""Seconds of silence after which a log that is not followed has come to its end."""

_LATER: Final = timedelta(seconds=1)
_MERGE_BACKLOG: Final = 1000

Kind = Literal["run", "build"]


class Logs:
    """Streams. Reached as `client.logs`. The Hub wants a token for all of them."""

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
        context, or cancelling it, closes the connection. The Hub replays what it has
        kept and then goes on for ever: without `follow` the iterator ends when the
        replay does (at the first line that is younger than the request, or after 5 s
        of silence).

        With `follow` a broken connection is opened again, and the replay is compared
        with what was seen: no line comes twice, none is lost that the Hub still has. The
        log of a build ends when the Hub closes it, after the build.

        Args:
            repo_id: "owner/name".
            kind: "run" is the app's log, "build" that of the image.
            follow: Go on as new lines come: for ever, or to the end of the build.
            tail: Only so many of the lines that are there; None is all.

        Yields:
            An async iterator of `LogLine`.

        Raises:
            AuthenticationError: There is no token, or a wrong one.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            StreamInterruptedError: It broke: with `follow`, and could not be opened
                again; without, before the replay had come to its end.
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
    ) -> AsyncGenerator[AsyncIterator[LogLine], None]:
        """Stream the logs of several Spaces as one; each line says whose it is.

        Endpoint: `GET /api/spaces/{repo_id}/logs/{kind}` for each, one connection
        each. Safe to repeat. Leaving the context closes them all. Lines of one Space
        keep their order. A Space whose stream fails ends the whole with its error.

        Args:
            repo_ids: The Spaces.
            kind: As in `stream_logs`.
            follow: As in `stream_logs`.
            tail: As in `stream_logs`, for each Space.

        Yields:
            An async iterator of `LogLine`.

        Raises:
            SpacesError: As in `stream_logs`.
        """
        given = list(dict.fromkeys(_validate.items(repo_ids, "repo_ids")))
        calls = [_logs_call(repo_id, kind, tail) for repo_id in given]
        lines: asyncio.Queue[LogLine | Exception | None] = asyncio.Queue(_MERGE_BACKLOG)

        async def pump(call: Call[None]) -> None:
            source = self._follow(call) if follow else self._replay(call)
            try:
                async with aclosing(source):
                    async for line in source:
                        await lines.put(line)
            except Exception as error:  # noqa: BLE001  (raised by who merges them)
                await lines.put(error)
            else:
                await lines.put(None)

        tasks = [asyncio.create_task(pump(call)) for call in calls]
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
        """Stream what happens to a Space: changes of its stage, use of ZeroGPU.

        Endpoint: `GET /api/spaces/{repo_id}/events`. Safe to repeat. Leaving the
        context closes the connection; one that breaks is opened again. The payload is
        not documented by the Hub: see `SpaceEvent`.

        Args:
            repo_id: "owner/name".

        Yields:
            An async iterator of `SpaceEvent`, without end.

        Raises:
            AuthenticationError: There is no token, or a wrong one.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            StreamInterruptedError: It broke and could not be opened again.
        """
        call = _stream_call(STREAM_EVENTS, repo_id, "events")

        async def events() -> AsyncGenerator[SpaceEvent, None]:
            stream = Following(self._session, call)
            async with aclosing(stream.events()) as source:
                async for event in source:
                    stream.goes_on()
                    if event.data:
                        yield SpaceEvent(event.kind, _payload(event.data), repo_id)

        made = events()
        async with aclosing(made):
            yield made

    @asynccontextmanager
    async def stream_metrics(
        self, repo_id: str
    ) -> AsyncGenerator[AsyncIterator[SpaceMetrics], None]:
        """Stream what the replicas of a Space use, about once a second each.

        Endpoint: `GET /api/spaces/{repo_id}/metrics`. Safe to repeat. Leaving the
        context closes the connection; one that breaks is opened again.

        Args:
            repo_id: "owner/name".

        Yields:
            An async iterator of `SpaceMetrics`, without end.

        Raises:
            HubResponseError: 406: the Space does not run.
            AuthenticationError: There is no token, or a wrong one.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            StreamInterruptedError: It broke and could not be opened again.
        """
        call = _stream_call(STREAM_METRICS, repo_id, "metrics")

        async def metrics() -> AsyncGenerator[SpaceMetrics, None]:
            stream = Following(self._session, call)
            async with aclosing(stream.events()) as source:
                async for event in source:
                    stream.goes_on()
                    payload = _payload(event.data)
                    if isinstance(payload, dict):
                        yield _measured(payload)  # pyright: ignore[reportUnknownArgumentType]

        made = metrics()
        async with aclosing(made):
            yield made

    async def _replay(self, call: Call[None]) -> AsyncGenerator[LogLine, None]:
        async with (
            open_events(self._session, call, silence=_QUIET) as stream,
            aclosing(stream.events()) as events,
        ):
            asked = _instant_of(stream.answer.date, self._session.clock.utcnow())
            async for event in events:
                line = _line(event, call.repo_id or "")
                if line is None:
                    continue
                if line.timestamp is not None and line.timestamp > asked + _LATER:
                    return
                yield line
            lost = stream.lost
        # Silence is the end of a replay; a log that broke off must not look whole.
        if lost is not None and lost.phase != "read":
            raise StreamInterruptedError(
                f"the log of {call.repo_id} broke off before its end: {lost.reason}"
            )

    async def _follow(self, call: Call[None]) -> AsyncGenerator[LogLine, None]:
        resume = Resume()
        # The tail is counted anew at each opening, so only the first may ask for it.
        # The log of a build has an end, and the Hub closes its stream there.
        stream = Following(
            self._session,
            call,
            again=evolve(call, query=()),
            ends=call.segments[-1] == "build",
        )
        openings = 1
        async with aclosing(stream.events()) as source:
            async for event in source:
                if stream.openings > openings:
                    openings = stream.openings
                    resume.reconnected()
                line = _line(event, call.repo_id or "")
                if line is not None and resume.is_new(line.timestamp, line.text):
                    stream.goes_on()
                    yield line


async def _merged(
    lines: asyncio.Queue[LogLine | Exception | None], sources: int
) -> AsyncGenerator[LogLine, None]:
    while sources:
        line = await lines.get()
        if isinstance(line, Exception):
            raise line
        if line is None:
            sources -= 1
        else:
            yield line


def _stream_call(action: Action, repo_id: str, *path: str) -> Call[None]:
    owner, name = _validate.repo_id(repo_id)
    return stream_call(action, ("spaces", owner, name, *path), repo_id)


def _logs_call(repo_id: str, kind: str, tail: int | None) -> Call[None]:
    if kind not in ("run", "build"):
        raise ConfigurationError(f"kind must be 'run' or 'build', not {kind!r}")
    call = _stream_call(STREAM_LOGS, repo_id, "logs", kind)
    if tail is None:
        return call
    return evolve(call, query=(("tail", str(_validate.whole(tail, "tail"))),))


def _payload(data: str) -> Any:
    try:
        return parse_json(data.encode())
    except DecodeError:
        return data


def _measured(payload: dict[str, Any]) -> SpaceMetrics:
    try:
        return structure(payload, SpaceMetrics)
    except DecodeError:
        # What it looks like is nowhere documented; whoever knows better has `raw`.
        return SpaceMetrics(raw=payload)


def _line(event: Event, repo_id: str) -> LogLine | None:
    if not event.data:
        return None  # a keep-alive
    payload = _payload(event.data)
    if not isinstance(payload, dict):
        return LogLine(None, event.data, repo_id)
    text, timestamp = payload.get("data"), payload.get("timestamp")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(text, str):
        return LogLine(None, event.data, repo_id)
    return LogLine(_timestamp(timestamp), text.removesuffix("\n"), repo_id)  # pyright: ignore[reportUnknownArgumentType]


def _timestamp(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _instant_of(date: str | None, now: datetime) -> datetime:
    try:
        return parsedate_to_datetime(date or "").astimezone(UTC)
    except (ValueError, TypeError):
        return now
