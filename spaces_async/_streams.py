"""Streams of server-sent events over a session: opened, parsed, closed, reopened.

A stream takes a ticket of the quota to open and gives it back as soon as the head of
the answer is there: what comes then is free. It does not count as one of the requests
that may be under way.
"""

from __future__ import annotations

import uuid
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from spaces_async import _responses
from spaces_async._calls import Action, Lost
from spaces_async._sse import Event, EventParser, EventTooLargeError
from spaces_async._transport import Progress, StreamReader
from spaces_async.errors import (
    HubServerError,
    RateLimitError,
    StreamInterruptedError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spaces_async._session import HubSession

_RETRIES: Final = 5
_WAIT_FIRST: Final = 1.0
_WAIT_MOST: Final = 10.0
_TRANSIENT: Final = (TransportError, HubServerError, RateLimitError)


@frozen
class StreamCall:
    """What to stream.

    Attributes:
        action: What kind of call it is.
        segments: Parts of the path after `/api`.
        repo_id: The Space.
        query: Pairs of the query.
        silence: Seconds without a byte after which the stream counts as broken.
    """

    action: Action
    segments: tuple[str, ...]
    repo_id: str
    query: tuple[tuple[str, str], ...] = ()
    silence: float = 120.0


class EventStream:
    """An open stream.

    Attributes:
        answer: The head of the answer.
        lost: How it ended; None if the Hub closed it.
    """

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.answer = reader.answer
        self.lost: Lost | None = None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events until the stream ends; `lost` says how it did."""
        parser = EventParser()
        while True:
            chunk = await self._reader.read()
            if isinstance(chunk, Lost):
                self.lost = chunk
                return
            if chunk is None:
                return
            try:
                for event in parser.feed(chunk):
                    yield event
            except EventTooLargeError as error:
                raise StreamInterruptedError(str(error)) from None


@asynccontextmanager
async def open_events(
    session: HubSession, call: StreamCall
) -> AsyncGenerator[EventStream, None]:
    """Open a stream once.

    Raises:
        SpacesError: It cannot be opened; see `spaces_async.errors`.
    """
    token = await session.ready()
    shared, options = session.shared, session.options
    governor = shared.account(token).governor
    url = session.url(call.segments, call.query)
    ticket = await governor.acquire(
        call.action.name,
        background=options.background,
        longest=options.retry.max_rate_limit_wait,
    )
    progress = Progress()
    timeouts = evolve(options.timeouts, read=call.silence)
    try:
        async with shared.transport.stream(
            url,
            token=token,
            request_id=str(uuid.uuid4()),
            timeouts=timeouts,
            progress=progress,
        ) as opened:
            if isinstance(opened, Lost):
                error = _responses.failure_of_loss(opened, is_write=False).error
            else:
                head = opened.answer if isinstance(opened, StreamReader) else opened
                reply = shared.hear(governor, ticket, head)
                governor.release(ticket)
                if isinstance(opened, StreamReader):
                    yield EventStream(opened)
                    return
                error = _responses.failure_of_answer(
                    head,
                    quota=reply.quota,
                    retry_after=reply.retry_after,
                    repo_id=call.repo_id,
                    anonymous=token is None,
                ).error
    finally:
        governor.release(ticket)
    error.method, error.url, error.attempts = "GET", str(url.with_query(None)), 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    raise error


async def follow_events(
    session: HubSession,
    call: StreamCall,
    *,
    again: StreamCall | None = None,
    reopened: list[int] | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a stream and open it again when it breaks.

    The first opening fails like any call; later ones are tried five times in a row,
    with waits from 1 s to 10 s.

    Args:
        session: Whose stream.
        call: What to stream.
        again: What to stream when it is opened again; None is the same.
        reopened: Gets an element each time before events of a new opening come.

    Raises:
        StreamInterruptedError: It could not be opened again.
    """
    failures = 0
    opened_once = False
    while True:
        try:
            async with open_events(session, call) as stream:
                if opened_once and reopened is not None:
                    reopened.append(1)
                opened_once = True
                call = again or call
                async with aclosing(stream.events()) as events:
                    async for event in events:
                        failures = 0
                        yield event
                why = stream.lost.reason if stream.lost else "the Hub closed it"
        except _TRANSIENT as error:
            if not opened_once:
                raise
            why = str(error)
        failures += 1
        if failures > _RETRIES:
            break
        wait = min(_WAIT_MOST, _WAIT_FIRST * 2.0 ** (failures - 1))
        await session.clock.sleep(wait)
    raise StreamInterruptedError(
        f"the stream of {call.repo_id} broke and could not be opened again: {why}"
    )
