"""Look: `list`, `status`, `costs`, `info`, `wait`, `logs`, `events` and `exporter`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import click

from spaces_async.cli import _completion
from spaces_async.cli._bulk_options import timeout_option, with_concurrency
from spaces_async.cli._command import Section, pass_app
from spaces_async.cli._details import info_details
from spaces_async.cli._durations import Seconds
from spaces_async.cli._follow import read_streams, resolve_ids
from spaces_async.cli._lines import LineWriter
from spaces_async.cli._output import hardware_text, stage_text
from spaces_async.cli._read import read_infos
from spaces_async.cli._report_option import report_option
from spaces_async.cli._status_options import columns_of, with_columns
from spaces_async.cli._target_options import (
    with_targets,
    with_targets_on_any_hardware,
)
from spaces_async.cli._use_options import COST_SORTS, with_use
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.cli._use import Question
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo
    from spaces_async.records import LogLine

__all__ = ["section"]

section: Final = Section()

_LISTED_FIELDS: Final = ("runtime", "sdk", "private")
_NARROW_COLUMNS: Final = 72
_WAIT_SECONDS: Final = 600
_LOG_CONCURRENCY: Final = 16
"""How many logs are read at the same time when none is followed."""


@section.command(
    "list",
    "spaces-async list --org acme --stage paused",
    "spaces-async list --org acme --sdk docker | spaces-async restart -",
)
@with_targets
@with_concurrency
@pass_app
def list_spaces(app: App, targets: Targets, concurrency: int) -> int:
    """List Spaces. In a pipe: their ids only."""

    async def read(client: SpacesClient, repo_id: str) -> SpaceInfo:
        return await client.catalog.get_info(repo_id, expand=_LISTED_FIELDS)

    from spaces_async.cli._status_command import json_data

    spaces, code = read_infos(app, targets, concurrency, read)
    output = app.output
    if output.json:
        output.document([json_data(info) for info in spaces])
    elif not output.table_out:
        output.ids(info.id for info in spaces)
    else:
        rows = [
            (
                info.id,
                stage_text(info.stage),
                hardware_text(info.runtime),
                str(info.sdk or "-"),
                "private" if info.private else "public",
            )
            for info in spaces
        ]
        titles = ["Space", "stage", "hardware", "sdk", "visibility"]
        output.rows(titles, rows, spare=("sdk", "hardware"))
    return code


@section.command(
    "status",
    "spaces-async status acme/demo acme/chat",
    "spaces-async status --org acme --sort rate -o wide",
    "spaces-async status --org acme --watch",
    "spaces-async status --org acme --stage failed --json",
)
@click.option("--summary", is_flag=True, help="Only how many are in each stage.")
@with_columns
@with_targets
@with_concurrency
@pass_app
def status(
    app: App,
    /,
    *,
    targets: Targets,
    concurrency: int,
    summary: bool,
    sort: str,
    form: str | None,
    columns: tuple[str, ...],
    watch: bool,
    every: float,
) -> int:
    """Show the stage, hardware, cost and error of Spaces.

    The failed ones come first. A narrow terminal does without some columns, never
    without the error. A whole org takes one call for each 500 Spaces. In a pipe the
    columns are: id, stage, hardware, sleep time, SDK, error.
    """
    from spaces_async.cli._status_command import StatusCommand

    app.output.json = app.output.json or form == "json"
    command = StatusCommand(
        app, targets, sort, form, columns_of(columns), concurrency=concurrency
    )
    if watch:
        if summary:
            raise click.UsageError("Use --watch or --summary, not both.")
        return command.watch(every)
    return command.show_summary() if summary else command.show()


@section.command(
    "costs",
    "spaces-async costs --org acme",
    "spaces-async costs --org acme --unused-for 14d --sort month",
    "spaces-async costs --org acme --no-sample --csv > costs.csv",
)
@with_targets
@with_concurrency
@with_use
@click.option(
    "--sort",
    type=click.Choice(COST_SORTS),
    default="rate",
    show_default=True,
    help="The dearest first (now, or this month), by name, or the unused first.",
)
@click.option("--all", "everything", is_flag=True, help="Show what is free, too.")
@click.option("--csv", "as_csv", is_flag=True, help="Print results as CSV.")
@pass_app
def costs(
    app: App,
    /,
    *,
    targets: Targets,
    concurrency: int,
    question: Question,
    sort: str,
    everything: bool,
    as_csv: bool,
) -> int:
    """Show what Spaces cost, and which paid ones run unused.

    The rate is the price of the flavor times the replicas, while the app runs. What
    was spent this month is read from the bill; if the token may not read it, that is
    unknown, and the rates are an estimate.

    Unused is a Space without CPU, GPU and network in a sample of its metrics. That is
    a short look: it says nothing about the rest of the day.

    In a pipe the columns are: id, hardware, dollars per hour, dollars this month, and
    whether it is used (its stage if it costs nothing). JSON and CSV have all Spaces.
    """
    from spaces_async.cli._cost_text import TITLES, csv_text, rows, summary
    from spaces_async.cli._output import plural
    from spaces_async.cli._spending import read_spending

    output = app.output
    if as_csv and output.json:
        raise click.UsageError("Use --json or --csv, not both.")
    spending, code = read_spending(app, targets, concurrency, question)
    found = spending.sorted(sort)
    if as_csv:
        click.echo(csv_text(found), nl=False)
    elif output.json:
        output.document(spending.to_dict(found))
    else:
        shown = [cost for cost in found if everything or cost.costs]
        narrow = output.table_out and output.out.width < _NARROW_COLUMNS
        output.rows(
            TITLES,
            rows(shown, for_people=output.table_out),
            spare=["hardware"] if narrow else (),
        )
        if free := len(found) - len(shown):
            output.say(f"{plural(free)} cost nothing; --all shows them.")
    for line in summary(spending) if spending.costs else ():
        output.say(line)
    return code


@section.command(
    "info",
    "spaces-async info acme/demo",
    "spaces-async info acme/demo --json | jq .cardData",
)
@click.argument("repo_id", metavar="ID", shell_complete=_completion.ids)
@pass_app
def info(app: App, repo_id: str) -> int:
    """Show everything about one Space. With --json: the Hub's answer as it is."""
    from spaces_async import _validate

    _validate.repo_id(repo_id)

    async def work(client: SpacesClient) -> tuple[SpaceInfo, str]:
        return await client.catalog.get_info(repo_id), client.endpoint

    found, endpoint = app.run(work)
    if app.output.json:
        app.output.document(found.raw)
    else:
        app.output.details(info_details(found, endpoint))
    return 0


