"""`logs` and `events`: what Spaces say and do, several of them as one."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import click

from spaces_async.cli._app import App, pass_app
from spaces_async.cli._ask import settle
from spaces_async.cli._command import Command, examples
from spaces_async.cli._errors import DONE, FAILED, code_of, hints_for, reason
from spaces_async.cli._lines import Lines
from spaces_async.cli._output import plural
from spaces_async.cli._targets import Targets, with_targets
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient
    from spaces_async.records import LogLine

__all__ = ["events", "logs"]

Source = Callable[["SpacesClient", str], Awaitable[None]]

_READ: Final = 16
"""So many logs are read at the same time when none is followed."""
_FOLLOWED: Final = 200
_SPARE: Final = 16


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async logs acme/demo -n 100",
        "spaces-async logs -f acme/demo acme/chat",
        "spaces-async logs --build --org acme --stage BUILD_ERROR -n 5",
    ),
)
@with_targets
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the last N of the lines that are there.",
)
@click.option("--build", is_flag=True, help="The log of the build, not of the app.")
@click.option("--timestamps", is_flag=True, help="Say when each line was written.")
@pass_app
def logs(
    app: App,
    /,
    *,
    targets: Targets,
    follow: bool,
    tail: int | None,
    build: bool,
    timestamps: bool,
) -> int:
    """Show the logs of Spaces; those of several are merged.

    The Hub does not say where the log ends: without -f this stops after some seconds
    of silence. With --json each line is a JSON object. In a pipe the columns are: id
    (of several Spaces), time (with --timestamps), text.
    """
    ids = _resolve(app, targets)
    lines = Lines(app.output, ids, timestamps=timestamps)
    found: dict[str, list[LogLine]] = {repo_id: [] for repo_id in ids}
    at_once = follow or len(ids) == 1

    async def read(client: SpacesClient, repo_id: str) -> None:
        count = 0
        stream = client.logs.stream_logs(
            repo_id, kind="build" if build else "run", follow=follow, tail=tail
        )
        async with stream as source:
            async for line in source:
                count += 1
                if at_once:
                    lines.log(line)
                else:
                    found[repo_id].append(line)
                if not follow and count == tail:
                    break  # all that was asked for: no need to wait for silence
        if not count and not follow:
            app.output.say(f"{repo_id}: the log is empty.")

    output = app.output
    quiet = at_once or not output.live
    with nullcontext() if quiet else output.err.status("Reading ..."):
        code = _stream(app, ids, read, ids if follow else ids[:_READ])
    for line in lines.in_order(found.values()):
        lines.log(line)
    return code


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async events acme/demo",
        "spaces-async events --org acme --json | jq -c 'select(.kind == \"stage\")'",
    ),
)
@with_targets
@pass_app
def events(app: App, targets: Targets) -> int:
    """Follow what happens to Spaces as it happens.

    That is each change of a stage, and use of ZeroGPU. It ends with Ctrl-C. With --json each event is a JSON object. In a pipe the columns
    are: id (of several Spaces), time, kind, what.
    """
    ids = _resolve(app, targets)
    lines = Lines(app.output, ids)

    async def read(client: SpacesClient, repo_id: str) -> None:
        async with client.logs.stream_events(repo_id) as source:
            async for event in source:
                lines.event(event, client.clock.utcnow())

    return _stream(app, ids, read, ids)


def _resolve(app: App, targets: Targets) -> list[str]:
    """Return the ids before the real client is made, which has to know how many."""
    if not targets.org:
        return list(targets.ids)

    async def work(client: SpacesClient) -> list[str]:
        return [info.id for info in await targets.resolve(client)]

    ids = app.run(work)
    if not ids:
        app.output.say(f"No Spaces of {targets.org} fit.")
    return ids


def _stream(
    app: App, ids: Sequence[str], source: Source, at_once: Sequence[str]
) -> int:
    """Read a stream of each Space; one that fails does not end the others."""
    if len(at_once) > _FOLLOWED:
        raise click.UsageError(
            f"{plural(len(at_once))} are too many to follow at once: name at most"
            f" {_FOLLOWED}, or choose fewer with --stage or --match."
        )
    app.concurrency = len(at_once) + _SPARE
    failed: list[SpacesError] = []

    async def work(client: SpacesClient) -> None:
        slots = asyncio.Semaphore(max(1, len(at_once)))

        async def read(repo_id: str) -> None:
            async with slots:
                try:
                    await source(client, repo_id)
                except SpacesError as error:
                    app.output.complain(f"{repo_id}: {reason(error)}")
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_until_nobody_reads())
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


async def _until_nobody_reads() -> None:
    """Wait until whoever reads our pipe has gone, even if nothing is written.

    Raises:
        BrokenPipeError: They have.
    """
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    try:
        file = sys.stdout.fileno()
        if not stat.S_ISFIFO(os.fstat(file).st_mode):
            return
        # As asyncio does for its own pipes: nothing else makes one readable here.
        loop.add_reader(file, settle, gone)
    except (OSError, ValueError, NotImplementedError):
        return  # on Windows, or where stdout is no file
    try:
        await gone
    finally:
        loop.remove_reader(file)
    raise BrokenPipeError


def _first_of(error: BaseException) -> BaseException:
    """Return what went wrong first in a group of groups of tasks."""
    while inner := getattr(error, "exceptions", None):
        error = inner[0]
    return error
