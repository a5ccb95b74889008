"""`status --watch`: look again and again.

A terminal shows one live line for each Space, as many as fit, the most urgent first; keys
scroll and sort. Elsewhere each change is a line.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from spaces_async.cli._errors import reason
from spaces_async.cli._keys import END_OF_INPUT, keys_read
from spaces_async.cli._output import human_seconds, make_table
from spaces_async.cli._status import StatusView, read_prices, sorted_spaces, totals
from spaces_async.cli._status_command import json_data, read_info
from spaces_async.cli._status_options import SORTS
from spaces_async.cli._text import clean, json_text, one_word
from spaces_async.cli._times import clock_time, short_age
from spaces_async.cli._waiting import QuotaHold
from spaces_async.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    SpacesError,
)
from spaces_async.models import SpaceInfo, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient

__all__ = ["Change", "Fleet", "Screen", "watch"]

_LISTED_FIELDS: Final = ("runtime", "sdk", "private")
_MOST_SEPARATE: Final = 2
"""Up to this many Spaces of an owner, a read of each is as cheap as a listing."""
_FINAL: Final = (AuthenticationError, PermissionDeniedError, ConfigurationError)
"""What another look would not change."""
_REDRAW_SECONDS: Final = 1.0
_AROUND_THE_ROWS: Final = 3
"""Lines of the screen that are not rows: the titles and two at the bottom."""
_ERROR_COLUMNS: Final = 60
"""A row is one line here: for so much of an error other columns are left out."""
_CHANGED_SECONDS: Final = 30.0
"""For so long a changed line is marked."""


@define
class Change:
    """What a look found to be different; a stage of None is none that was seen."""

    info: SpaceInfo
    before: SpaceStage | None
    after: SpaceStage | None


@define
class _Line:
    info: SpaceInfo
    since: float
    changed: bool = False


@define
class Fleet:
    """What was seen of each Space, and since when it is so. Pure."""

    _lines: dict[str, _Line] = field(factory=dict[str, _Line])

    def update(self, infos: Iterable[SpaceInfo], now: float) -> list[Change]:
        """Take in what a look saw, and return what has changed since the one before.

        Args:
            infos: All Spaces, as they are now; one that is missing is gone.
            now: The time.
        """
        changes: list[Change] = []
        is_first, seen = not self._lines, set[str]()
        for info in infos:
            seen.add(info.id)
            line = self._lines.get(info.id)
            if line is None:
                self._lines[info.id] = _Line(info, now, changed=not is_first)
                if not is_first:
                    changes.append(Change(info, None, info.stage))
                continue
            if line.info.stage != info.stage:
                changes.append(Change(info, line.info.stage, info.stage))
                line.since, line.changed = now, True
            line.info = info
        for repo_id in [r for r in self._lines if r not in seen]:
            line = self._lines.pop(repo_id)
            changes.append(Change(line.info, line.info.stage, None))
        return changes

    @property
    def infos(self) -> list[SpaceInfo]:
        """The Spaces as they were seen last."""
        return [line.info for line in self._lines.values()]

    def age(self, repo_id: str, now: float) -> str:
        """Return for how long a Space has been in its stage, as far as was seen."""
        line = self._lines[repo_id]
        text = short_age(now - line.since)
        return text if line.changed else f">{text}"

    def is_fresh(self, repo_id: str, now: float) -> bool:
        """Return whether the stage of a Space changed a short time ago."""
        line = self._lines[repo_id]
        return line.changed and now - line.since < _CHANGED_SECONDS


class _Reader:
    """Looks at the Spaces, with as few calls as possible."""

    def __init__(self, client: SpacesClient, targets: Targets, app: App) -> None:
        self._client = client
        self._targets = targets
        self._app = app
        self._ids: set[str] | None = None
        self._owners: list[str] = []

    async def look(self) -> list[SpaceInfo]:
        """Return all Spaces that are watched, as they are now."""
        if self._ids is None:
            return await self._first_look()
        found: list[SpaceInfo] = []
        for owner in self._owners:
            mine = {r for r in self._ids if r.partition("/")[0] == owner}
            found += await self._of_owner(owner, mine)
        return found

    async def _first_look(self) -> list[SpaceInfo]:
        targets = self._targets
        if targets.selection is None:
            self._ids = set(targets.ids)
            self._owners = list(dict.fromkeys(r.partition("/")[0] for r in targets.ids))
            return await self.look()
        found = await targets.resolve(self._client, self._app.output)
        # Those that were chosen stay in sight, whatever stage they go to.
        self._ids = {info.id for info in found}
        self._owners = list(targets.selection.author)
        return found

    async def _of_owner(self, owner: str, ids: set[str]) -> list[SpaceInfo]:
        catalog = self._client.catalog
        is_whole = self._targets.is_whole
        if not is_whole and len(ids) <= _MOST_SEPARATE:
            return [await read_info(self._client, repo_id) for repo_id in sorted(ids)]
        listing = catalog.list_spaces(author=owner, expand=_LISTED_FIELDS)
        return [info async for info in listing if is_whole or info.id in ids]


@define
class Screen:
    """The live table: which rows it shows, in which order.

    Attributes:
        view: The columns.
        sort: The order.
        top: The first row that is shown.
        note: Why the last look failed; "" if it did not.
        wait: Why the next one waits; "" if it does not.
        is_done: Whether it is to end.
    """

    view: StatusView
    sort: str
    top: int = 0
    note: str = ""
    wait: str = ""
    is_done: bool = False

    def press(self, key: str, page: int, count: int) -> None:
        """Act on a key; unknown ones do nothing.

        Args:
            key: What was typed.
            page: How many rows fit.
            count: How many rows there are.
        """
        steps = {
            **dict.fromkeys(("j", "\x1b[B", "\x1bOB"), 1),
            **dict.fromkeys(("k", "\x1b[A", "\x1bOA"), -1),
            **dict.fromkeys((" ", "\x1b[6~"), page),
            **dict.fromkeys(("b", "\x1b[5~"), -page),
            "g": -count,
            "G": count,
        }
        if key in {"q", END_OF_INPUT}:
            self.is_done = True
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            self.top = 0
        elif key in steps:
            self.top = max(0, min(self.top + steps[key], count - page))

    def draw(
        self, fleet: Fleet, now: float, clock: datetime, size: tuple[int, int]
    ) -> Any:
        """Return what a terminal shows.

        Args:
            fleet: The Spaces.
            now: The time, as that of the fleet.
            clock: The time of the day.
            size: Columns and lines of the terminal.
        """
        from rich.console import Group
        from rich.text import Text

        columns, lines = size
        page = page_size(lines)
        infos = sorted_spaces(fleet.infos, self.sort, self.view.rate)
        self.top = max(0, min(self.top, len(infos) - page))
        shown = infos[self.top : self.top + page]
        rows = [self._row(fleet, info, now) for info in shown]
        titles = [*self.view.titles[:2], "for", *self.view.titles[2:]]
        spare = self.view.spare
        table = make_table(titles, rows, columns, spare, enough=_ERROR_COLUMNS)
        below = [Text("") for _ in range(page - len(rows))]
        last = f"{self.top + 1}-{self.top + len(shown)} of {len(infos)}"
        keys = f"{last}, by {self.sort} | s: sort, j k space b: scroll, q: quit"
        if note := self.wait or self.note:
            status = Text(clean(note), "yellow", no_wrap=True, overflow="ellipsis")
        else:
            text = f"{clock_time(clock)}  {totals(infos, self.view.rate)}"
            status = Text(text, no_wrap=True, overflow="ellipsis")
        help_line = Text(keys, "dim", no_wrap=True, overflow="ellipsis")
        return Group(table, *below, status, help_line)

    def _row(self, fleet: Fleet, info: SpaceInfo, now: float) -> list[Any]:
        from rich.text import Text

        space, stage, *others = self.view.row(info)
        is_fresh = fleet.is_fresh(info.id, now)
        if is_fresh:
            space = Text(str(space), "bold")
        return [space, stage, fleet.age(info.id, now), *others]


def page_size(lines: int) -> int:
    """Return how many rows fit into so many lines of a terminal."""
    return max(1, lines - _AROUND_THE_ROWS)


def watch(app: App, targets: Targets, view: StatusView, sort: str, every: float) -> int:
    """Show Spaces again and again, until Ctrl-C, or q at a terminal.

    Args:
        app: The run.
        targets: The Spaces.
        view: The columns.
        sort: The order.
        every: Seconds between two looks.

    Returns:
        The exit code.
    """
    output = app.output
    live = output.table_out and not output.json and not output.out.is_dumb_terminal

    async def work(client: SpacesClient) -> None:
        watcher = _Watcher(app, client, targets, every)
        if live:
            await watcher.on_screen(Screen(view, sort))
        else:
            await watcher.in_lines()

    if live:
        # Before the event loop runs, which an import would block.
        import_module("rich.live")
        import_module("spaces_async.cli._progress")
    app.run(work)
    return 0


class _Watcher:
    def __init__(
        self, app: App, client: SpacesClient, targets: Targets, every: float
    ) -> None:
        self._app = app
        self._output = app.output
        self._client = client
        self._every = every
        self._reader = _Reader(client, targets, app)
        self._fleet = Fleet()

    async def _look(self) -> tuple[list[Change], str]:
        """Look once; return what has changed, and why it failed."""
        try:
            infos = await self._reader.look()
        except _FINAL:
            raise
        except SpacesError as error:
            if not self._fleet.infos:
                raise
            again = human_seconds(self._every)
            return [], f"Not read: {reason(error)}; again in {again}."
        return self._fleet.update(infos, self._client.clock.monotonic()), ""

    # Lines ---------------------------------------------------------------------------

    async def in_lines(self) -> None:
        """Write a line for each change."""
        output = self._output
        await self._look()
        infos = self._fleet.infos
        prices = await read_prices(output, self._client, infos)
        from spaces_async import _costs

        output.say(totals(infos, lambda info: _costs.rate(info, prices)))
        told = ""
        while True:
            await self._client.clock.sleep(self._every)
            changes, note = await self._look()
            if note and note != told:
                output.complain(note)
            told = note
            for change in changes:
                self._write(change)

    def _write(self, change: Change) -> None:
        now = self._client.clock.utcnow().isoformat(timespec="seconds")
        now = now.replace("+00:00", "Z")
        before, after = (str(s or "-") for s in (change.before, change.after))
        if self._output.json:
            fields = {"time": now, "before": change.before, **json_data(change.info)}
            fields["stage"] = change.after
            sys.stdout.write(f"{json_text(fields)}\n")
        else:
            runtime = change.info.runtime
            error = clean((runtime.error_message if runtime else None) or "")
            cells = [now, one_word(change.info.id), clean(before), clean(after), error]
            sys.stdout.write("\t".join(cells) + "\n")
        # The reader of the pipe wants to see it now.
        sys.stdout.flush()

    # A screen ------------------------------------------------------------------------

    async def on_screen(self, screen: Screen) -> None:
        """Show a live table until q is pressed."""
        from attrs import evolve
        from rich.live import Live

        from spaces_async.cli._progress import Busy

        output, client = self._output, self._client
        with Busy(self._app, "Listing"):
            await self._look()
        prices = await read_prices(output, client, self._fleet.infos)
        screen.view = evolve(screen.view, prices=prices)
        pressed, hold = asyncio.Event(), QuotaHold()
        self._app.on_wait = hold.begin
        looking: asyncio.Task[tuple[list[Change], str]] | None = None
        try:
            with (
                Live(console=output.out, screen=True, auto_refresh=False) as live,
                keys_read(output, lambda key: self._press(screen, key, pressed)),
            ):
                next_look = client.clock.monotonic() + self._every
                while not screen.is_done:
                    screen.wait = hold.text(self._app.now())
                    live.update(self._drawn(screen), refresh=True)
                    pressed.clear()
                    await self._moment(pressed, looking)
                    if looking is not None and looking.done():
                        _, screen.note = looking.result()
                        looking = None
                        next_look = client.clock.monotonic() + self._every
                    elif looking is None and client.clock.monotonic() >= next_look:
                        # Beside it, so that keys work however long it takes.
                        looking = asyncio.create_task(self._look())
        finally:
            self._app.on_wait = None
            if looking is not None:
                looking.cancel()
                await asyncio.wait([looking])
        output.say(totals(self._fleet.infos, screen.view.rate))

    async def _moment(
        self, pressed: asyncio.Event, looking: asyncio.Task[Any] | None
    ) -> None:
        """Wait for a key, for the end of a look, or until it is time to draw again."""
        key = asyncio.create_task(pressed.wait())
        seconds = min(_REDRAW_SECONDS, self._every)
        first = asyncio.FIRST_COMPLETED
        try:
            awaited = [key] if looking is None else [key, looking]
            await asyncio.wait(awaited, timeout=seconds, return_when=first)
        finally:
            key.cancel()
            await asyncio.wait([key])

    def _press(self, screen: Screen, key: str, pressed: asyncio.Event) -> None:
        page = page_size(self._output.out.height)
        screen.press(key, page, len(self._fleet.infos))
        pressed.set()

    def _drawn(self, screen: Screen) -> Any:
        out, clock = self._output.out, self._client.clock
        size = (out.width, out.height)
        return screen.draw(self._fleet, clock.monotonic(), clock.utcnow(), size)
