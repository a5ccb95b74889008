"""Streams of server-sent events over a session: opened, parsed, closed, reopened.

A stream is opened by a call like any other. It takes a ticket of the quota and a place
among the requests under way, and gives both back as soon as the head of the answer is
there: what comes then is free.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from spaces_async._core.retry import backoff_bound
from spaces_async._wire.calls import Action, Call, Lost, nothing
from spaces_async._wire.sse import Event, EventParser, EventTooLargeError
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
    from spaces_async._wire.transport import StreamReader

_SILENCE: Final = 120.0
"""Seconds without a byte after which a stream counts as broken: the Hub sends a comment
every 30 s."""
_PAUSES: Final = RetryPolicy(wait_initial=1.0, wait_max=10.0)
_STEADY: Final = 30.0
"""A stream that was open for so long has not just failed."""
_TRANSIENT: Final = (TransportError, HubServerError, RateLimitError)


def stream_call(
    action: Action,
    segments: tuple[str, ...],
    repo_id: str,
    query: tuple[tuple[str, str], ...] = (),
) -> Call[None]:
    """Return the call that opens a stream of a Space."""
    return Call(
        action=action,
        segments=segments,
        query=query,
        decode=nothing,
        repo_id=repo_id,
    )


class EventStream:
    """An open stream.

    Attributes:
        answer: The head of the answer.
        lost: How it ended; None if the Hub closed it.
    """

    def __init__(self, reader: StreamReader, silence: float) -> None:
        self._reader = reader
        self._silence = silence
        self.answer = reader.answer
        self.lost: Lost | None = None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events until the stream ends; `lost` says how it did."""
        parser = EventParser()
        while True:
            chunk = await self._reader.read(self._silence)
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
    session: HubSession, call: Call[None], *, silence: float = _SILENCE
) -> AsyncGenerator[EventStream, None]:
    """Open a stream, with the retries of any read, and close it at the end.

    Args:
        session: Whose stream.
        call: What to stream.
        silence: Seconds without a byte after which it counts as broken.

    Raises:
        SpacesError: It cannot be opened; see `spaces_async.errors`.
    """
    opening = await session.opening(call)
    try:
        await opening.result()
        assert opening.reader is not None  # noqa: S101  (for the type checkers)
        yield EventStream(opening.reader, silence)
    finally:
        if opening.reader is not None:
            opening.reader.close()


class Following:
    """A stream that is opened again when it breaks.

    The first opening fails like any call. Later, it is given up after as many failures
    in a row as a call has attempts; what counts as no failure is for the reader of the
    events to say, with `goes_on`.

    Attributes:
        openings: How often it was opened so far.
    """

    def __init__(
        self,
        session: HubSession,
        call: Call[None],
        *,
        again: Call[None] | None = None,
        ends: bool = False,
    ) -> None:
        """Make one; nothing is opened before its events are asked for.

        Args:
            session: Whose stream.
            call: What to stream.
            again: What to stream when it is opened again; None is the same.
            ends: Whether it is over when the Hub closes it.
        """
        self.openings = 0
        self._session = session
        self._call = call
        self._again = again or call
        self._ends = ends
        self._failures = 0

    def goes_on(self) -> None:
        """Note that it has brought something new."""
        self._failures = 0

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events of all openings.

        Raises:
            StreamInterruptedError: It could not be opened again.
        """
        session = self._session
        clock, policy = session.clock, session.options.retry
        while True:
            began: float | None = None
            try:
                call = self._again if self.openings else self._call
                async with open_events(session, call) as stream:
                    self.openings += 1
                    began = clock.monotonic()
                    async with aclosing(stream.events()) as events:
                        async for event in events:
                            yield event
                    if stream.lost is None and self._ends:
                        return
                    why = stream.lost.reason if stream.lost else "the Hub closed it"
            except _TRANSIENT as error:
                if not self.openings:
                    raise
                why = str(error)
            if began is not None and clock.monotonic() - began >= _STEADY:
                self._failures = 0
            self._failures += 1
            if not policy.enabled or self._failures > policy.max_attempts:
                break
            bound = backoff_bound(_PAUSES, self._failures)
            await clock.sleep(session.shared.rng.uniform(bound / 2, bound))
        raise StreamInterruptedError(
            f"the stream of {self._call.repo_id} broke and could not be opened again:"
            f" {why}"
        )
