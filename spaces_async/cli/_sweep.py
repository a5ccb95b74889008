"""`sweep`: pause what costs money and is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from spaces_async import _costs
from spaces_async.bulk import operations
from spaces_async.cli._bulk import BulkCommand, show_nothing
from spaces_async.cli._confirm import confirm
from spaces_async.cli._cost_text import not_measured
from spaces_async.cli._output import plural
from spaces_async.cli._spending import read_spending
from spaces_async.cli._targets import Targets, names
from spaces_async.cli._use import Use
from spaces_async.client import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._spending import Cost, Spending
    from spaces_async.cli._use import Question
    from spaces_async.client import SpacesClient

__all__ = ["run_sweep"]

_NAMED_SPACES: Final = 20
"""How many Spaces are named before they are paused."""


def run_sweep(
    app: App, targets: Targets, question: Question, arguments: BulkArguments
) -> int:
    """Pause the paid Spaces that run unused, and return the exit code."""
    if not str(question):
        raise click.UsageError(
            "What is unused? Without a sample, --unused-for TIME says it."
        )
    output = app.output
    if not arguments.dry_run:
        app.run(lambda client: app.require_token(session_of(client)))
    spending, code = read_spending(app, targets, arguments.concurrency, question)
    unused = spending.unused
    asks = not (arguments.yes or arguments.dry_run)
    if spending.costs:
        # What is asked about is shown even with --quiet.
        _show(output.complain if asks and unused else output.say, spending, unused)
    if not unused:
        output.say("Nothing to pause.")
        show_nothing(app, "pause", arguments)
        return code
    if asks:
        _ask(app, spending, unused)
    command = BulkCommand(
        app,
        operations.pause(),
        Targets(ids=tuple(cost.info.id for cost in unused)),
        arguments,
    )
    paused = command.run()
    if command.report is not None:
        done = {outcome.repo_id for outcome in command.report.succeeded}
        saved = _costs.total(c.rate for c in unused if c.info.id in done).known
        output.say(f"That saves {_costs.per_hour(saved)}.")
    return paused or code


def _show(
    say: Callable[[str], None], spending: Spending, unused: Sequence[Cost]
) -> None:
    running = sum(cost.use is not None for cost in spending.costs)
    verb, end = "is" if len(unused) == 1 else "are", ":" if unused else "."
    say(
        f"{len(unused)} of {plural(running, 'paid Space')} now running {verb} unused"
        f" ({spending.question}){end}"
    )
    named = unused[:_NAMED_SPACES]
    width = max((len(cost.info.id) for cost in named), default=0)
    for cost in named:
        rate = _costs.per_hour(cost.rate)
        say(f"  {cost.info.id:<{width}}  {rate:>9}  {cost.hardware}")
    if (more := len(unused) - len(named)) > 0:
        say(f"  and {more} more")
    unpriced = [
        c.info for c in spending.costs if c.use is Use.UNUSED and c.rate is None
    ]
    if unpriced:
        say(f"Left alone, since the price is unknown: {names(unpriced)}.")
    for line in not_measured(spending):
        say(line)


def _ask(app: App, spending: Spending, unused: Sequence[Cost]) -> None:
    saving = _costs.per_hour(spending.saving)
    them = f"these {len(unused)}" if len(unused) > 1 else unused[0].info.id
    text = f"Pause {them}, which saves {saving}?"

    async def work(_: SpacesClient) -> None:
        await confirm(app.output, text)

    app.run(work)
