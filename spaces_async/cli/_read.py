"""Reading many Spaces: one listing for an org, a bounded bulk for ids."""

from __future__ import annotations

from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from spaces_async import bulk
from spaces_async.cli._errors import DONE, code_of_report, hints_for, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from spaces_async.bulk import BulkReport
    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo

__all__ = ["read_each", "read_infos"]

T = TypeVar("T")


def read_each(
    app: App,
    targets: Targets,
    concurrency: int,
    read: Callable[[SpacesClient, str], Awaitable[T]],
) -> tuple[list[tuple[str, T]], int]:
    """Read something of each Space; what cannot be read is reported on stderr.

    Returns:
        The id of each Space with what was read, and the exit code.
    """
    # What shows the progress is imported before the event loop runs.
    import_module("spaces_async.cli._progress")
    app.concurrency = concurrency

    async def work(client: SpacesClient) -> BulkReport[T]:
        ids = [info.id for info in await _resolve(app, targets, client)]
        return await _read(app, client, ids, read)

    return _results(app, app.run(work))


def read_infos(
    app: App,
    targets: Targets,
    concurrency: int,
    read: Callable[[SpacesClient, str], Awaitable[SpaceInfo]],
    then: Callable[[SpacesClient, list[SpaceInfo]], Awaitable[None]] | None = None,
) -> tuple[list[SpaceInfo], int]:
    """Read what a listing has of each Space: of an org, nothing else is read.

    Args:
        app: The run.
        targets: The Spaces.
        concurrency: How many to read at the same time, if they are named by their ids.
        read: Reads one.
        then: What to do with the same client afterwards, given what was read.

    Returns:
        The Spaces, and the exit code.
    """
    app.concurrency = concurrency
    _import_display(app, targets)

    async def work(client: SpacesClient) -> BulkReport[SpaceInfo] | list[SpaceInfo]:
        if targets.org:
            spaces = await _resolve(app, targets, client)
            if then is not None:
                await then(client, spaces)
            return spaces
        report = await _read(app, client, list(targets.ids), read)
        if then is not None:
            await then(client, [o.value for o in report.succeeded if o.value])
        return report

    found = app.run(work)
    if isinstance(found, list):
        return found, DONE
    pairs, code = _results(app, found)
    return [info for _, info in pairs], code


def _import_display(app: App, targets: Targets) -> None:
    """Import what shows progress before the event loop runs, if it will be shown.

    A listing in a pipe needs neither it nor rich.
    """
    if app.output.live or not targets.org:
        import_module("spaces_async.cli._progress")


def _busy(app: App) -> AbstractContextManager[object]:
    from spaces_async.cli._progress import Busy

    return Busy(app, "Listing")


async def _resolve(app: App, targets: Targets, client: SpacesClient) -> list[SpaceInfo]:
    output = app.output
    with _busy(app) if targets.org and output.live else nullcontext():
        spaces = await targets.resolve(client, output)
    if not spaces:
        output.say(f"No Spaces of {targets.org} fit.")
    return spaces


async def _read(
    app: App,
    client: SpacesClient,
    ids: list[str],
    read: Callable[[SpacesClient, str], Awaitable[T]],
) -> BulkReport[T]:
    from spaces_async.cli._progress import ProgressDisplay

    stream = client.bulk.stream(
        bulk.operations.as_operation(read, name="read", only_reads=True),
        ids,
        concurrency=app.concurrency,
        max_rate_limit_wait=app.max_wait,
    )
    with ProgressDisplay(app, "Read", len(ids)) as display:
        async with stream as outcomes:
            async for outcome in outcomes:
                display.add_outcome(outcome)
    return stream.report


def _results(app: App, report: BulkReport[T]) -> tuple[list[tuple[str, T]], int]:
    output = app.output
    failed = [*report.failed, *report.unknown]
    # With -v progress has named them already, unless it was quiet.
    for outcome in failed if output.quiet or not app.verbose else ():
        why = reason(outcome.error) if outcome.error else str(outcome.status)
        output.complain(f"{outcome.repo_id}: {why}")
    for hint in hints_for(outcome.error for outcome in failed):
        output.say(hint)
    pairs = [(o.repo_id, o.value) for o in report.succeeded if o.value is not None]
    return pairs, code_of_report(report)
