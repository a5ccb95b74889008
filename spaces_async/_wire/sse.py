"""Parser of server-sent events: bytes in, events out. Pure.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end in
CR, LF or CRLF, wherever the bytes are split; a line that starts with a colon is a
comment; an empty line ends an event. An event that is incomplete when the stream ends
is discarded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT_BYTES: Final = 1024 * 1024
"""Largest event: no real log line has a megabyte."""

_END_OF_LINE: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """An event is larger than the limit."""


@frozen
class Event:
    """A server-sent event.

    Attributes:
        kind: Its type; "message" if the event names none.
        data: Its data lines, joined by line feeds.
    """

    kind: str
    data: str


class EventParser:
    """Takes bytes as they arrive and yields the events that they complete."""

    def __init__(self, *, max_event: int = MAX_EVENT_BYTES) -> None:
        self._max_event = max_event
        self._rest = b""
        self._size = 0
        self._kind = ""
        self._data: list[str] = []
        self._started = False
        # A CR may be the first half of a CRLF whose LF has not arrived yet.
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Parse the next bytes.

        Args:
            chunk: Any number of bytes, split anywhere.

        Yields:
            The events that are complete now.

        Raises:
            EventTooLargeError: An event is larger than the limit.
        """
        for line in self._lines(chunk):
            self._size += len(line)
            event = self._parse_line(line)
            self._check_size()
            if event is not None:
                yield event
        self._check_size()

    def _check_size(self) -> None:
        if self._size + len(self._rest) > self._max_event:
            raise EventTooLargeError(f"an event is larger than {self._max_event} bytes")

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        buffer = self._rest + chunk
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._rest = buffer
                return
            buffer = buffer.removeprefix(_BOM)
            self._started = True
        start = 0
        for match in _END_OF_LINE.finditer(buffer):
            yield buffer[start : match.start()]
            start = match.end()
            self._after_cr = match.group() == b"\r" and start == len(buffer)
        self._rest = buffer[start:]

    def _parse_line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._kind or "message", "\n".join(self._data))
            complete = bool(self._data)
            self._kind, self._data, self._size = "", [], 0
            return event if complete else None
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._kind = text
        elif not field:
            # Comments do not count, so keep-alives do not add up to a large event.
            self._size -= len(line)
        return None
