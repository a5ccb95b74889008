"""Doing something to many Spaces: choose, ask, send, show, and the exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field, fields, frozen

from spaces_async.bulk import BulkOptions, BulkReport, Operation
from spaces_async.cli._app import App
from spaces_async.cli._board import Board
from spaces_async.cli._command import apply
from spaces_async.cli._errors import code_of_report
from spaces_async.cli._output import human_seconds, plural
from spaces_async.cli._report import merged, show
from spaces_async.cli._targets import Targets, names, stage_counts
from spaces_async.errors import SpacesError, WaitTimeoutError
from spaces_async.models import SpaceInfo, SpaceRuntime, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient

__all__ = ["BulkFlags", "Job", "Wait", "sequence", "with_bulk", "with_concurrency"]


@frozen(kw_only=True)
class BulkFlags:
    """What the options of every bulk write say."""

    concurrency: int = 16
    dry_run: bool = False
    yes: bool = False
    fail_fast: bool = False
    max_failures: int | None = None
    deadline: float | None = None


@frozen
class Wait:
    """What to wait for after the write, or instead of one.

    Attributes:
        stages: Where each Space should be.
        timeout: Seconds for all of them together.
    """

    stages: Collection[SpaceStage]
    timeout: float

    def operation(self, client: SpacesClient, board: Board) -> Operation[SpaceRuntime]:
        """Make the operation; its time runs from now on."""
        clock = client.clock
        end = clock.monotonic() + self.timeout

        async def follow(client: SpacesClient, repo_id: str) -> SpaceRuntime:
            seen: set[SpaceStage] = set()
            while True:
                left = max(0.0, end - clock.monotonic())
                # Any other stage ends this wait, so that each change can be shown.
                anything = set(SpaceStage) - seen
                try:
                    runtime = await client.lifecycle.wait_until(
                        repo_id, anything, timeout=left
                    )
                except WaitTimeoutError as error:
                    raise self._too_late(repo_id, error, seen) from None
                board.stage(repo_id, runtime.stage)
                if runtime.stage in self.stages:
                    return runtime
                if _is_dead_end(runtime.stage):
                    # The library says it best: this raises SpaceFailedError.
                    return await client.lifecycle.wait_until(
                        repo_id, self.stages, timeout=left
                    )
                seen = {runtime.stage}

        return Operation("wait", follow, "GET /api/spaces/{repo_id}/runtime")

    def _too_late(
        self, repo_id: str, error: WaitTimeoutError, seen: set[SpaceStage]
    ) -> WaitTimeoutError:
        last = next(iter(seen), error.last_stage)
        return WaitTimeoutError(
            f"{repo_id} did not get to {' or '.join(sorted(self.stages))} within"
            f" {human_seconds(self.timeout)}; it was {last or 'never seen'}",
            repo_id=repo_id,
            last_stage=last,
            timeout=self.timeout,
        )


def _is_dead_end(stage: SpaceStage) -> bool:
    return stage.is_failed or stage in {SpaceStage.PAUSED, SpaceStage.DELETING}


def sequence(steps: Sequence[tuple[str, Operation[Any]]]) -> Operation[Any]:
    """Make one operation of several for the same Space, one after the other.

    Args:
        steps: What each is about, for the error, and the operation.
    """
    first = steps[0][1]
    if len(steps) == 1:
        return first

    async def call(client: SpacesClient, repo_id: str) -> Any:
        result: Any = None
        for number, (about, step) in enumerate(steps):
            try:
                result = await step.call(client, repo_id)
            except SpacesError as error:
                error.add_note(f"at {about}; {number} of {len(steps)} were done")
                raise
        return result

    requests = "\n".join(step.request for _, step in steps)
    return Operation(first.name, call, requests)


@define
class Job:
    """A bulk write, from the choice of the Spaces to the exit code.

    Attributes:
        app: The run.
        operation: What to do; None only waits.
        targets: To which Spaces.
        flags: How.
        verb: What it is called: "Restart".
        past: The same for Spaces that cannot be: "restarted"; static ones of an org
            are then left out. None takes them all.
        wait: What to wait for then.
    """

    app: App
    operation: Operation[Any] | None
    targets: Targets
    flags: BulkFlags
    verb: str
    past: str | None = None
    wait: Wait | None = None
    written: BulkReport[Any] | None = field(default=None, init=False)
    waited: BulkReport[Any] | None = field(default=None, init=False)

    @property
    def title(self) -> str:
        """The verb as it stands alone, before a progress bar."""
        return self.verb.removesuffix(" of").removesuffix(" for")

    def run(self) -> int:
        """Do it, show what became of it, and return the exit code."""
        self.app.concurrency = self.flags.concurrency
        try:
            self.app.run(self._work)
        finally:
            # Also when interrupted: what was done until then must not be lost.
            report = merged(self.written, self.waited)
            if report is not None:
                show(self.app.output, report)
        return 0 if report is None else code_of_report(report)

    async def _work(self, client: SpacesClient) -> None:
        output = self.app.output
        spaces = self._fitting(await self.targets.resolve(client))
        if not spaces:
            output.say(f"No Spaces of {self.targets.org} fit: nothing to do.")
            if output.json:
                name = self.operation.name if self.operation else "wait"
                self.written = BulkReport(name)
            return
        if self.flags.dry_run:
            self._preview(spaces)
            return
        if self.operation is not None and self.targets.org:
            await self._confirm(spaces)
        await self._send(client, [info.id for info in spaces])

    def _fitting(self, spaces: list[SpaceInfo]) -> list[SpaceInfo]:
        if self.past is None or not self.targets.org:
            return spaces
        fitting = [info for info in spaces if info.sdk is not SpaceSdk.STATIC]
        if left_out := len(spaces) - len(fitting):
            self.app.output.say(
                f"Left out {plural(left_out, 'static Space')}: they cannot be"
                f" {self.past}."
            )
        return fitting

    def _preview(self, spaces: Sequence[SpaceInfo]) -> None:
        output, operation = self.app.output, self.operation
        if operation is None:
            return
        lines = [
            (info.id, line)
            for info in spaces
            for line in operation.preview(info.id).splitlines()
        ]
        if output.json:
            output.document([{"repo_id": i, "request": line} for i, line in lines])
        else:
            for _, line in lines:
                output.line(line)
        output.say(f"Dry run: nothing was sent to {plural(len(spaces))}.")

    async def _confirm(self, spaces: Sequence[SpaceInfo]) -> None:
        """Ask before a write to a whole org.

        Raises:
            UsageError: There is nobody to ask.
            Exit: The answer was no.
        """
        output = self.app.output
        if self.flags.yes:
            return
        stages = ", ".join(f"{n} {stage}" for stage, n in stage_counts(spaces))
        output.complain(f"{plural(len(spaces))} of {self.targets.org}: {stages}")
        output.complain(f"  {names(spaces)}")
        question = f"{self.verb} {plural(len(spaces))} of {self.targets.org}?"
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"{question} There is no terminal to ask at: add --yes, or look with"
                " --dry-run first."
            )
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = await read_line()
        if answer.strip().lower() not in {"y", "yes"}:
            output.say("Nothing was sent.")
            raise click.exceptions.Exit(1)

    async def _send(self, client: SpacesClient, ids: list[str]) -> None:
        options = BulkOptions(
            concurrency=self.flags.concurrency,
            fail_fast=self.flags.fail_fast,
            max_failures=self.flags.max_failures,
            deadline=self.flags.deadline,
            max_rate_limit_wait=self.app.max_wait,
        )
        started = client.clock.monotonic()
        if self.operation is not None:
            with Board(self.app, self.title, len(ids)) as board:
                stream = client.bulk.stream(self.operation, ids, **options)
                self.written = stream.report
                await _drain(stream, board)
            ids = [outcome.repo_id for outcome in self.written.succeeded]
            if self.written.stopped_by is not None:
                return
        if self.wait is None or not ids:
            return
        if options.get("deadline"):
            spent = client.clock.monotonic() - started
            options["deadline"] = max(0.001, (self.flags.deadline or 0) - spent)
        with Board(self.app, "Wait", len(ids)) as board:
            operation = self.wait.operation(client, board)
            stream = client.bulk.stream(operation, ids, **options)
            self.waited = stream.report
            await _drain(stream, board)


async def _drain(stream: Any, board: Board) -> None:
    async with stream as outcomes:
        async for outcome in outcomes:
            board.outcome(outcome)


async def read_line() -> str:
    """Read a line from the terminal so that Ctrl-C gets through meanwhile."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(sys.stdin, _settle, ready)
    except NotImplementedError:  # Windows
        return sys.stdin.readline()
    try:
        await ready
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def with_concurrency(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--concurrency`."""
    option = click.option(
        "--concurrency",
        type=click.IntRange(1, 1000),
        default=16,
        show_default=True,
        metavar="N",
        help="Spaces worked on at the same time.",
    )
    return apply(function, [option])


def with_bulk(function: Callable[..., Awaitable[Any] | Any]) -> Callable[..., Any]:
    """Give a command the options of bulk writes; it gets them as `flags`."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        flags = BulkFlags(**{f.name: given.pop(f.name) for f in fields(BulkFlags)})
        return function(*args, flags=flags, **given)

    return with_concurrency(
        apply(
            command,
            [
                click.option(
                    "--dry-run", is_flag=True, help="Print what would be sent."
                ),
                click.option(
                    "-y", "--yes", is_flag=True, help="Do not ask before an --org."
                ),
                click.option(
                    "--fail-fast",
                    is_flag=True,
                    help="Begin no further Space after the first failure.",
                ),
                click.option(
                    "--max-failures",
                    type=click.IntRange(min=1),
                    metavar="N",
                    help="The same after N failures.",
                ),
                click.option(
                    "--deadline",
                    type=click.FloatRange(min=0, min_open=True),
                    metavar="SECONDS",
                    help="End everything after so long.",
                ),
            ],
        )
    )
