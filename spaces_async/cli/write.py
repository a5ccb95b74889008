"""`restart`, `pause`, `hardware`, `sleep-time` and `storage`."""

from __future__ import annotations

import click

from spaces_async.bulk import operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, with_bulk
from spaces_async.cli._command import Command, Group, examples
from spaces_async.cli._targets import Targets, doubt_about, with_targets
from spaces_async.cli._times import SleepTime
from spaces_async.cli._wait import Wait, timeout_option
from spaces_async.models import SpaceStage

__all__ = ["hardware", "pause", "restart", "sleep_time", "storage"]


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async restart acme/demo",
        "spaces-async restart --org acme --stage failed --wait",
    ),
)
@with_targets
@click.option("--factory", is_flag=True, help="Build anew without the cache.")
@click.option("--wait", is_flag=True, help="Wait until they run.")
@timeout_option("How long --wait waits for all of them. Default: 600.", None)
@with_bulk
@pass_app
def restart(
    app: App,
    /,
    *,
    targets: Targets,
    flags: BulkFlags,
    factory: bool,
    wait: bool,
    timeout: float | None,
) -> int:
    """Restart Spaces. It is the only way to wake a paused one."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout belongs to --wait.")
    goal = Wait({SpaceStage.RUNNING}, 600.0 if timeout is None else timeout)
    operation = operations.restart(factory_reboot=factory)
    return Job(
        app,
        operation,
        targets,
        flags,
        "Factory reboot" if factory else "Restart",
        goal if wait else None,
    ).run()


@click.command(
    cls=Command, epilog=examples("spaces-async pause --org acme --match 'demo-*'")
)
@with_targets
@with_bulk
@pass_app
def pause(app: App, targets: Targets, flags: BulkFlags) -> int:
    """Pause Spaces.

    They stop and cost nothing until they are restarted.
    """
    return Job(app, operations.pause(), targets, flags, "Pause").run()


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async hardware t4-small acme/demo --sleep-time 1h",
        "spaces-async hardware cpu-basic --org acme --hardware t4-small,t4-medium",
    ),
)
@click.argument("flavor")
@with_targets
@click.option(
    "--sleep-time",
    type=SleepTime(),
    metavar="SECONDS|never",
    help="When they go to sleep on it: 3600, 30m, 2h, 1d or never.",
)
@with_bulk
@pass_app
def hardware(
    app: App, flavor: str, targets: Targets, flags: BulkFlags, sleep_time: int | None
) -> int:
    """Move Spaces to other hardware. They restart on it, and paid flavors bill."""
    operation = operations.request_hardware(flavor, sleep_time=sleep_time)
    if doubt := doubt_about(flavor):
        app.output.say(doubt)
    verb = f"Request {flavor} for"
    return Job(app, operation, targets, flags, verb).run()


@click.command(
    "sleep-time",
    cls=Command,
    epilog=examples("spaces-async sleep-time 2h --org acme --hardware t4-small"),
)
@click.argument("seconds", type=SleepTime(), metavar="SECONDS|never")
@with_targets
@with_bulk
@pass_app
def sleep_time(app: App, seconds: int, targets: Targets, flags: BulkFlags) -> int:
    """Set after how long without a visit Spaces go to sleep.

    SECONDS may also be 30m, 2h or 1d. On cpu-basic the Hub keeps to 48 hours.
    """
    operation = operations.set_sleep_time(seconds)
    verb = "Set the sleep time of"
    return Job(app, operation, targets, flags, verb).run()


@click.group(cls=Group)
def storage() -> None:
    """Legacy persistent storage.

    The Hub dropped it from its documentation in April 2026 in favour of volumes, and
    may refuse these calls.
    """


@storage.command("request", epilog=examples("spaces-async storage request small a/b"))
@click.argument("tier", metavar="small|medium|large")
@with_targets
@with_bulk
@pass_app
def request_storage(app: App, tier: str, targets: Targets, flags: BulkFlags) -> int:
    """Ask for a tier of the legacy storage. It cannot be made smaller later."""
    operation = operations.request_storage(tier)
    verb = f"Request {tier} storage for"
    return Job(app, operation, targets, flags, verb).run()


@storage.command("delete", epilog=examples("spaces-async storage delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_storage(app: App, targets: Targets, flags: BulkFlags) -> int:
    """Delete the legacy storage of Spaces, with all that is in it."""
    operation = operations.delete_storage()
    verb = "Delete the storage and its data of"
    return Job(app, operation, targets, flags, verb).run()
