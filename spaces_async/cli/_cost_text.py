"""What Spaces cost, in words: a table, CSV, and what it comes to in all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async import _costs
from spaces_async._costs import Sum
from spaces_async.cli._output import plural
from spaces_async.cli._tables import csv_table
from spaces_async.cli._targets import names
from spaces_async.cli._use import Use

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async.cli._output import Cell
    from spaces_async.cli._spending import Cost, Spending

__all__ = ["TITLES", "csv_text", "money", "not_measured", "rows", "summary"]

TITLES: Final = ("Space", "hardware", "per hour", "this month", "now")

_CSV_TITLES: Final = (
    *("id", "stage", "hardware", "replicas", "usd_per_hour", "usd_this_period"),
    *("use", "last_modified"),
)


def money(amount: Sum | None, *, hourly: bool = False) -> str:
    """Return a sum for people: "$1.20/h", "$1.20/h and 2 unknown", "unknown"."""
    if amount is None or (amount.unknown and not amount.known):
        return _costs.UNKNOWN
    text = (_costs.per_hour if hourly else _costs.dollars)(amount.known)
    return f"{text} and {amount.unknown} unknown" if amount.unknown else text


def csv_text(costs: Iterable[Cost]) -> str:
    """Return costs as CSV, with a line of titles; "unknown" is what is not known."""
    rows: list[list[str]] = []
    for cost in costs:
        data = cost.to_dict()
        data["use"] = data["use"] or ""
        data["stage"] = data["stage"] or ""
        data["last_modified"] = data["last_modified"] or ""
        data["hardware"] = data["hardware"] or ""
        rows.append([_csv_cell(data[title]) for title in _CSV_TITLES])
    return csv_table(_CSV_TITLES, rows)


def _csv_cell(value: object) -> str:
    if value is None:
        return _costs.UNKNOWN
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def summary(spending: Spending) -> list[str]:
    """Return what all of it costs, and what can be saved."""
    spent, since = spending.spent, spending.since
    month = "" if spent is None else f", {money(spent)} since {since:%Y-%m-%d}"
    if since is None and spent is not None:
        month = f", {money(spent)} in this period"
    estimate = " (an estimate)" if spending.is_estimate else ""
    lines = [f"In all: {money(spending.rate, hourly=True)}{estimate}{month}."]
    unused = spending.unused
    if unused:
        them = "this one" if len(unused) == 1 else f"these {len(unused)}"
        lines += [
            f"Unused ({spending.question}): {names([c.info for c in unused])}.",
            (
                f"Pausing {them} saves {_costs.per_hour(spending.saving)}:"
                " `spaces-async sweep` with the same options."
            ),
        ]
    return lines + not_measured(spending)


def not_measured(spending: Spending) -> list[str]:
    """Return a note on those of which it is not known whether they are used."""
    unknown = [cost for cost in spending.costs if cost.use is Use.UNKNOWN]
    if not unknown or not str(spending.question):
        return []
    why = next((c.sample.why for c in unknown if c.sample and c.sample.why), None)
    because = f": {why}" if why else ""
    verb = "is" if len(unknown) == 1 else "are"
    return [f"Whether {plural(len(unknown))} {verb} used is unknown{because}."]


def rows(costs: Iterable[Cost], *, for_people: bool) -> list[tuple[Cell, ...]]:
    """Return the cells of a table: Space, hardware, per hour, this month, now."""
    return [
        (
            cost.info.id,
            cost.hardware,
            _amount(
                Sum(cost.rate) if cost.rate is not None else Sum(unknown=1),
                hourly=True,
                for_people=for_people,
            ),
            _amount(cost.spent, hourly=False, for_people=for_people),
            cost.now,
        )
        for cost in costs
    ]


def _amount(amount: Sum | None, *, hourly: bool, for_people: bool) -> str:
    if for_people:
        return money(amount, hourly=hourly)
    exact = None if amount is None else amount.exact
    return _costs.UNKNOWN if exact is None else f"{exact:.4f}"
