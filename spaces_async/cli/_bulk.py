"""A write to many Spaces: choose, plan, ask, send, report, and the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve, field, frozen

from spaces_async.bulk import (
    BulkOptions,
    BulkReport,
    BulkStream,
    Healthy,
    Operation,
    Plan,
)
from spaces_async.bulk._bulk import EndedRun, retry_stream, retry_stream_of_run
from spaces_async.bulk._choice import require_known_flavors
from spaces_async.bulk._engine.context import OnUnknown
from spaces_async.bulk._engine.space_run import steps_of
from spaces_async.bulk._journal.reader import OptionalJournal
from spaces_async.bulk._rollout_record import PACING, options_of, require_judge
from spaces_async.bulk._store.url import place_of
from spaces_async.cli import _runs
from spaces_async.cli._app import App
from spaces_async.cli._bulk_options import DEFAULT_CONCURRENCY
from spaces_async.cli._errors import FAILED, code_of_report
from spaces_async.cli._journal import JournalSummary
from spaces_async.cli._plan_view import refusal_of, say_left_out, show_plan
from spaces_async.cli._progress import Busy, ProgressDisplay
from spaces_async.cli._questions import ask_about_ids, ask_about_plan, require_count
from spaces_async.cli._report import (
    deletes_keys,
    keys_not_found,
    show,
    waited_for,
)
from spaces_async.cli._report_file import write_reports
from spaces_async.cli._rollout import RolloutView, pacing_text, say_pacing, wave_sizes
from spaces_async.cli._targets import Targets
from spaces_async.cli._wait import WAIT_CONCURRENCY, WaitGoal
from spaces_async.cli._wording import title
from spaces_async.client import session_of
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.bulk._journal.format import Header
    from spaces_async.client import SpacesClient

__all__ = ["BulkArguments", "BulkCommand", "MakePlan", "drain", "show_nothing"]


@frozen(kw_only=True)
class BulkArguments:
    """What the options of a bulk command say."""

    concurrency: int = DEFAULT_CONCURRENCY
    dry_run: bool = False
    yes: bool = False
    how_many: int | None = None
    max_targets: int | str | None = None
    fail_fast: bool = False
    max_failures: int | str | None = None
    waves: tuple[int | str, ...] | None = None
    pause_between: float | None = None
    max_unavailable: int | str | None = None
    probe: str | None = None
    healthy_for: float | None = None
    wait: bool = False
    timeout: float | None = None
    deadline: float | None = None
    max_outage: float | None = None
    journal: str | None = None
    store: str | None = None
    lease: float | None = None
    report: tuple[Path, ...] = ()
    before: Healthy | None = None
    """What an earlier run took for healthy, with which this one goes on."""

    def __attrs_post_init__(self) -> None:
        if self.timeout is not None and not self.wait:
            raise click.UsageError("--timeout needs --wait.")

    @property
    def health(self) -> bool:
        """Whether the health of each Space is watched after its write."""
        asked = (self.waves, self.max_unavailable, self.probe, self.healthy_for)
        return self.wait or any(value is not None for value in (*asked, self.before))

    def going_on(self, path: str, header: Header) -> BulkArguments:
        """Return the same with the waves and the health of an earlier run.

        What is given here goes first.

        Args:
            path: The journal of the earlier run.
            header: What it says.

        Raises:
            ConfigurationError: A function judged health before, and nothing here does.
        """
        if not self.health:
            require_judge(path, header.rollout)
        found = options_of(header.rollout)
        free: dict[str, Any] = {
            name: found.get(name) for name in PACING if getattr(self, name) is None
        }
        free["before"] = found.get("healthy") or None
        return evolve(self, **free)

    def rollout(self) -> BulkOptions:
        """Return the options about waves and health."""
        found = BulkOptions()
        if self.pause_between is not None:
            found["pause_between"] = self.pause_between
        if not self.health:
            return found
        healthy = self.before or Healthy()
        if self.probe is not None:
            healthy = evolve(healthy, probe=self.probe)
        if self.healthy_for is not None:
            healthy = evolve(healthy, for_seconds=self.healthy_for)
        if self.timeout is not None:
            healthy = evolve(healthy, timeout=self.timeout)
        found["healthy"] = healthy
        if self.waves is not None:
            found["waves"] = self.waves
        if self.max_unavailable is not None:
            found["max_unavailable"] = self.max_unavailable
        return found


MakePlan = Callable[["SpacesClient", "list[Listed]", int | str | None], Awaitable[Plan]]
"""Makes a plan for the Spaces of a command; at most that many may be changed."""


@define
class BulkCommand:
    """A bulk command, from the choice of the Spaces to the exit code.

    What is sent to an org is planned first, and what was shown is what is sent. Ids are
    sent as given, without a read, unless an option needs the plan.

    Attributes:
        app: The run.
        operation: What to do; None only waits (`goal`), or does what `make_plan` says.
        targets: The Spaces.
        arguments: The options.
        goal: What to wait for, where nothing is sent.
        on_unknown: What to do about Spaces whose outcome an earlier run left unknown.
        resumes: Whether to go on with the journal even if it is finished.
        only: The only Spaces of that journal to work on; None are all.
        of_run: The run in a store whose failures this tries again; None if it does not.
        make_plan: Makes the plan in place of that of the operation.
        shown_as: What the operation is called on the screen; None is by its name.
        run_name: What the shell calls the run that goes on, if it is one of its own.
        flavor: A flavor that must be known; None if there is none.
        done_before: The Spaces that an earlier run with the same journal finished.
        journal: What the journal says; None without one, or if nothing is sent.
        plan: What is going to be done; None if it was not planned.
        report: The report, once it has begun.
    """

    app: App
    operation: Operation[Any] | None
    targets: Targets
    arguments: BulkArguments
    goal: WaitGoal | None = None
    on_unknown: OnUnknown = "verify"
    resumes: bool = False
    only: Collection[str] | None = None
    of_run: EndedRun | None = None
    make_plan: MakePlan | None = None
    shown_as: str | None = None
    run_name: str | None = None
    flavor: str | None = field(default=None, init=False)
    done_before: frozenset[str] = field(default=frozenset[str](), init=False)
    journal: JournalSummary | None = field(default=None, init=False)
    plan: Plan | None = field(default=None, init=False)
    report: BulkReport[Any] | None = field(default=None, init=False)
    _is_idle: bool = field(default=False, init=False)
    _too_many: ConfigurationError | None = field(default=None, init=False)
    _about_store: str | None = field(default=None, init=False)

    @property
    def _writes(self) -> bool:
        return self.operation is not None or self.make_plan is not None

    def run(self) -> int:
        """Do it, show the outcomes, and return the exit code."""
        code = self._run()
        return code or (FAILED if self.app.report_is_missing else 0)

    def _run(self) -> int:
        self.app.concurrency = self.arguments.concurrency
        self._require_one_place()
        output, finished = self.app.output, False
        if self.arguments.journal is not None and self.operation is not None:
            found = JournalSummary(
                self.arguments.journal,
                self.operation,
                resumes=self.resumes,
                name=self.run_name,
            )
            self.done_before = found.finished_spaces()
            found.show_content(output)
            if self.resumes and found.has_left and not self.arguments.dry_run:
                say_pacing(output, self.arguments, self._name, self._ids_to_do())
            self.journal = None if self.arguments.dry_run else found
        try:
            self.app.run(self._work)
            finished = True
        finally:
            # Also after an interrupt, so that what was done until then is not lost.
            report = self._shown_report()
            try:
                if report is not None and (finished or len(report)):
                    self._show(report, interrupted=not finished)
            finally:
                # Also where stdout is full: how to go on is told on stderr.
                if self.journal is not None:
                    self.journal.show_result(output)
        if self._is_idle:
            show_nothing(self.app, self.shown_as or self._name, self.arguments)
            return 0
        if self.arguments.dry_run and self.plan is not None:
            _show_plan(self.app, self.plan, self.arguments)
            if self._about_store is not None:
                output.say(self._about_store)
            if self._too_many is not None:
                raise self._too_many
            return 0
        refusal = refusal_of(self.plan)
        if refusal is not None:
            code, hint = refusal
            output.say(hint)
            return code
        return 0 if report is None else code_of_report(report)

    def _shown_report(self) -> BulkReport[Any] | None:
        """Return the report as the shell calls it."""
        report = self.report
        if report is None:
            return None
        if self.shown_as is not None:
            report.operation = self.shown_as
        return waited_for(report) if self.arguments.wait else report

    def _show(self, report: BulkReport[Any], *, interrupted: bool) -> None:
        try:
            rows = False if self._can_do_nothing else None
            show(self.app.output, report, rows=True if self.app.verbose else rows)
        finally:
            self._note_keys(report)
            write_reports(self.app, report, self.arguments.report)
            if self.arguments.store is not None:
                from spaces_async.cli._store import advise

                store = self.arguments.store
                advise(self.app, store, report, interrupted=interrupted)

    def _require_one_place(self) -> None:
        """Refuse what cannot be had together with `--store`."""
        arguments = self.arguments
        if arguments.store is None:
            if arguments.lease is not None:
                raise click.UsageError("--lease needs --store")
            return
        if arguments.journal is not None:
            raise click.UsageError("name --journal or --store, not both")
        place_of(arguments.store)
        if self.operation is None or self.make_plan is not None:
            raise click.UsageError(
                "this command has a plan of its own, which cannot be kept in a --store"
            )

    def _note_keys(self, report: BulkReport[Any]) -> None:
        if self.operation is not None:
            for key in keys_not_found(self.operation, report):
                text = f"None of these Spaces had {key}: is the key right?"
                self.app.output.complain(text)

    async def _work(self, client: SpacesClient) -> None:
        output, session = self.app.output, session_of(client)
        if self._writes and not self.arguments.dry_run:
            await self.app.require_token(session)
        if self.flavor is not None:
            await require_known_flavors(session, [self.flavor])
        with Busy(self.app, "Listing") if self.targets.org else nullcontext():
            listed = await self.targets.listed(client, output)
        if not listed and self.targets.org:
            output.say(f"No Spaces of {self.targets.org} fit: nothing to do.")
            self._is_idle = True
            return
        if self._is_planned:
            self.plan = await self._limited_plan(client, listed)
            if self.shown_as is not None:
                self.plan.operation = self.shown_as
            if self.arguments.dry_run:
                await self._look_at_store(client)
                return
            if not self._can_do_nothing:
                say_left_out(output, self.plan)
        if self._writes:
            await self._confirm(listed)
        await self._send(client, listed)

    # The plan, and the question --------------------------------------------------------

    @property
    def _is_planned(self) -> bool:
        """Whether there is more to tell, or to check, than the ids themselves."""
        arguments = self.arguments
        wanted = arguments.dry_run or arguments.max_targets is not None
        return self._writes and (
            wanted or self.make_plan is not None or self.targets.org is not None
        )

    @property
    def _can_do_nothing(self) -> bool:
        """Whether an undo has nothing to bring back: each Space has the same to tell."""
        plan = self.plan
        return self.make_plan is not None and plan is not None and not plan.changes

    async def _limited_plan(self, client: SpacesClient, listed: list[Listed]) -> Plan:
        """Return the plan; a dry run shows also one that `--max-targets` refuses."""
        most = self.arguments.max_targets
        try:
            return await self._make_plan(client, listed, most)
        except ConfigurationError as error:
            if most is None or not self.arguments.dry_run:
                raise
            # It raises the same again where the limit is not the reason.
            plan = await self._make_plan(client, listed, None)
            self._too_many = error
            return plan

    async def _make_plan(
        self, client: SpacesClient, listed: list[Listed], most: int | str | None
    ) -> Plan:
        output = self.app.output
        with output.err.status("Planning ...") if output.live else nullcontext():
            if self.make_plan is not None:
                return await self.make_plan(client, listed, most)
            assert self.operation is not None  # noqa: S101  (else nothing is planned)
            chosen: list[Any] = [*listed]
            if not self.targets.org:
                chosen = [i for i in self.targets.ids if self._is_left(i)]
            elif self.arguments.dry_run:
                chosen = [each for each in listed if self._is_left(each.info.id)]
            return await client.bulk.plan(self.operation, chosen, max_targets=most)

    def _is_left(self, repo_id: str) -> bool:
        """Return whether an earlier run has not finished with a Space."""
        if self.only is not None:
            return repo_id in self.only
        return repo_id not in self.done_before

    async def _confirm(self, listed: list[Listed]) -> None:
        """Ask before a write to a whole org, before an undo, and before a deletion."""
        operation, arguments = self.operation, self.arguments
        ids = self._ids_to_do()
        if not ids:
            return
        asks = self.targets.org is not None and not arguments.yes
        if arguments.waves is not None and not asks and not self.resumes:
            self.app.output.say(pacing_text(arguments, self._name, ids))
        removes = getattr(operation, "removes_the_space", False)
        if removes and operation is not None:
            require_count(len(ids), arguments, self.targets, resumes=self.resumes)
            if not arguments.yes:
                await ask_about_ids(self.app.output, operation, ids, self.targets)
        elif self.plan is not None and not arguments.yes and not self.resumes:
            infos = {each.info.id: each.info for each in listed}
            spaces = [infos[repo_id] for repo_id in ids if repo_id in infos]
            pacing = pacing_text(arguments, self._name, ids)
            await ask_about_plan(
                self.app.output,
                operation,
                self.plan,
                spaces,
                self.targets,
                pacing=pacing,
            )

    # The write, and the wait -------------------------------------------------------------

    async def _send(self, client: SpacesClient, listed: list[Listed]) -> None:
        arguments = self.arguments
        options = BulkOptions(
            concurrency=arguments.concurrency,
            fail_fast=arguments.fail_fast,
            max_failures=arguments.max_failures,
            deadline=arguments.deadline,
            max_outage=arguments.max_outage,
            max_rate_limit_wait=self.app.max_wait,
        )
        if self._writes:
            await self._write(client, options | arguments.rollout())
            return
        assert self.goal is not None  # noqa: S101  (else there is something to write)
        options["concurrency"] = WAIT_CONCURRENCY
        with ProgressDisplay(self.app, "Wait", len(listed)) as display:
            operation = self.goal.operation(client, display)
            ids = [each.info.id for each in listed]
            stream = client.bulk.stream(operation, ids, **options)
            self.report = stream.report
            await drain(self.app, stream, display)

    async def _write(self, client: SpacesClient, options: BulkOptions) -> None:
        options = options | BulkOptions(on_unknown=self.on_unknown)
        await self._begin_journal(options)
        text = title(self.shown_as or self._name)
        text = f"{text} and wait" if self.arguments.wait else text
        ids = self._ids_to_do()
        with ProgressDisplay(self.app, text, len(ids), counted=ids) as display:
            stream = self._stream(client, options)
            self.report = stream.report
            if self.arguments.wait:
                display.waiting = lambda: stream.checking
            with self._steered(stream, display):
                await drain(self.app, stream, display, self._note_store)

    async def _note_store(self) -> None:
        """Note where the run is, now that it has begun."""
        if self.arguments.store is not None:
            planned = () if self.plan is None else self.plan.changes
            ids = [*self.targets.ids, *(change.repo_id for change in planned)]
            owners = _runs.owners_of(ids)
            where = self.arguments.store
            await asyncio.to_thread(_runs.note_store, where, self._name, owners)

    @contextmanager
    def _steered(
        self, stream: BulkStream[Any], display: ProgressDisplay
    ) -> Generator[None]:
        """Show the waves, and let keys steer them where somebody sees the progress."""
        arguments, output = self.arguments, self.app.output
        if arguments.waves is None:
            yield
            return
        view = RolloutView(self.app, stream, arguments.pause_between or 0.0)
        display.rollout = view
        # What is on stdin besides ids was not typed to steer anything.
        has_keys = output.live and not self.targets.from_stdin
        with view.keys() if has_keys else nullcontext():
            yield

    @property
    def _name(self) -> str:
        """The name of the operation."""
        if self.operation is not None:
            return self.operation.name
        return "wait" if self.plan is None else self.plan.operation

    def _ids_to_do(self) -> list[str]:
        """Return the Spaces that something is sent to, as far as that is known."""
        ids = list(self.targets.ids)
        if self.plan is not None and not self.resumes:
            ids = [change.repo_id for change in self.plan.changes]
        return [repo_id for repo_id in dict.fromkeys(ids) if self._is_left(repo_id)]

    def _stream(self, client: SpacesClient, options: BulkOptions) -> BulkStream[Any]:
        operation = self.operation
        if operation is not None and self.only is not None:
            return retry_stream(client.bulk, operation, self.only, options)
        if self.of_run is not None:
            return retry_stream_of_run(client.bulk, self.of_run, options)
        if self.arguments.store is not None and operation is not None:
            return self._shared_stream(client, operation, options)
        if self.plan is not None and not self.resumes:
            return self.plan.stream(**options)
        assert operation is not None  # noqa: S101  (else there is a plan)
        if deletes_keys(operation):
            # Without a look, deleting what is not there would count as done.
            options["only_changes"] = True
        return client.bulk.stream(operation, list(self.targets.ids), **options)

    def _shared_stream(
        self, client: SpacesClient, operation: Operation[Any], options: BulkOptions
    ) -> BulkStream[Any]:
        """Begin a run that other hosts work on, too: for what the plan would change."""
        if self.plan is not None or deletes_keys(operation):
            options["only_changes"] = True
        options["store"] = self.arguments.store
        options["record_before"] = self._records_before
        if self.arguments.lease is not None:
            options["lease"] = self.arguments.lease
        return client.bulk.stream(operation, self._ids_of_shared_run(), **options)

    def _ids_of_shared_run(self) -> list[str]:
        """Return the Spaces of a run in a store: of ids all, whatever a dry run planned."""
        arguments = self.arguments
        if self.targets.org is None and arguments.max_targets is None:
            return list(self.targets.ids)
        planned = () if self.plan is None else self.plan.changes
        return [change.repo_id for change in planned]

    async def _look_at_store(self, client: SpacesClient) -> None:
        """Look whether a run that a dry run would begin is there already."""
        if self.arguments.store is not None and self.operation is not None:
            from spaces_async.cli._store import about_run

            ids = self._ids_of_shared_run()
            self._about_store = await about_run(
                client, self.arguments.store, self.operation, ids
            )

    async def _begin_journal(self, options: BulkOptions) -> None:
        """Begin the journal, just before the first write."""
        given, output = self.arguments.journal, self.app.output
        if self.arguments.store is not None:
            return  # It keeps what a journal would.
        if self.journal is not None and given is not None:
            await self.journal.begin(output)
            options["journal"] = given
            if not self.resumes:
                await asyncio.to_thread(_runs.link_to, given, self._name)
            return
        if self.plan is not None and not self.plan.changes:
            return  # Nothing is sent, so there is nothing to go on with or to undo.
        try:
            run = await asyncio.to_thread(_runs.new_run, self._name)
        except OSError as error:
            output.complain(
                "Warning: there is no journal of this, so it cannot be undone:"
                f" {_runs.folder_text()}: {error.strerror or error}."
            )
            return
        path = OptionalJournal(run.path)
        self.journal = await asyncio.to_thread(
            JournalSummary, path, self.operation, resumes=False, name=run.name
        )
        options["journal"] = path
        options["record_before"] = self._records_before

    @property
    def _records_before(self) -> bool:
        """Whether the state before is worth a read of ids: a restart has no inverse."""
        operation = self.operation
        return self.plan is not None or (
            operation is not None
            and any(step.inverse is not None for _, step in steps_of(operation))
        )


def show_nothing(app: App, name: str, arguments: BulkArguments) -> None:
    """Give programs, and the file of `--report`, an empty result or plan.

    Args:
        app: The run, which has said that there is nothing to do.
        name: The operation.
        arguments: The options.
    """
    if not app.output.json and not arguments.report:
        return
    if arguments.dry_run:
        _show_plan(app, Plan(name), arguments)
        return
    report = BulkReport[Any](name)
    if app.output.json:
        show(app.output, report)
    write_reports(app, report, arguments.report)


def _show_plan(app: App, plan: Plan, arguments: BulkArguments) -> None:
    waves, ids = arguments.waves, [change.repo_id for change in plan.changes]
    sizes = None if waves is None else wave_sizes(waves, len(ids))
    show_plan(app.output, plan, waves=sizes)
    pacing = pacing_text(arguments, plan.operation, ids)
    if pacing and plan.changes:
        app.output.say(pacing)
    if arguments.report:
        from spaces_async.cli._plan_file import write_plan

        for path in arguments.report:
            write_plan(app, plan, path)


async def drain(
    app: App,
    stream: BulkStream[Any],
    display: ProgressDisplay,
    on_begin: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Show each outcome as it comes; Ctrl-C ends the bulk gently.

    Args:
        app: The command.
        stream: The bulk.
        display: Where to show them.
        on_begin: Called when the bulk has begun.
    """
    app.stop = stream.stop
    try:
        async with stream as outcomes:
            if on_begin is not None:
                await on_begin()
            async for outcome in outcomes:
                display.add_outcome(outcome)
    finally:
        app.stop = None
