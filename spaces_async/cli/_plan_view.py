"""A plan as people and programs see it: rows, a line of totals, and the price."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.text import Text

from spaces_async import _costs
from spaces_async.bulk._engine.planner import NEEDS_PLAN, NO_ACCESS
from spaces_async.bulk._engine.space_run import ALREADY_SO, STATIC
from spaces_async.cli._errors import FAILED, PLAN_HINT, REFUSED, WRITE_ACCESS_HINT
from spaces_async.cli._output import plural
from spaces_async.cli._text import clean
from spaces_async.cli._wording import already_text, title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from spaces_async.bulk import Plan, PlannedChange
    from spaces_async.cli._output import Output

__all__ = [
    "PLAN_TITLES",
    "has_price",
    "plan_rows",
    "priced",
    "refusal_of",
    "say_left_out",
    "show_changes",
    "show_plan",
    "totals",
]

_SHOWN_CHANGES: Final = 20
"""How many Spaces a question names."""

_LEAST_CHANGE: Final = 44
"""A change is cut after the id of its Space: its end says what the Space gets."""
PLAN_TITLES: Final = ("Space", "plan", "change", "per hour", "request")


def show_plan(
    output: Output, plan: Plan, *, waves: Sequence[int] | None = None
) -> None:
    """Write a plan to stdout, and its totals to stderr.

    Args:
        output: Where to.
        plan: The plan.
        waves: How many of its changes are in each wave; None without waves.
    """
    if output.json:
        more = {} if waves is None else {"waves": list(waves)}
        output.document(plan.to_dict() | more)
    else:
        titles, rows = [*PLAN_TITLES], plan_rows(plan)
        if rows:
            spare = ["request", "per hour"]
            at = PLAN_TITLES.index("per hour")
            if output.table_out and not any(str(row[at]) for row in rows):
                titles.remove(spare.pop())
                rows = [(*row[:at], *row[at + 1 :]) for row in rows]
            output.rows(titles, rows, spare=spare, least=_LEAST_CHANGE)
    output.say(f"Dry run: nothing was sent. {title(plan.operation)}: {totals(plan)}.")


def plan_rows(plan: Plan) -> list[tuple[str | Text, ...]]:
    """Return a row for each Space below `PLAN_TITLES`: changes first, then the others."""
    spaces = (*plan.changes, *plan.unchanged, *plan.skipped)
    return [_row(each, plan.operation) for each in spaces]


def _row(change: PlannedChange, operation: str) -> tuple[str | Text, ...]:
    if change.reason == ALREADY_SO:
        why = already_text(operation)
        return change.repo_id, Text("unchanged", style="green"), why, "", ""
    if change.reason is not None:
        why = clean(change.reason)
        return change.repo_id, Text("skipped", style="yellow"), why, "", ""
    requests = "; ".join(str(request) for request in change.requests)
    return change.repo_id, "change", _what(change), _signed(change.cost), requests


def _what(change: PlannedChange) -> str:
    """Return what changes of a Space: "stage: RUNNING -> PAUSED"."""
    return clean(str(change).removeprefix(change.repo_id)) if change.after else ""


def _signed(amount: Decimal | None) -> str:
    """Return the change of a rate: "+$0.40/h"; nothing if there is none."""
    if amount is None:
        return _costs.UNKNOWN
    if not amount:
        return ""
    return f"{'+' if amount > 0 else '-'}{_costs.per_hour(abs(amount))}"


def totals(plan: Plan, *, priced: bool = True) -> str:
    """Return what a plan comes to: "3 to change, 3 requests, saves $0.40/h".

    Args:
        plan: The plan.
        priced: Whether the price is part of it.
    """
    text = plan.summary().removeprefix(f"{plan.operation}: ")
    return text if priced else text.replace(f", {plan.cost_text()}", "", 1)


def has_price(plan: Plan) -> bool:
    """Return whether a plan changes something about the cost."""
    return bool(plan.costs.known or plan.costs.unknown)


def priced(question: str, plan: Plan) -> str:
    """Return a question with what a plan changes about the cost, if it does.

    Args:
        question: The question, with its "?".
        plan: The plan.
    """
    if not has_price(plan):
        return question
    which = "which " if plan.costs.known else ""
    return f"{question.removesuffix('?')}, {which}{plan.cost_text()}?"


def say_left_out(output: Output, plan: Plan) -> None:
    """Say how many Spaces nothing will be sent to, and why."""
    reasons = Counter(str(change.reason) for change in plan.skipped)
    for reason, count in reasons.items():
        if reason == STATIC:
            output.say(
                f"{plural(count, 'static Space')} will be skipped: nothing runs there."
            )
        else:
            output.say(f"{plural(count)} will be skipped: {clean(reason)}.")
    if same := len(plan.unchanged):
        output.say(
            f"{plural(same)} will be left unchanged: {already_text(plan.operation)}."
        )


def show_changes(output: Output, plan: Plan) -> None:
    """Show what would be changed, before a question about it."""
    shown = plan.changes[:_SHOWN_CHANGES]
    width = max((len(change.repo_id) for change in shown), default=0)
    for change in shown:
        line = f"  {change.repo_id:<{width}}  {_what(change)}"
        cost = _signed(change.cost)
        output.complain(f"{line}  {cost}".rstrip())
    if (more := len(plan.changes) - len(shown)) > 0:
        output.complain(f"  and {more} more")


def refusal_of(plan: Plan | None) -> tuple[int, str] | None:
    """Return the exit code and the advice if a plan changes nothing that it should.

    None is a plan that changes something, or has nothing to change.
    """
    if plan is None or plan.changes:
        return None
    reasons = [change.reason or "" for change in plan.skipped]
    if NO_ACCESS in reasons:
        return REFUSED, WRITE_ACCESS_HINT
    if any(reason.endswith(NEEDS_PLAN) for reason in reasons):
        return FAILED, PLAN_HINT
    return None
