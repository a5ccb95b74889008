"""A write to many Spaces: choose, ask, send, report, and the exit code."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import define, evolve, field, frozen

from spaces_async._operations.write import Write
from spaces_async.bulk import BulkOptions, BulkReport, BulkStream, Operation
from spaces_async.bulk._choice import require_known_flavors
from spaces_async.cli._app import App
from spaces_async.cli._bulk_options import DEFAULT_CONCURRENCY
from spaces_async.cli._confirm import confirm
from spaces_async.cli._errors import code_of_report
from spaces_async.cli._journal import JournalSummary
from spaces_async.cli._output import plural
from spaces_async.cli._progress import Busy, ProgressDisplay
from spaces_async.cli._report import keys_not_found, merged, show, stays_idle
from spaces_async.cli._report_file import write_report
from spaces_async.cli._targets import Targets, names, stage_counts
from spaces_async.cli._wait import WAIT_CONCURRENCY, WaitGoal
from spaces_async.cli._wording import question, title
from spaces_async.client import session_of
from spaces_async.models import SpaceInfo, SpaceSdk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.client import SpacesClient

__all__ = ["BulkArguments", "BulkCommand"]

_NAMED_SPACES: Final = 20
"""How many Spaces are named before they are deleted."""

_LEAST_DEADLINE_SECONDS: Final = 0.001


@frozen(kw_only=True)
class BulkArguments:
    """What the options of a bulk command say."""

    concurrency: int = DEFAULT_CONCURRENCY
    dry_run: bool = False
    yes: bool = False
    fail_fast: bool = False
    max_failures: int | None = None
    deadline: float | None = None
    max_outage: float | None = None
    journal: str | None = None
    report: Path | None = None


@define
class BulkCommand:
    """A bulk command, from the choice of the Spaces to the exit code.

    Attributes:
        app: The run.
        operation: What to do; None only waits.
        targets: The Spaces.
        arguments: The options.
        wait: What to wait for afterwards.
        flavor: A flavor that must be known; None if there is none.
        on_unknown: What to do about Spaces whose outcome an earlier run left unknown.
        resumes: Whether to go on with the journal even if it is finished.
        done_before: The Spaces that an earlier run with the same journal finished.
        journal: What the journal says; None without one, or if nothing is sent.
        write_report: The report of the write, once it has begun.
        wait_report: The report of the wait, once it has begun.
    """

    app: App
    operation: Operation[Any] | None
    targets: Targets
    arguments: BulkArguments
    wait: WaitGoal | None = None
    on_unknown: Literal["verify", "retry", "skip"] = "verify"
    resumes: bool = False
    flavor: str | None = field(default=None, init=False)
    done_before: frozenset[str] = field(default=frozenset[str](), init=False)
    journal: JournalSummary | None = field(default=None, init=False)
    write_report: BulkReport[Any] | None = field(default=None, init=False)
    wait_report: BulkReport[Any] | None = field(default=None, init=False)

    def run(self) -> int:
        """Do it, show the outcomes, and return the exit code."""
        self.app.concurrency = self.arguments.concurrency
        output, finished = self.app.output, False
        if self.arguments.journal is not None and self.operation is not None:
            found = JournalSummary(
                self.arguments.journal, self.operation, resumes=self.resumes
            )
            self.done_before = found.finished_spaces()
            found.show_content(output)
            self.journal = None if self.arguments.dry_run else found
        try:
            self.app.run(self._work)
            finished = True
        finally:
            # Also after an interrupt, so that what was done until then is not lost.
            report = merged(self.write_report, self.wait_report)
            if report is not None and (finished or len(report)):
                show(output, report, rows=self.app.verbose > 0)
                self._note_keys(report)
                if self.arguments.report is not None:
                    write_report(self.app, report, self.arguments.report)
            if self.journal is not None:
                self.journal.show_result(output)
        return 0 if report is None else code_of_report(report)

    def _note_keys(self, report: BulkReport[Any]) -> None:
        if self.operation is not None:
            for key in keys_not_found(self.operation, report):
                text = f"None of these Spaces had {key}: is the key right?"
                self.app.output.complain(text)

    async def _work(self, client: SpacesClient) -> None:
        output, session = self.app.output, session_of(client)
        if self.operation is not None and not self.arguments.dry_run:
            await self.app.require_token(session)
        if self.flavor is not None:
            await require_known_flavors(session, [self.flavor])
        with Busy(self.app, "Listing") if self.targets.org else nullcontext():
            listed = await self.targets.listed(client, output)
        if not listed:
            output.say(f"No Spaces of {self.targets.org} fit: nothing to do.")
            if output.json:
                name = self.operation.name if self.operation else "wait"
                self.write_report = BulkReport(name)
            return
        affected = self._affected([entry.info for entry in listed])
        if self.arguments.dry_run:
            await self._preview(client, affected)
            return
        if affected:
            await self._confirm(affected)
        if self.targets.org:
            await self._send(client, [entry.info.id for entry in listed], listed)
        else:
            await self._send(client, list(self.targets.ids))

    def _affected(self, spaces: list[SpaceInfo]) -> list[SpaceInfo]:
        """Return those that the operation will be sent to, as far as is known now."""
        output, operation = self.app.output, self.operation
        if operation is None:
            return spaces
        if operation.in_container:
            suited = [info for info in spaces if info.sdk is not SpaceSdk.STATIC]
            if static := len(spaces) - len(suited):
                output.say(
                    f"{plural(static, 'static Space')} will be skipped: nothing runs"
                    " there."
                )
            spaces = suited
        changing = [info for info in spaces if not operation.is_needless(info)]
        if same := len(spaces) - len(changing):
            output.say(f"{plural(same)} will be left unchanged: already so.")
        return [info for info in changing if info.id not in self.done_before]

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
        """Ask before a write to a whole org, and before Spaces are deleted."""
        output, operation = self.app.output, self.operation
        if self.arguments.yes or operation is None:
            return
        if isinstance(operation, Write) and operation.removes_the_space:
            await self._confirm_deletion(operation, spaces)
        elif self.targets.org:
            stages = ", ".join(f"{n} {stage}" for stage, n in stage_counts(spaces))
            whose = f"{plural(len(spaces))} of {self.targets.org}"
            output.complain(f"{whose}: {stages}")
            output.complain(f"  {names(spaces)}")
            await confirm(output, question(operation, whose))

    async def _confirm_deletion(
        self, operation: Operation[Any], spaces: Sequence[SpaceInfo]
    ) -> None:
        """Ask before something that cannot be undone; the Spaces are named."""
        output, what = self.app.output, title(operation.name)
        if len(spaces) == 1:
            await confirm(output, f"{what} {spaces[0].id} for good?")
            return
        for info in spaces[:_NAMED_SPACES]:
            output.complain(f"  {info.id}")
        if (more := len(spaces) - _NAMED_SPACES) > 0:
            output.complain(f"  and {more} more")
        await confirm(output, f"{what} these {plural(len(spaces))} for good?")

    async def _send(
        self,
        client: SpacesClient,
        ids: list[str],
        listed: list[Listed] | None = None,
    ) -> None:
        arguments = self.arguments
        options = BulkOptions(
            concurrency=arguments.concurrency,
            fail_fast=arguments.fail_fast,
            max_failures=arguments.max_failures,
            deadline=arguments.deadline,
            max_outage=arguments.max_outage,
            max_rate_limit_wait=self.app.max_wait,
        )
        started = client.clock.monotonic()
        goal = self.wait
        if self.operation is not None:
            if self.journal is not None:
                await self.journal.begin(self.app.output)
            name = title(self.operation.name)
            with ProgressDisplay(self.app, name, len(ids)) as display:
                resuming = BulkOptions(
                    journal=arguments.journal, on_unknown=self.on_unknown
                )
                stream = client.bulk.stream(
                    self.operation, listed or ids, **options | resuming
                )
                self.write_report = stream.report
                await _drain(self.app, stream, display)
            results = {o.repo_id: o.value for o in self.write_report.succeeded}
            ids = list(results)
            if self.write_report.stopped_by is not None:
                return
            if goal is not None:
                ids = [repo_id for repo_id in ids if not stays_idle(results[repo_id])]
                goal = evolve(goal, after=results)
        if goal is None or not ids:
            return
        options["concurrency"] = WAIT_CONCURRENCY
        if arguments.deadline is not None:
            left = arguments.deadline - (client.clock.monotonic() - started)
            options["deadline"] = max(_LEAST_DEADLINE_SECONDS, left)
        with ProgressDisplay(self.app, "Wait", len(ids)) as display:
            stream = client.bulk.stream(goal.operation(client, display), ids, **options)
            self.wait_report = stream.report
            await _drain(self.app, stream, display)


async def _drain(app: App, stream: BulkStream[Any], display: ProgressDisplay) -> None:
    app.stop = stream.stop
    try:
        async with stream as outcomes:
            async for outcome in outcomes:
                display.add_outcome(outcome)
    finally:
        app.stop = None
