"""Where output goes: results to stdout, everything else to stderr.

A terminal gets tables and colours, a pipe gets lines of tab-separated fields without
control codes, and `--json` gives one document.
"""

from __future__ import annotations

import re
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spaces_async.cli._text import clean, harmless, json_text, one_word, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spaces_async.models import SpaceRuntime, SpaceStage

    Cell = str | Text

__all__ = [
    "TIME_UNITS",
    "Output",
    "hardware_text",
    "human_seconds",
    "plural",
    "sleep_seconds",
    "sleep_text",
    "stage_text",
]

_PIPE_COLUMNS = 100
_GAP = 2
_ENOUGH_LAST = 32
"""What a terminal shows at least of the last column: most reasons are told by then."""
_TIGHT_LAST = 16
"""The same of one that is wrapped at words, beside columns that matter."""
_LEAST_FIRST = 20
_NUMBER = re.compile(r"\d+|<?\$[\d,.]+(/h)?|unknown")
"""What stands at the right of its column: counts and amounts of money."""
TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def plural(count: int, what: str = "Space") -> str:
    """Return "1 Space" or "2 Spaces"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def human_seconds(seconds: float | None) -> str:
    """Return a duration for people: "48h", "1h 30m", "never"."""
    if seconds is None:
        return "never"
    left, parts = round(seconds), list[str]()
    for size, unit in TIME_UNITS:
        # The Hub's usual sleep time is called 48 hours, not two days.
        if unit == "d" and left <= 2 * size:
            continue
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def sleep_seconds(runtime: SpaceRuntime | None) -> int | None:
    """Return the sleep time, -1 for never; None where there is none or it is not told.

    The Hub says nothing of one that is paused, and that is no "never".
    """
    from spaces_async._operations import state

    # A static Space has no hardware, and never sleeps.
    if runtime is None or runtime.requested_hardware is None:
        return None
    seconds = state.sleep_time(state.NEVER).value(runtime)
    return None if seconds is state.UNTOLD else int(seconds)


def sleep_text(runtime: SpaceRuntime | None) -> str:
    """Return the sleep time for people: "48h", "never"; "-" if it is not known."""
    seconds = sleep_seconds(runtime)
    if seconds is None:
        return "-"
    return human_seconds(seconds if seconds > 0 else None)


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
    from rich.text import Text

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
        restore: Puts the mode of the terminal back, where a process dies at once; None
            while it is as it was.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.table_out = sys.stdout.isatty()
        self.restore: Callable[[], None] | None = None
        self._terminal = sys.stderr.isatty()

    @cached_property
    def out(self) -> Console:
        """The console of stdout. A pipe never needs it, nor the import of rich."""
        return _console(sys.stdout, terminal=self.table_out)

    @cached_property
    def err(self) -> Console:
        """The console of stderr."""
        return _console(sys.stderr, terminal=self._terminal)

    @cached_property
    def coloured(self) -> bool:
        """Whether stdout is a terminal that shows colours, and NO_COLOR is not set."""
        if not self.table_out:
            return False
        console = self.out
        return console.color_system is not None and not console.no_color

    @cached_property
    def live(self) -> bool:
        """Whether stderr is a terminal that can show progress in place."""
        return self._terminal and not self.quiet and not self.err.is_dumb_terminal

    def say(self, text: Cell = "", *, style: str = "") -> None:
        """Write a message to stderr, unless `--quiet` is given."""
        if not self.quiet:
            self.complain(text, style=style)

    def complain(self, text: Cell, *, style: str = "") -> None:
        """Write an error or a question to stderr, even with `--quiet`."""
        from rich.text import Text

        shown = Text(self.fitted(harmless(str(text))))
        if isinstance(text, Text):
            style = style or str(text.style)
        self.err.print(shown, style=style, soft_wrap=True)

    def advise(self, text: str, command: str) -> None:
        """Write what to do to stderr, unless `--quiet` is given.

        At a terminal a command that does not fit gets a line of its own, so that it can
        be copied whole: the terminal wraps it without line breaks.
        """
        from rich.text import Text

        whole = f"{text} {command}"
        if not self.err.is_terminal or len(whole) <= self.err.width:
            self.say(whole)
        elif not self.quiet:
            self.complain(text)
            self.err.print(Text(f"  {harmless(command)}"), soft_wrap=True)

    def fitted(self, text: str) -> str:
        """Break a message at words for a terminal; a pipe gets it whole."""
        return wrapped(text, self.err.width) if self.err.is_terminal else text

    def line(self, text: str) -> None:
        """Write a line of the result."""
        sys.stdout.write(f"{harmless(text)}\n")

    def paragraph(self, text: str, *, style: str = "") -> None:
        """Write a sentence of the result; a terminal gets it broken at words."""
        from rich.text import Text

        text = harmless(text)
        if self.table_out:
            text = wrapped(text, self.out.width)
        self.out.print(Text(text, style), soft_wrap=True)

    def command(self, text: str, command: str) -> None:
        """Write a command of the result; one that does not fit has its own line."""
        from rich.text import Text

        whole = harmless(f"{text} {command}")
        if self.table_out and len(whole) > self.out.width:
            indent = " " * (len(text) - len(text.lstrip()) + 2)
            self.out.print(Text(harmless(text)), soft_wrap=True)
            whole = f"{indent}{harmless(command)}"
        self.out.print(Text(whole), soft_wrap=True)

    def ids(self, repo_ids: Iterable[str]) -> None:
        """Write ids, each on a line of its own."""
        for repo_id in repo_ids:
            sys.stdout.write(f"{one_word(repo_id)}\n")

    def document(self, data: Any) -> None:
        """Write the result as JSON."""
        sys.stdout.write(f"{json_text(data, indent=2)}\n")

    def rows(
        self,
        titles: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        *,
        spare: Sequence[str] = (),
        tight: Sequence[str] = (),
        whole: bool = False,
        wide: bool = False,
        least: int = _ENOUGH_LAST,
        names: bool = False,
    ) -> None:
        """Write the result as a table, or as lines of tab-separated fields.

        Args:
            titles: One for each column.
            rows: The cells.
            spare: Columns that a narrow terminal does without, the first one first, so
                that there is room for the last column.
            tight: Those of these, the last ones, for which the last column is rather
                wrapped more.
            whole: Whether the last column is wrapped at words rather than cut.
            wide: Whether a row is one line, however wide, for the terminal to wrap.
            least: How wide the last column is at least, as long as the first can be cut.
            names: Whether the first column has what people type again, so that it is
                never cut: rather the last one is, and then a row is one line.
        """
        lines = list(rows)
        if self.table_out and lines:
            width = self.out.width
            if names:
                least = len(titles[-1])
                wide = not _fits(titles, lines, width, spare, least)
            if wide:
                self._wide(titles, lines)
                return
            table = make_table(
                titles, lines, width, spare, tight=tight, whole=whole, least=least
            )
            self.out.print(table)
            return
        for row in lines:
            self.line("\t".join(clean(str(cell)) for cell in row))

    def _wide(self, titles: Sequence[str], rows: list[Sequence[Cell]]) -> None:
        from rich.text import Text

        lines = [[_one_line(cell) for cell in row] for row in rows]
        widths = _natural_widths(titles, lines)
        heads = [Text(title.upper(), "bold") for title in titles]
        for row in [heads, *lines]:
            line = Text()
            for cell, width in zip(row, widths, strict=True):
                line.append_text(cell)
                line.append(" " * (width - cell.cell_len + _GAP))
            line.rstrip()
            self.out.print(line, soft_wrap=True)

    def details(self, rows: Iterable[tuple[str, Cell]]) -> None:
        """Write a label and a value on each line."""
        lines = list(rows)
        if not self.table_out:
            self.rows((), lines)
            return
        from rich.text import Text

        width = max((len(label) for label, _ in lines), default=0)
        for label, cell in lines:
            line = Text(f"{label:<{width}}  ", style="dim")
            style = cell.style if isinstance(cell, Text) else ""
            # Not cut, so that it can be copied: the terminal wraps what is too long.
            line = Text.assemble(line, Text(clean(str(cell)), style))
            self.out.print(line, soft_wrap=True)


def _console(file: Any, *, terminal: bool) -> Console:
    from rich.console import Console

    return Console(
        file=file,
        # FORCE_COLOR and the like would put escape codes into files.
        force_terminal=terminal,
        width=None if terminal else _PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def make_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    columns: int | None = None,
    spare: Sequence[str] = (),
    *,
    tight: Sequence[str] = (),
    whole: bool = False,
    enough: int = _ENOUGH_LAST,
    least: int = _ENOUGH_LAST,
) -> Table:
    """Make a table that fits a terminal.

    Where it is too wide, the spare columns are left out as far as needed, then the
    first column is cut, and then the last one.

    Args:
        titles: One for each column.
        rows: The cells.
        columns: The width of the terminal; None cuts no column but the last.
        spare: Titles of columns that may be left out, the first one first.
        tight: Those of these, the last ones, beside which the last column of all may be
            narrow.
        whole: Whether the last column is wrapped at words rather than cut.
        enough: How wide the last column is at least, as long as others can be left out.
        least: The same, as long as the first one can be cut.
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    lines = [[_one_line(cell) for cell in row] for row in rows]
    natural = _natural_widths(titles, lines)
    shown = list(range(len(titles)))
    widths = list(natural)
    if columns is not None and len(titles) > 1:
        needed = [index for index in shown if titles[index] not in spare]
        first = widths[0] - max(0, _excess(widths, needed, columns, least))
        for title in spare:
            if title in tight:
                # Not wider than without them: it may have to be cut in any case.
                widths[0] = first
                enough = least = _TIGHT_LAST
            if _excess(widths, shown, columns, enough) > 0:
                shown.remove(titles.index(title))
        excess = _excess(widths, shown, columns, least)
        widths[0] = max(widths[0] - max(0, excess), min(widths[0], _LEAST_FIRST))
    for index in shown:
        cells = [row[index].plain for row in lines]
        told = [cell for cell in cells if cell]
        numbers = bool(told) and all(map(_NUMBER.fullmatch, told))
        last = index == shown[-1] and index > 0
        cut = widths[index] < natural[index]
        table.add_column(
            titles[index].upper(),
            # rich takes room only from columns that may wrap. The cells do not wrap, so
            # the last column is cut instead.
            no_wrap=not last,
            overflow="fold" if last and whole else "ellipsis",
            justify="right" if numbers else "left",
            min_width=None if last else widths[index],
            max_width=widths[index] if cut else None,
        )
    for row in lines:
        if whole:
            row[-1].no_wrap, row[-1].overflow = False, "fold"
        table.add_row(*(row[index] for index in shown))
    return table


