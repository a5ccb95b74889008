"""Doing something to many Spaces: choose, ask, send, show, and the exit code."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal

import click
from attrs import define, evolve, field, fields, frozen

from spaces_async.bulk import BulkOptions, BulkReport, Operation
from spaces_async.cli._app import App
from spaces_async.cli._ask import ask
from spaces_async.cli._board import Board
from spaces_async.cli._command import apply
from spaces_async.cli._errors import code_of_report
from spaces_async.cli._journal import Record
from spaces_async.cli._output import plural
from spaces_async.cli._report import merged, show
from spaces_async.cli._targets import Targets, names, stage_counts
from spaces_async.cli._times import Seconds
from spaces_async.cli._wait import WAITS, Wait
from spaces_async.client import session_of
from spaces_async.models import SpaceInfo, SpaceSdk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.client import SpacesClient

__all__ = [
    "BulkFlags",
    "Job",
    "with_bulk",
    "with_bulk_loss",
    "with_bulk_of",
    "with_concurrency",
]

_NAMED: Final = 20
"""So many are named before something is lost for good."""


@frozen(kw_only=True)
class BulkFlags:
    """What the options of every bulk write say."""

    concurrency: int = 16
    dry_run: bool = False
    yes: bool = False
    fail_fast: bool = False
    max_failures: int | None = None
    deadline: float | None = None
    max_outage: float | None = None
    journal: str | None = None


@define
class Job:
    """A bulk write, from the choice of the Spaces to the exit code.

    Attributes:
        app: The run.
        operation: What to do; None only waits.
        targets: To which Spaces.
        flags: How.
        verb: What it is called: "Restart".
        wait: What to wait for then.
        loses: It cannot be undone: ask always, and name the Spaces.
        on_unknown: What to do about those that an earlier run has left in doubt.
        settled: Which are done already, by an earlier run with the same journal.
    """

    app: App
    operation: Operation[Any] | None
    targets: Targets
    flags: BulkFlags
    verb: str
    wait: Wait | None = None
    loses: bool = False
    on_unknown: Literal["verify", "retry", "skip"] = field(default="verify", init=False)
    settled: frozenset[str] = field(default=frozenset[str](), init=False)
    written: BulkReport[Any] | None = field(default=None, init=False)
    waited: BulkReport[Any] | None = field(default=None, init=False)

    @property
    def title(self) -> str:
        """The verb as it stands alone, before a progress bar."""
        words = self.verb.removesuffix(":").split()
        return " ".join(words[:-1] if words[-1] in {"of", "for", "to"} else words)

    def run(self) -> int:
        """Do it, show what became of it, and return the exit code."""
        self.app.concurrency = self.flags.concurrency
        output, record, through = self.app.output, None, False
        if self.flags.journal is not None and self.operation is not None:
            found = Record(self.flags.journal)
            self.settled = found.settled(self.operation)
            found.say_what_is_in_it(output)
            record = None if self.flags.dry_run else found
        try:
            self.app.run(self._work)
            through = True
        finally:
            # Also when interrupted: what was done until then must not be lost.
            report = merged(self.written, self.waited)
            if report is not None and (through or len(report)):
                show(output, report)
            if record is not None:
                record.say_what_came(output)
        return 0 if report is None else code_of_report(report)

    async def _work(self, client: SpacesClient) -> None:
        output = self.app.output
        listed = await self.targets.listed(client)
        spaces = self._fitting([entry.info for entry in listed])
        if not spaces:
            output.say(f"No Spaces of {self.targets.org} fit: nothing to do.")
            if output.json:
                name = self.operation.name if self.operation else "wait"
                self.written = BulkReport(name)
            return
        left = [info for info in spaces if info.id not in self.settled]
        if self.flags.dry_run:
            await self._preview(client, left)
            return
        if left and (self.loses or (self.operation is not None and self.targets.org)):
            await self._confirm(left)
        if self.targets.org:
            await self._send(client, [entry.info.id for entry in listed], listed)
        else:
            await self._send(client, list(self.targets.ids))

    def _fitting(self, spaces: list[SpaceInfo]) -> list[SpaceInfo]:
        """Return those that are not static, where these have nothing of the kind."""
        if self.operation is None or not self.operation.in_container:
            return spaces
        fitting = [info for info in spaces if info.sdk is not SpaceSdk.STATIC]
        if static := len(spaces) - len(fitting):
            what = plural(static, "static Space")
            self.app.output.say(f"{what} will be skipped: nothing runs there.")
        return fitting

    async def _preview(self, client: SpacesClient, spaces: Sequence[SpaceInfo]) -> None:
        output, operation = self.app.output, self.operation
        if operation is None:
            return
        requests = [
            (info.id, request)
            for info in spaces
            for request in await operation.requests(info.id, session_of(client).send)
        ]
        if output.json:
            output.document([{"repo_id": i, **r.to_dict()} for i, r in requests])
        else:
            for _, request in requests:
                output.line(str(request))
        output.say(f"Dry run: nothing was sent to {plural(len(spaces))}.")

    async def _confirm(self, spaces: Sequence[SpaceInfo]) -> None:
        """Ask before a write to a whole org, or one that loses something."""
        output = self.app.output
        if self.flags.yes:
            return
        if self.loses:
            await self._confirm_loss(spaces)
            return
        stages = ", ".join(f"{n} {stage}" for stage, n in stage_counts(spaces))
        output.complain(f"{plural(len(spaces))} of {self.targets.org}: {stages}")
        output.complain(f"  {names(spaces)}")
        await ask(output, f"{self.verb} {plural(len(spaces))} of {self.targets.org}?")

    async def _confirm_loss(self, spaces: Sequence[SpaceInfo]) -> None:
        """Ask before something that cannot be undone; each Space is named."""
        output = self.app.output
        if len(spaces) == 1:
            await ask(output, f"{self.verb} {spaces[0].id} for good?")
            return
        for info in spaces[:_NAMED]:
            output.complain(f"  {info.id}")
        if (more := len(spaces) - _NAMED) > 0:
            output.complain(f"  and {more} more")
        await ask(output, f"{self.verb} these {plural(len(spaces))} for good?")

    async def _send(
        self,
        client: SpacesClient,
        ids: list[str],
        listed: list[Listed] | None = None,
    ) -> None:
        options = BulkOptions(
            concurrency=self.flags.concurrency,
            fail_fast=self.flags.fail_fast,
            max_failures=self.flags.max_failures,
            deadline=self.flags.deadline,
            max_outage=self.flags.max_outage,
            max_rate_limit_wait=self.app.max_wait,
        )
        started = client.clock.monotonic()
        wait = self.wait
        if self.operation is not None:
            with Board(self.app, self.title, len(ids)) as board:
                kept = BulkOptions(
                    journal=self.flags.journal, on_unknown=self.on_unknown
                )
                stream = client.bulk.stream(
                    self.operation, listed or ids, **options | kept
                )
                self.written = stream.report
                await _drain(stream, board)
            values = {o.repo_id: o.value for o in self.written.succeeded}
            ids = list(values)
            if self.written.stopped_by is not None:
                return
            if wait is not None:
                wait = evolve(wait, after=values)
        if wait is None or not ids:
            return
        options["concurrency"] = WAITS
        if options.get("deadline"):
            spent = client.clock.monotonic() - started
            options["deadline"] = max(0.001, (self.flags.deadline or 0) - spent)
        with Board(self.app, "Wait", len(ids)) as board:
            stream = client.bulk.stream(wait.operation(client, board), ids, **options)
            self.waited = stream.report
            await _drain(stream, board)


async def _drain(stream: Any, board: Board) -> None:
    async with stream as outcomes:
        async for outcome in outcomes:
            board.outcome(outcome)


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


def with_bulk(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of bulk writes; it gets them as `flags`."""
    return _with_bulk(_with_journal(function), "Do not ask before an --org.")


