"""Reading many Spaces: one listing for an org, a bounded bulk for the rest."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from spaces_async.cli._board import Board
from spaces_async.cli._errors import DONE, code_of_report, hints_for, reason

if TYPE_CHECKING:
    from spaces_async.bulk import BulkReport, Operation
    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo

__all__ = ["look_at", "look_at_infos"]

T = TypeVar("T")


def look_at(
    app: App, targets: Targets, concurrency: int, operation: Operation[T]
) -> tuple[list[tuple[str, T]], int]:
    """Read something of each Space.

    What cannot be read is reported on stderr.

    Returns:
        What was read, each with its id, and the exit code.
    """
    app.concurrency = concurrency

    async def work(client: SpacesClient) -> BulkReport[T]:
        ids = [info.id for info in await _resolve(app, targets, client)]
        return await _read(app, client, ids, operation)

    return _readable(app, app.run(work))


def look_at_infos(
    app: App, targets: Targets, concurrency: int, operation: Operation[SpaceInfo]
) -> tuple[list[SpaceInfo], int]:
    """Read what `Targets.resolve` tells: for an org nothing but its listing is read."""
    app.concurrency = concurrency

    async def work(client: SpacesClient) -> BulkReport[SpaceInfo] | list[SpaceInfo]:
        if targets.org:
            return await _resolve(app, targets, client)
        return await _read(app, client, list(targets.ids), operation)

    found = app.run(work)
    if isinstance(found, list):
        return found, DONE
    pairs, code = _readable(app, found)
    return [info for _, info in pairs], code


async def _resolve(app: App, targets: Targets, client: SpacesClient) -> list[SpaceInfo]:
    output = app.output
    show = bool(output.live and targets.org)
    with output.err.status("Listing ...") if show else nullcontext():
        spaces = await targets.resolve(client)
    if not spaces:
        output.say(f"No Spaces of {targets.org} fit.")
    return spaces


async def _read(
    app: App, client: SpacesClient, ids: list[str], operation: Operation[T]
) -> BulkReport[T]:
    stream = client.bulk.stream(
        operation,
        ids,
        concurrency=app.concurrency,
        max_rate_limit_wait=app.max_wait,
    )
    with Board(app, "Read", len(ids)) as board:
        async with stream as outcomes:
            async for outcome in outcomes:
                board.outcome(outcome)
    return stream.report


def _readable(app: App, report: BulkReport[T]) -> tuple[list[tuple[str, T]], int]:
    output = app.output
    failed = [*report.failed, *report.unknown]
    # Without a live display the board has said it already, unless it was to be quiet.
    for outcome in failed if output.live or output.quiet else ():
        why = reason(outcome.error) if outcome.error else str(outcome.status)
        output.complain(f"{outcome.repo_id}: {why}")
    for hint in hints_for(outcome.error for outcome in failed):
        output.say(hint)
    pairs = [(o.repo_id, o.value) for o in report.succeeded if o.value is not None]
    return pairs, code_of_report(report)