@section.command(
    "wait",
    "spaces-async wait acme/demo",
    "spaces-async wait acme/demo --commit $(git rev-parse HEAD)",
    "spaces-async wait --org acme --stage building --for RUNNING,SLEEPING",
)
@with_targets_on_any_hardware
@click.option(
    "--for",
    "stages",
    multiple=True,
    default=("RUNNING",),
    metavar="STAGE",
    shell_complete=_completion.stages,
    help="The stage to wait for. Repeat or separate with commas for any of several."
    " [default: RUNNING]",
)
@click.option(
    "--commit",
    metavar="SHA",
    help="Wait until this commit runs; the first 7 digits are enough.",
)
@click.option(
    "--hardware",
    metavar="FLAVOR",
    shell_complete=_completion.flavors,
    help="Wait until they are on this hardware.",
)
@timeout_option("How long to wait for all of them.", _WAIT_SECONDS)
@report_option()
@pass_app
def wait(
    app: App,
    /,
    *,
    targets: Targets,
    stages: tuple[str, ...],
    commit: str | None,
    hardware: str | None,
    timeout: float,
    report: tuple[Path, ...],
) -> int:
    """Wait until Spaces run, or reach another stage.

    A Space that fails, or is paused, will not get there: it counts as failed. All are
    waited for at once; those of one owner share the calls.
    """
    from spaces_async._follow import stage_rules
    from spaces_async.cli._bulk import BulkArguments, BulkCommand
    from spaces_async.cli._targets import doubt_about, stages_of
    from spaces_async.cli._wait import WaitGoal

    wanted = stages_of(stages)
    if not wanted:
        raise click.UsageError("Which stage? --for names none.")
    if commit is not None:
        try:
            commit = stage_rules.commit(commit)
        except ConfigurationError:
            raise click.UsageError(
                "--commit takes the hash of a commit, or its first 7 or more digits."
            ) from None
    if hardware is not None and (doubt := doubt_about(hardware)):
        app.output.say(doubt)
    goal = WaitGoal(wanted, timeout, hardware=hardware, sha=commit)
    return BulkCommand(app, None, targets, BulkArguments(report=report), goal).run()