def with_bulk_loss(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same for a command that asks in any case."""
    return _with_bulk(_with_journal(function), "Do not ask.")


def with_bulk_of(file: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Do the same for a command whose journal is its argument of that name."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        inner = _with_bulk(function, "Do not ask before a loss.")

        @wraps(inner)
        def command(*args: Any, **given: Any) -> Any:
            return inner(*args, journal=given.pop(file), **given)

        return command

    return decorate


def _with_journal(function: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--journal",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Write down there what is done; if it is interrupted,"
        " `spaces-async resume FILE` goes on.",
    )
    return apply(function, [option])


def _with_bulk(function: Callable[..., Any], yes: str) -> Callable[..., Any]:
    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        flags = BulkFlags(**{f.name: given.pop(f.name) for f in fields(BulkFlags)})
        return function(*args, flags=flags, **given)

    options: list[Callable[[Any], Any]] = [
        click.option("--dry-run", is_flag=True, help="Print what would be sent."),
        click.option("-y", "--yes", is_flag=True, help=yes),
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
            type=Seconds(),
            metavar="SECONDS",
            help="End everything after so long.",
        ),
        click.option(
            "--max-outage",
            type=Seconds(),
            metavar="SECONDS",
            default=600.0,
            show_default=True,
            help="End it when the Hub is down for so long.",
        ),
    ]
    return with_concurrency(apply(command, options))
