"""Where output goes: results to stdout, everything else to stderr.

A terminal gets tables and colours, a pipe gets lines of tab-separated fields without
control codes, and `--json` gives one document.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spaces_async.models import SpaceRuntime, SpaceStage

__all__ = [
    "Cell",
    "Output",
    "clean",
    "hardware_text",
    "human_seconds",
    "plural",
    "stage_text",
]

Cell = str | Text

_PIPE_COLUMNS = 100
_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(text: str) -> str:
    """Make a text from the Hub one line, without what a terminal acts on."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def plural(count: int, what: str = "Space") -> str:
    """Return "1 Space" or "2 Spaces"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def human_seconds(seconds: float | None) -> str:
    """Return a duration for people: "48h", "1h 30m", "never"."""
    if seconds is None:
        return "never"
    left, parts = round(seconds), list[str]()
    for size, unit in _TIME_UNITS:
        # The Hub's usual sleep time is called 48 hours, not two days.
        if unit == "d" and left <= 2 * size:
            continue
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def stage_style(stage: SpaceStage) -> str:
    """Return the colour of a stage."""
    if stage.is_failed:
        return "red"
    if stage.is_transitional:
        return "yellow"
    if stage.is_running:
        return "green"
    return "blue" if stage.is_idle else ""


def stage_text(stage: SpaceStage | None) -> Text:
    """Return a stage in its colour; "-" if it is not known."""
    return Text("-") if stage is None else Text(str(stage), style=stage_style(stage))


def hardware_text(runtime: SpaceRuntime | None) -> str:
    """Return the flavor, and a different requested one; "-" if there is none."""
    if runtime is None:
        return "-"
    now, then = runtime.hardware, runtime.requested_hardware
    if now and then and now != then:
        return f"{now} -> {then}"
    return str(now or then or "-")


class Output:
    """stdout and stderr, and how each is written to.

    Attributes:
        json: Whether results are one JSON document.
        quiet: Whether to write nothing but errors and results.
        table_out: Whether stdout is a terminal.
        coloured: Whether it shows colours, and NO_COLOR is not set.
        live: Whether stderr is a terminal that can show progress in place.
        out: The console of stdout.
        err: The console of stderr.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.table_out = sys.stdout.isatty()
        self.out = _console(sys.stdout, terminal=self.table_out)
        self.coloured = self.out.color_system is not None and not self.out.no_color
        terminal = sys.stderr.isatty()
        self.err = _console(sys.stderr, terminal=terminal)
        self.live = terminal and not quiet and not self.err.is_dumb_terminal

    def say(self, text: Cell = "", *, style: str = "") -> None:
        """Write a message to stderr, unless `--quiet` is given."""
        if not self.quiet:
            self.complain(text, style=style)

    def complain(self, text: Cell, *, style: str = "") -> None:
        """Write an error or a question to stderr, even with `--quiet`."""
        # Not wrapped by us: copied text would have line breaks in it.
        self.err.print(text, style=style, soft_wrap=True)

    def line(self, text: str) -> None:
        """Write a line of the result."""
        sys.stdout.write(f"{text}\n")

    def document(self, data: Any) -> None:
        """Write the result as JSON."""
        self.line(json.dumps(data, indent=2, ensure_ascii=False, default=str))

    def rows(self, titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Write the result as a table, or as lines of tab-separated fields."""
        lines = list(rows)
        if self.table_out and lines:
            self.out.print(make_table(titles, lines))
            return
        for row in lines:
            self.line("\t".join(clean(str(cell)) for cell in row))

    def details(self, rows: Iterable[tuple[str, Cell]]) -> None:
        """Write a label and a value on each line."""
        lines = list(rows)
        if not self.table_out:
            self.rows((), lines)
            return
        width = max((len(label) for label, _ in lines), default=0)
        for label, cell in lines:
            line = Text(f"{label:<{width}}  ", style="dim")
            style = cell.style if isinstance(cell, Text) else ""
            # Not cut, so that it can be copied: the terminal wraps what is too long.
            line = Text.assemble(line, Text(clean(str(cell)), style))
            self.out.print(line, soft_wrap=True)


def _console(file: Any, *, terminal: bool) -> Console:
    return Console(
        file=file,
        # FORCE_COLOR and the like would put escape codes into files.
        force_terminal=terminal,
        width=None if terminal else _PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def make_table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Make a table in which only the last column is cut where it is too wide."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    lines = [[_one_line(cell) for cell in row] for row in rows]
    for index, title in enumerate(titles):
        numbers = bool(lines) and all(row[index].plain.isdigit() for row in lines)
        last = index == len(titles) - 1 and index > 0
        table.add_column(
            title.upper(),
            # rich takes room only from columns that may wrap. The cells do not wrap, so
            # the last column is cut instead.
            no_wrap=not last,
            justify="right" if numbers else "left",
            min_width=None
            if last
            else max(len(title), *map(len, _column(lines, index))),
        )
    for row in lines:
        table.add_row(*row)
    return table


def _column(lines: Sequence[Sequence[Text]], index: int) -> list[str]:
    return ["", *(row[index].plain for row in lines)]


def _one_line(cell: Cell) -> Text:
    style = cell.style if isinstance(cell, Text) else ""
    return Text(clean(str(cell)), style, no_wrap=True, overflow="ellipsis")