@section.command(
    "logs",
    "spaces-async logs acme/demo -n 100",
    "spaces-async logs -f acme/demo acme/chat",
    "spaces-async logs --build --org acme --stage BUILD_ERROR -n 5",
)
@with_targets
@click.option("-f", "--follow", is_flag=True, help="Keep showing new lines.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(min=1),
    metavar="N",
    help="Start with the last N lines.",
)
@click.option("--build", is_flag=True, help="The log of the build, not of the app.")
@click.option("--timestamps", is_flag=True, help="Show when each line was written.")
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

    The Hub does not mark the end of a log: without -f this ends after some seconds
    without a new line. With --json each line is a JSON object. In a pipe the columns
    are: id (of several Spaces), time (with --timestamps), text.
    """
    ids = resolve_ids(app, targets)
    writer = LineWriter(app.output, ids, timestamps=timestamps)
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
                    writer.log_line(line)
                else:
                    found[repo_id].append(line)
                if not follow and count == tail:
                    break  # all that was asked for: no need to wait for silence
        if not count and not follow:
            app.output.say(f"{repo_id}: the log is empty.")

    output = app.output
    quiet = at_once or not output.live
    with nullcontext() if quiet else output.err.status("Reading ..."):
        concurrency = len(ids) if follow else min(len(ids), _LOG_CONCURRENCY)
        code = read_streams(app, ids, read, concurrency)
    for line in writer.merged(found.values()):
        writer.log_line(line)
    return code


@section.command(
    "events",
    "spaces-async events acme/demo",
    "spaces-async events --org acme --json | jq -c 'select(.kind == \"stage\")'",
)
@with_targets
@pass_app
def events(app: App, targets: Targets) -> int:
    """Follow what happens to Spaces, until Ctrl-C.

    These are changes of stage, and use of ZeroGPU. With --json each event is a JSON
    object. In a pipe the columns are: id (of several Spaces), time, kind, data.
    """
    ids = resolve_ids(app, targets)
    writer = LineWriter(app.output, ids)

    async def read(client: SpacesClient, repo_id: str) -> None:
        async with client.logs.stream_events(repo_id) as source:
            async for event in source:
                writer.event(event, client.clock.utcnow())

    return read_streams(app, ids, read, len(ids))


@section.command(
    "exporter",
    "spaces-async exporter --org acme --port 9400",
    "spaces-async exporter --org acme --org beta --probe /health",
)
@click.option(
    "--org",
    "orgs",
    multiple=True,
    required=True,
    metavar="NAME",
    shell_complete=_completion.orgs,
    help="All Spaces of a user or org; repeat for more.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9400,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--probe",
    metavar="PATH",
    help="Also ask each running app for PATH, such as /health.",
)
@click.option(
    "--timeout",
    type=Seconds(),
    default=9.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for a scrape. Prometheus waits 10 seconds unless told otherwise.",
)
@pass_app
def exporter(
    app: App,
    /,
    *,
    orgs: tuple[str, ...],
    port: int,
    host: str,
    probe: str | None,
    timeout: float,
) -> int:
    """Serve Prometheus metrics of the Spaces of an org.

    These are stage, hardware, replicas, cost, whether the newest commit runs, whether the
    app answers (--probe), and the quota that is left. Each scrape costs one call for
    every 500 Spaces. It serves until Ctrl-C.
    """
    from spaces_async.cli._exporter_command import ExporterCommand

    return ExporterCommand(
        app=app, orgs=orgs, host=host, port=port, probe=probe, timeout=timeout
    ).run()
