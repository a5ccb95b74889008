"""`list`, `status` and `wait`: what there is and what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spaces_async.bulk import operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, with_concurrency
from spaces_async.cli._command import Command, examples
from spaces_async.cli._look import look_at_infos
from spaces_async.cli._output import Cell, hardware_text, human_seconds, stage_text
from spaces_async.cli._targets import Targets, stage_counts, stages_of, with_targets
from spaces_async.cli._wait import Wait, timeout_option
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient

__all__ = ["list_spaces", "status", "wait"]

_EXPAND = ("runtime", "sdk", "private")


@click.command(
    "list",
    cls=Command,
    epilog=examples(
        "spaces-async list --org acme --stage paused",
        "spaces-async list --org acme --sdk docker | spaces-async restart -",
    ),
)
@with_targets
@with_concurrency
@pass_app
def list_spaces(app: App, targets: Targets, concurrency: int) -> int:
    """List Spaces; into a pipe, just their ids."""

    async def look(client: SpacesClient, repo_id: str) -> SpaceInfo:
        return await client.catalog.get_info(repo_id, expand=_EXPAND)

    spaces, code = look_at_infos(
        app,
        targets,
        concurrency,
        operations.as_operation(look, name="list", only_reads=True),
    )
    output = app.output
    if output.json:
        output.document([_as_json(info) for info in spaces])
    elif not output.table_out:
        for info in spaces:
            output.line(info.id)
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
        output.rows(["Space", "stage", "hardware", "sdk", "visibility"], rows)
    return code


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async status acme/demo acme/chat",
        "spaces-async status --org acme --summary",
        "spaces-async status --org acme --stage failed --json",
    ),
)
@with_targets
@with_concurrency
@click.option("--summary", is_flag=True, help="Only how many are in each stage.")
@pass_app
def status(app: App, targets: Targets, concurrency: int, summary: bool) -> int:
    """Show the stage, hardware, sleep time and error of Spaces.

    A whole org takes one call for each 500 Spaces. In a pipe the columns are: id,
    stage, hardware, sleep time, SDK, error.
    """

    async def look(client: SpacesClient, repo_id: str) -> SpaceInfo:
        runtime = await client.lifecycle.get_runtime(repo_id)
        return SpaceInfo(repo_id, sdk=runtime.sdk, runtime=runtime)

    spaces, code = look_at_infos(
        app,
        targets,
        concurrency,
        operations.as_operation(look, name="status", only_reads=True),
    )
    output = app.output
    if summary:
        counts = stage_counts(spaces)
        if output.json:
            output.document({str(stage): count for stage, count in counts})
        else:
            output.rows(
                ["Stage", "Spaces"], [(stage_text(s), str(n)) for s, n in counts]
            )
    elif output.json:
        output.document([_as_json(info) for info in spaces])
    else:
        titles = ["Space", "stage", "hardware", "sleeps after", "sdk", "error"]
        output.rows(titles, [_row(info) for info in spaces])
    return code


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async wait acme/demo",
        "spaces-async wait --org acme --stage building --for RUNNING,SLEEPING",
    ),
)
@with_targets
@click.option(
    "--for",
    "stages",
    multiple=True,
    default=("RUNNING",),
    show_default="RUNNING",
    metavar="STAGE",
    help="Where they should be; repeat or separate with commas.",
)
@timeout_option("How long to wait for all of them.", 600)
@pass_app
def wait(app: App, targets: Targets, stages: tuple[str, ...], timeout: float) -> int:
    """Wait until Spaces run, or are in another stage.

    A Space that fails, or is paused, will not get there: it counts as failed. All are
    waited for at once; those of one owner share the calls.
    """
    goal = Wait(stages_of(stages), timeout)
    return Job(app, None, targets, BulkFlags(), "Wait", wait=goal).run()


def _row(info: SpaceInfo) -> tuple[Cell, ...]:
    runtime = info.runtime
    asleep = human_seconds(runtime.sleep_time) if runtime else "-"
    return (
        info.id,
        stage_text(info.stage),
        hardware_text(info.runtime),
        asleep,
        str(info.sdk or "-"),
        (runtime.error_message if runtime else None) or "",
    )


def _as_json(info: SpaceInfo) -> dict[str, Any]:
    runtime = info.runtime
    return {
        "id": info.id,
        "stage": info.stage,
        "sdk": info.sdk,
        "private": info.private,
        "hardware": runtime and runtime.hardware,
        "requested_hardware": runtime and runtime.requested_hardware,
        "sleep_time": runtime and runtime.sleep_time,
        "error_message": runtime and runtime.error_message,
    }