def _fits(
    titles: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    columns: int,
    spare: Sequence[str],
    least: int,
) -> bool:
    """Return whether a table fits without its spare columns and with a whole first one."""
    lines = [[_one_line(cell) for cell in row] for row in rows]
    needed = [index for index, title in enumerate(titles) if title not in spare]
    return _excess(_natural_widths(titles, lines), needed, columns, least) <= 0


def _natural_widths(
    titles: Sequence[str], lines: Sequence[Sequence[Text]]
) -> list[int]:
    """Return how wide each column is that is not cut."""
    from rich.cells import cell_len

    return [
        max(len(title), *map(cell_len, _column(lines, index)))
        for index, title in enumerate(titles)
    ]


def _excess(
    widths: Sequence[int], shown: Sequence[int], columns: int, enough: int
) -> int:
    """Return how many columns are missing for the shown cells and a readable last."""
    *others, last = (widths[index] for index in shown)
    return sum(others) + _GAP * len(others) + min(last, enough) - columns


def _column(lines: Sequence[Sequence[Text]], index: int) -> list[str]:
    return ["", *(row[index].plain for row in lines)]


def _one_line(cell: Cell) -> Text:
    from rich.text import Text

    style = cell.style if isinstance(cell, Text) else ""
    return Text(clean(str(cell)), style, no_wrap=True, overflow="ellipsis")
