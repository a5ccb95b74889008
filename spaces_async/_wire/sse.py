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
"""Largest event: no real log line has a megabyte. A larger one is cut."""

_END_OF_LINE: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


@frozen
class Event:
    """A server-sent event.

    Attributes:
        kind: Its type; "message" if the event names none.
        data: Its data lines, joined by line feeds.
        is_cut: Whether the event was larger than the limit, and its end is missing.
    """

    kind: str
    data: str
    is_cut: bool = False


class EventParser:
    """Takes bytes as they arrive and yields the events that they complete."""

    def __init__(self, *, max_event: int = MAX_EVENT_BYTES) -> None:
        self._max_event = max_event
        self._rest = b""
        self._rest_is_cut = False
        self._kind = ""
        self._data: list[str] = []
        self._size = 0
        self._is_cut = False
        self._started = False
        # A CR may be the first half of a CRLF whose LF has not arrived yet.
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Parse the next bytes.

        Args:
            chunk: Any number of bytes, split anywhere.

        Yields:
            The events that are complete now. One that is larger than the limit is
            cut, and the events after it follow as usual.
        """
        for line, is_cut in self._lines(chunk):
            event = self._parse_line(line, is_cut=is_cut)
            if event is not None:
                yield event

    def _lines(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield the complete lines, each with whether it was cut."""
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
            yield self._cut(buffer[start : match.start()])
            self._rest_is_cut = False
            start = match.end()
            self._after_cr = match.group() == b"\r" and start == len(buffer)
        self._rest, self._rest_is_cut = self._cut(buffer[start:])

    def _cut(self, line: bytes) -> tuple[bytes, bool]:
        is_cut = self._rest_is_cut or len(line) > self._max_event
        return line[: self._max_event], is_cut

    def _parse_line(self, line: bytes, *, is_cut: bool) -> Event | None:
        if not line:
            kind, data = self._kind or "message", "\n".join(self._data)
            event = Event(kind, data, self._is_cut)
            complete = bool(self._data)
            self._kind, self._data, self._size, self._is_cut = "", [], 0, False
            return event if complete else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._add(value.removeprefix(b" "), is_cut=is_cut)
        elif field == b"event":
            self._kind = value.removeprefix(b" ").decode("utf-8", "replace")
        return None

    def _add(self, value: bytes, *, is_cut: bool) -> None:
        # The line's end counts too: an event of empty lines must not grow for ever.
        room = self._max_event - self._size - 1
        if self._is_cut or room < 0:
            self._is_cut = True
            return
        self._is_cut = is_cut or len(value) > room
        text = value[:room].decode("utf-8", "replace")
        # A character that the cut has split is dropped.
        self._data.append(text.rstrip("\ufffd") if self._is_cut else text)
        self._size += len(value) + 1
