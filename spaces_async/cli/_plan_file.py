"""`--report FILE` with `--dry-run`: the plan for people and programs that were not there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _costs
from spaces_async.cli._html_page import document, folded, table, tiles
from spaces_async.cli._output import plural
from spaces_async.cli._plan_view import PLAN_TITLES, plan_rows, totals
from spaces_async.cli._report_file import write_file
from spaces_async.cli._tables import csv_table, markdown_cell, markdown_table
from spaces_async.cli._text import json_text
from spaces_async.cli._times import when
from spaces_async.cli._wording import title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spaces_async.bulk import Plan, PlannedChange
    from spaces_async.cli._app import App

__all__ = ["text_of_plan", "write_plan"]

_OPEN_ROWS: Final = 50
"""Where there are more, the table of the HTML is folded."""
_COLUMNS: Final = (
    *("repo_id", "plan", "reason", "before", "after"),
    *("restarts", "cost_per_hour", "requests"),
)


def write_plan(app: App, plan: Plan, path: Path) -> None:
    """Write a plan to a file, whole or not at all.

    Args:
        app: The run.
        plan: The plan.
        path: The file; its ending says in which form.
    """
    write_file(app, path, text_of_plan(plan, path.suffix.lower(), datetime.now(UTC)))


def text_of_plan(plan: Plan, form: str, made: datetime) -> str:
    """Return a plan in one of the forms of `--report`.

    Args:
        plan: The plan.
        form: The ending of the file.
        made: When it was made.
    """
    return _WRITERS[form](plan, made)


def _head(plan: Plan) -> str:
    return f"Plan: {title(plan.operation)}"


def _below(plan: Plan, made: datetime) -> str:
    at = when(made, made).removesuffix(" (now)")
    return f"{totals(plan)}; made {at}. Nothing was sent."


def _cells(plan: Plan) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in plan_rows(plan)]


def _html(plan: Plan, made: datetime) -> str:
    counts = [
        (len(plan.changes), "to change", "#2e8b57"),
        (len(plan.unchanged), "unchanged", "#8a9ba8"),
        (len(plan.skipped), "skipped", "#d98e04"),
        (plan.requests, "requests", "#6f42c1"),
        (plan.restarts, "restarts", "#6f42c1"),
    ]
    shown = [(str(count), what, colour) for count, what, colour in counts if count]
    rows = _cells(plan)
    whole = table(PLAN_TITLES, rows)
    few = len(rows) <= _OPEN_ROWS
    parts = [tiles(shown), folded(f"All {plural(len(rows))}", whole, is_open=few)]
    return document(_head(plan), _below(plan, made), parts)


def _markdown(plan: Plan, made: datetime) -> str:
    rows = ([markdown_cell(cell) for cell in row] for row in _cells(plan))
    lines = [
        *(f"# {_head(plan)}", "", markdown_cell(_below(plan, made)), ""),
        *markdown_table(PLAN_TITLES, rows),
    ]
    return "\n".join(lines) + "\n"


def _csv(plan: Plan, made: datetime) -> str:  # noqa: ARG001  (of all forms)
    groups = (
        ("change", plan.changes),
        ("unchanged", plan.unchanged),
        ("skipped", plan.skipped),
    )
    rows = (_row(word, change) for word, changes in groups for change in changes)
    return csv_table(_COLUMNS, rows)


def _row(word: str, change: PlannedChange) -> list[str]:
    def fields(values: Mapping[str, Any]) -> str:
        return "; ".join(f"{name}: {value}" for name, value in values.items())

    restarts = "" if change.restarts is None else str(change.restarts).lower()
    cost = _costs.UNKNOWN if change.cost is None else str(change.cost)
    return [
        *(change.repo_id, word, change.reason or ""),
        *(fields(change.before), fields(change.after)),
        *(restarts, cost, "; ".join(map(str, change.requests))),
    ]


def _json(plan: Plan, made: datetime) -> str:
    data = {"made": made.isoformat(timespec="seconds"), **plan.to_dict()}
    return f"{json_text(data, indent=2)}\n"


_WRITERS: Final[Mapping[str, Callable[[Plan, datetime], str]]] = {
    ".csv": _csv,
    ".json": _json,
    ".md": _markdown,
    ".html": _html,
}
