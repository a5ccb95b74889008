"""`runs`: what bulk commands have done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from spaces_async.cli._output import plural
from spaces_async.cli._runs import (
    COUNTED,
    IN_STORE,
    RunState,
    StoreNote,
    as_json,
    folder_text,
    runs,
)
from spaces_async.cli._text import clean, local_time
from spaces_async.cli._wording import described, title
from spaces_async.errors import JournalError

if TYPE_CHECKING:
    from spaces_async.cli._output import Output
    from spaces_async.cli._runs import Run

__all__ = ["TITLES", "row_of", "show_runs"]

TITLES = ("run", "began", "state", "org", *COUNTED, "what")
_RARE = ("skipped", "unknown")
"""Columns that a terminal does without where they say nothing."""
_STYLES = {"running": "green", "finished": "", "interrupted": "yellow"}


def show_runs(output: Output) -> int:
    """Show the runs, and return the exit code."""
    found = [(run, _read(run)) for run in runs()]
    if output.json:
        output.document([as_json(run, state) for run, state in found])
        return 0
    rows = [row_of(run, state) for run, state in found]
    shown = [
        at
        for at, title in enumerate(TITLES)
        if not output.table_out
        or title not in _RARE
        or any(row[at] not in {"", "0"} for row in rows)
    ]
    output.rows(
        [TITLES[at] for at in shown],
        [[row[at] for at in shown] for row in rows],
        spare=("began",),
        names=True,
    )
    if not found:
        output.say(f"No runs yet. They are kept in {folder_text()}.")
        return 0
    stopped = [
        run
        for run, state in found
        if isinstance(state, RunState) and state.word == "interrupted"
    ]
    if stopped:
        output.advise(
            f"{plural(len(stopped), 'run')} interrupted. To go on with the newest:",
            f"spaces-async resume {stopped[0].name}",
        )
    return 0


def _read(run: Run) -> RunState | StoreNote | JournalError:
    try:
        return run.note() if run.is_in_store else run.read()
    except JournalError as error:
        return error


def row_of(
    run: Run, found: RunState | StoreNote | JournalError
) -> tuple[str | Text, ...]:
    """Return what is told of a run, below `TITLES`."""
    began = "" if run.began is None else f"{local_time(run.began):%Y-%m-%d %H:%M}"
    if isinstance(found, JournalError):
        why = Text("unreadable", style="red")
        return run.name, began, why, "", *("" for _ in COUNTED), clean(str(found))
    first, *others = found.owners or [""]
    org = clean(f"{first} +{len(others)}" if others else first)
    if isinstance(found, StoreNote):
        what = clean(f"{title(found.operation)}, {found.store}")
        return run.name, began, IN_STORE, org, *("" for _ in COUNTED), what
    counts = found.counts()
    what = described(found.header.operation, found.header.parameters)
    return (
        run.name,
        began,
        Text(found.word, style=_STYLES[found.word]),
        org,
        *(str(counts[word]) for word in COUNTED),
        what,
    )
