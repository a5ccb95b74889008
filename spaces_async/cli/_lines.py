"""Log lines and events of several Spaces, written as they come and made harmless."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from spaces_async.cli._output import stage_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spaces_async.cli._output import Output
    from spaces_async.records import LogLine, SpaceEvent

__all__ = ["LineWriter", "harmless"]

_SPACE_COLOURS: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
_DIM_CODE: Final = "2"
_STYLE_CODES: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34"}
_RESET: Final = "\x1b[0m"
_COLOUR_CODE: Final = re.compile(r"(\x1b\[[0-9;:]*m)")
_ESCAPE_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs"})
_KEPT_CHARACTERS: Final = "\t\u200d"
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


def harmless(text: str, *, coloured: bool) -> str:
    """Remove what a terminal acts on from the text of an app, except for colours."""
    if text.isprintable():
        return text
    parts = _COLOUR_CODE.split(text)
    # Every second part is a colour code; those between may contain anything.
    parts[::2] = [_visible(part) for part in parts[::2]]
    if not coloured:
        return "".join(parts[::2])
    return "".join(parts) + (_RESET if len(parts) > 1 else "")


def _visible(text: str) -> str:
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(
        c
        for c in text
        if c in _KEPT_CHARACTERS or unicodedata.category(c) not in _HIDDEN_CATEGORIES
    )


class LineWriter:
    """Writes log lines and events, each at once."""

    def __init__(
        self, output: Output, ids: Sequence[str], *, timestamps: bool = False
    ) -> None:
        self._json = output.json
        self._aligned = output.table_out
        self._coloured = output.coloured
        self._timestamps = timestamps
        self._several = len(ids) > 1
        self._width = max((len(repo_id) for repo_id in ids), default=0)
        self._colours = dict(zip(ids, cycle(_SPACE_COLOURS), strict=False))

    def log_line(self, line: LogLine) -> None:
        """Write a line of a log."""
        if self._json:
            self._object(line.repo_id, "timestamp", line.timestamp, text=line.text)
            return
        pieces = _LINE_END.split(line.text)
        for piece in [p for p in pieces if p] or [""]:
            text = harmless(piece, coloured=self._coloured)
            when = _timestamp(line.timestamp)
            fields = [self._paint(when, _DIM_CODE)] if self._timestamps else []
            self._line(line.repo_id, [*fields, text])

    def event(self, event: SpaceEvent, now: datetime) -> None:
        """Write an event."""
        if self._json:
            self._object(event.repo_id, "time", now, kind=event.kind, data=event.data)
            return
        when = f"{now.astimezone():%H:%M:%S}" if self._aligned else _timestamp(now)
        data = event.data
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        shown = harmless(" ".join(text.split()), coloured=False)
        if event.stage is not None:
            shown = self._paint(shown, _STYLE_CODES.get(stage_style(event.stage), ""))
        kind = harmless(event.kind, coloured=False)
        self._line(event.repo_id, [self._paint(when, _DIM_CODE), kind, shown])

    def merged(self, logs: Iterable[Sequence[LogLine]]) -> list[LogLine]:
        """Merge logs by the times of their lines; each keeps its own order."""
        timed: list[tuple[datetime, LogLine]] = []
        for log in logs:
            last = _EARLIEST
            for line in log:
                # A line without a time, or with an earlier one, follows the line before it.
                last = max(last, line.timestamp or last)
                timed.append((last, line))
        return [line for _, line in sorted(timed, key=lambda pair: pair[0])]

    def _line(self, repo_id: str, fields: list[str]) -> None:
        if self._several:
            name = f"{repo_id:<{self._width}}" if self._aligned else repo_id
            fields = [self._paint(name, self._colours.get(repo_id, "")), *fields]
        self._write(("  " if self._aligned else "\t").join(fields))

    def _object(
        self, repo_id: str, when: str, instant: datetime | None, **more: Any
    ) -> None:
        fields = {"id": repo_id, when: instant and _timestamp(instant), **more}
        self._write(json.dumps(fields, ensure_ascii=False, default=str))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}{_RESET}" if self._coloured and code else text

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        # Also into a pipe: its reader wants to see it now.
        sys.stdout.flush()


def _timestamp(instant: datetime | None) -> str:
    if instant is None:
        return "-"
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
