"""Log lines and events of several Spaces, written as they come and made harmless."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from spaces_async.cli._output import stage_style
from spaces_async.cli._text import RESET_CODE, harmless, json_text, local_time, one_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spaces_async.cli._output import Output
    from spaces_async.records import LogLine, SpaceEvent

__all__ = ["LineWriter"]

_SPACE_COLOURS: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
_DIM_CODE: Final = "2"
_STYLE_CODES: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34"}
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


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
        when = f"{local_time(now):%H:%M:%S}" if self._aligned else _timestamp(now)
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
            colour = self._colours.get(repo_id, "")
            repo_id = one_word(repo_id)
            name = f"{repo_id:<{self._width}}" if self._aligned else repo_id
            fields = [self._paint(name, colour), *fields]
        self._write(("  " if self._aligned else "\t").join(fields))

    def _object(
        self, repo_id: str, when: str, instant: datetime | None, **more: Any
    ) -> None:
        fields = {"id": repo_id, when: instant and _timestamp(instant), **more}
        self._write(json_text(fields))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}{RESET_CODE}" if self._coloured and code else text

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        # Also into a pipe: its reader wants to see it now.
        sys.stdout.flush()


def _timestamp(instant: datetime | None) -> str:
    if instant is None:
        return "-"
    text = local_time(instant, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
