"""What is asked before a bulk, and what has to be typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli._confirm import confirm, confirm_number
from spaces_async.cli._output import plural
from spaces_async.cli._plan_view import has_price, priced, show_changes, totals
from spaces_async.cli._targets import names, stage_counts
from spaces_async.cli._wording import question, title, undo_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.bulk import Operation, Plan
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._output import Output
    from spaces_async.cli._targets import Targets
    from spaces_async.models import SpaceInfo

__all__ = ["ask_about_ids", "ask_about_plan", "require_count"]

_NAMED_SPACES: Final = 20
"""How many Spaces are named before they are deleted."""


async def ask_about_plan(
    output: Output,
    operation: Operation[Any] | None,
    plan: Plan,
    spaces: Sequence[SpaceInfo],
    targets: Targets,
    *,
    pacing: str,
) -> None:
    """Ask before a write to a whole org, or before an undo.

    Args:
        output: Where to ask.
        operation: What is done; None for an undo.
        plan: What is going to be sent.
        spaces: The Spaces that it is sent to, as they were listed.
        targets: Which Spaces the command is for.
        pacing: In which waves; "" without.

    Raises:
        NoTerminalError: There is no terminal to ask at.
        Exit: The answer was no.
    """
    if operation is None:
        show_changes(output, plan)
        output.complain(f"  {totals(plan, priced=not has_price(plan))}")
        _show_pacing(output, pacing)
        text = undo_question(plan.operation, plural(len(plan.changes)))
        await confirm(output, priced(text, plan))
    elif targets.org:
        stages = ", ".join(f"{n} {stage}" for stage, n in stage_counts(spaces))
        whose = f"{plural(len(spaces))} of {targets.org}"
        output.complain(f"{whose}: {stages}")
        output.complain(f"  {names(spaces)}")
        output.complain(f"  {totals(plan, priced=not has_price(plan))}")
        _show_pacing(output, pacing)
        await confirm(output, priced(question(operation, whose, plan.operation), plan))


def _show_pacing(output: Output, pacing: str) -> None:
    if pacing:
        output.complain(f"  {pacing[0].lower()}{pacing[1:].removesuffix('.')}")


async def ask_about_ids(
    output: Output, operation: Operation[Any], ids: Sequence[str], targets: Targets
) -> None:
    """Ask before something that cannot be undone; the Spaces are named.

    Raises:
        NoTerminalError: There is no terminal to ask at.
        Exit: The answer was no.
    """
    what = title(operation.name)
    if len(ids) == 1:
        await confirm(output, f"{what} {ids[0]} for good?")
        return
    for repo_id in ids[:_NAMED_SPACES]:
        output.complain(f"  {repo_id}")
    if (more := len(ids) - _NAMED_SPACES) > 0:
        output.complain(f"  and {more} more")
    count = "" if targets.are_typed else f" --count {len(ids)}"
    await confirm_number(
        output,
        f"{what} these {plural(len(ids))} for good?",
        len(ids),
        instead=f"--yes{count}",
    )


def require_count(
    count: int, arguments: BulkArguments, targets: Targets, *, resumes: bool
) -> None:
    """Refuse a deletion of another number of Spaces than a script expects.

    Args:
        count: How many would be deleted.
        arguments: The options.
        targets: Which Spaces the command is for.
        resumes: Whether a journal says which ones.

    Raises:
        UsageError: It is another number, or --yes does not say how many.
    """
    told = targets.are_typed or resumes
    if arguments.how_many is not None and arguments.how_many != count:
        raise click.UsageError(
            f"--count {arguments.how_many}, and {plural(count)} would be deleted. Nothing"
            " was sent."
        )
    if arguments.yes and arguments.how_many is None and not told:
        raise click.UsageError(
            f"{plural(count)} would be deleted: --yes needs --count {count} for Spaces"
            " that are not named in the command."
        )
