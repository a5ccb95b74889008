"""`wake` and `unpause`: restart only what does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import evolve

from spaces_async.bulk import operations
from spaces_async.cli._bulk import BulkCommand, show_nothing
from spaces_async.cli._read import read_infos
from spaces_async.cli._status_command import read_info
from spaces_async.cli._targets import stages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets

__all__ = ["run_wake"]


def run_wake(
    app: App,
    targets: Targets,
    arguments: BulkArguments,
    stages: Sequence[str],
) -> int:
    """Restart those Spaces that are in some stages, and leave the others alone.

    Args:
        app: The run.
        targets: The Spaces.
        arguments: The options of the bulk.
        stages: The stages, or words for groups of them.

    Returns:
        The exit code.
    """
    code = 0
    if targets.selection is not None:
        if targets.selection.stages is not None:
            raise click.UsageError(
                "This command chooses the stages itself: use `restart` with --stage."
            )
        targets = evolve(targets, selection=evolve(targets.selection, stages=stages))
    else:
        targets, code = _only_in(app, targets, arguments, stages)
        if not targets.ids:
            show_nothing(app, "restart", arguments)
            return code
    restarted = BulkCommand(app, operations.restart(), targets, arguments).run()
    return restarted or code


def _only_in(
    app: App, targets: Targets, arguments: BulkArguments, stages: Sequence[str]
) -> tuple[Targets, int]:
    """Return those of the ids that are in the stages; the others are named on stderr."""
    found, code = read_infos(app, targets, arguments.concurrency, read_info)
    wanted = stages_of(stages)
    for info in found:
        if info.stage not in wanted:
            app.output.say(f"{info.id} is {info.stage}: left alone.")
    ids = tuple(info.id for info in found if info.stage in wanted)
    return evolve(targets, ids=ids), code
