"""Streams of many Spaces at once, until they end or the reader of stdout has gone."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from spaces_async.cli._confirm import wake
from spaces_async.cli._errors import DONE, FAILED, code_of, hints_for, reason
from spaces_async.cli._output import plural
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    import asyncio

    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient

__all__ = ["read_streams", "resolve_ids"]

ReadStream = Callable[["SpacesClient", str], Awaitable[None]]

_MAX_STREAMS: Final = 200
_SPARE_CONNECTIONS: Final = 16


def resolve_ids(app: App, targets: Targets) -> list[str]:
    """Return the ids; the client for the streams has to know how many there are."""
    if not targets.org:
        return list(targets.ids)

    async def work(client: SpacesClient) -> list[str]:
        return [info.id for info in await targets.resolve(client, app.output)]

    ids = app.run(work)
    if not ids:
        app.output.say(f"No Spaces of {targets.org} fit.")
    return ids


def read_streams(
    app: App, ids: Sequence[str], read_stream: ReadStream, concurrency: int
) -> int:
    """Read a stream of each Space; one that fails does not end the others.

    Args:
        app: The run.
        ids: The Spaces.
        read_stream: Reads the stream of one.
        concurrency: How many to read at the same time.

    Returns:
        The exit code.
    """
    if concurrency > _MAX_STREAMS:
        raise click.UsageError(
            f"{plural(concurrency)} are too many to follow at once: name at most"
            f" {_MAX_STREAMS}, or choose fewer with --stage or --match."
        )
    app.concurrency = concurrency + _SPARE_CONNECTIONS
    failed: list[SpacesError] = []

    import asyncio

    async def work(client: SpacesClient) -> None:
        slots = asyncio.Semaphore(max(1, concurrency))

        async def read(repo_id: str) -> None:
            async with slots:
                try:
                    await read_stream(client, repo_id)
                except SpacesError as error:
                    app.output.complain(f"{repo_id}: {reason(error)}")
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_watch_stdout())
            async with asyncio.TaskGroup() as readers:
                for repo_id in ids:
                    readers.create_task(read(repo_id))
            watcher.cancel()

    try:
        app.run(work)
    except BaseExceptionGroup as broken:
        raise _first_of(broken) from None
    for hint in hints_for(failed):
        app.output.say(hint)
    codes = {code_of(error) for error in failed}
    if not codes:
        return DONE
    return codes.pop() if len(codes) == 1 and len(failed) == len(ids) else FAILED


async def _watch_stdout() -> None:
    """Wait until the reader of our pipe has gone, even if nothing is written.

    Raises:
        BrokenPipeError: It has.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    try:
        file = sys.stdout.fileno()
        if not stat.S_ISFIFO(os.fstat(file).st_mode):
            return
        # As asyncio does for its own pipes: the writing end becomes readable only when
        # the reader has closed it.
        loop.add_reader(file, wake, gone)
    except (OSError, ValueError, NotImplementedError):
        return  # on Windows, or where stdout is no file
    try:
        await gone
    finally:
        loop.remove_reader(file)
    raise BrokenPipeError


def _first_of(error: BaseException) -> BaseException:
    """Return the first error in nested groups."""
    while inner := getattr(error, "exceptions", None):
        error = inner[0]
    return error
