"""Streams of server-sent events over a session: opened, parsed, closed, reopened.

A stream is opened by a call like any other. It needs a permit of the quota and a place
among the requests in flight, and releases both as soon as the headers of the response
have arrived. The Hub does not count what follows.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from spaces_async._core.retry import backoff_bound
from spaces_async._wire.messages import LostResponse
from spaces_async._wire.sse import Event, EventParser
from spaces_async.errors import (
    HubServerError,
    RateLimitError,
    StreamInterruptedError,
    TransportError,
)
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spaces_async._core.session import HubSession
    from spaces_async._wire.calls import Call
    from spaces_async._wire.messages import BodyStream, Response

_MAX_SILENCE_SECONDS: Final = 120.0
"""A stream without a byte for this long counts as broken: the Hub sends a comment every
30 s."""
_REOPEN_BACKOFF: Final = RetryPolicy(wait_initial=1.0, wait_max=10.0)
_STABLE_SECONDS: Final = 30.0
"""A stream that was open for this long resets the count of failures."""
TRANSIENT: Final = (TransportError, HubServerError, RateLimitError)


class EventStream:
    """An open stream.

    Attributes:
        response: Status and headers of the response.
        lost: How the stream broke; None if the Hub closed it.
    """

    def __init__(self, response: Response, body: BodyStream, silence: float) -> None:
        self.response = response
        self.lost: LostResponse | None = None
        self._body = body
        self._silence = silence

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events until the stream ends; then `lost` says how it ended."""
        parser = EventParser()
        while True:
            chunk = await self._body.read(self._silence)
            if isinstance(chunk, LostResponse):
                self.lost = chunk
                return
            if chunk is None:
                return
            for event in parser.feed(chunk):
                yield event


@asynccontextmanager
async def open_events(
    session: HubSession, call: Call[None], *, silence: float = _MAX_SILENCE_SECONDS
) -> AsyncGenerator[EventStream, None]:
    """Open a stream, with the retries of any read, and close it at the end.

    Args:
        session: The session to open it with.
        call: The call that opens it.
        silence: Seconds without a byte after which the stream counts as broken.

    Raises:
        SpacesError: The stream cannot be opened; see `spaces_async.errors`.
    """
    response = await session.open_stream(call)
    body = response.stream
    assert body is not None  # noqa: S101  (for the type checkers)
    try:
        yield EventStream(response, body, silence)
    finally:
        body.close()


class ReconnectingStream:
    """A stream that is reopened when it breaks.

    If the first connection fails, its error is raised as for any call. Later failures
    are counted, and the stream ends after as many in a row as a call has attempts. The
    reader of the events resets the count with `note_progress`.

    Attributes:
        connections: How often the stream has been opened.
    """

    def __init__(
        self,
        session: HubSession,
        call: Call[None],
        *,
        reopen_call: Call[None] | None = None,
        ends_on_close: bool = False,
    ) -> None:
        """Create the stream. It is opened when its events are first requested.

        Args:
            session: The session to open it with.
            call: The call that opens it.
            reopen_call: The call that reopens it; None uses `call`.
            ends_on_close: Whether the stream is over when the Hub closes it.
        """
        self.connections = 0
        self._session = session
        self._call = call
        self._reopen_call = reopen_call or call
        self._ends_on_close = ends_on_close
        self._failures = 0

    def note_progress(self) -> None:
        """Reset the count of failures: the stream has sent something new."""
        self._failures = 0

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events of all connections.

        Raises:
            StreamInterruptedError: The stream could not be reopened.
        """
        session = self._session
        clock, policy = session.clock, session.options.retry
        while True:
            opened_at: float | None = None
            try:
                call = self._reopen_call if self.connections else self._call
                async with open_events(session, call) as stream:
                    self.connections += 1
                    opened_at = clock.monotonic()
                    async with aclosing(stream.events()) as events:
                        async for event in events:
                            yield event
                    if stream.lost is None and self._ends_on_close:
                        return
                    why = stream.lost.reason if stream.lost else "the Hub closed it"
            except TRANSIENT as error:
                if not self.connections:
                    raise
                why = str(error)
            if (
                opened_at is not None
                and clock.monotonic() - opened_at >= _STABLE_SECONDS
            ):
                self._failures = 0
            self._failures += 1
            if not policy.enabled or self._failures > policy.max_attempts:
                break
            bound = backoff_bound(_REOPEN_BACKOFF, self._failures)
            await clock.sleep(session.shared.rng.uniform(bound / 2, bound))
        raise StreamInterruptedError(
            f"the stream of {self._call.repo_id} broke and could not be reopened: {why}"
        )
