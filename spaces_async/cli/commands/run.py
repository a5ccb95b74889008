"""Run: what starts, stops and sizes the app of a Space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async import bulk
from spaces_async.cli import _completion
from spaces_async.cli._bulk_options import (
    run_bulk,
    timeout_option,
    with_bulk,
    with_bulk_that_asks,
)
from spaces_async.cli._command import Section, apply, pass_app
from spaces_async.cli._durations import SleepTime
from spaces_async.cli._target_options import with_targets
from spaces_async.cli._use_options import with_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets
    from spaces_async.cli._use import Question

__all__ = ["section"]

section: Final = Section()

_HOST_SUFFIX: Final = ".hf.space"
_SHOWN_CONNECTIONS: Final = 3


def _with_wait(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--wait` and `--timeout`, which are part of its `arguments`."""
    options = [
        click.option("--wait", is_flag=True, help=text),
        timeout_option(
            "How long --wait waits for each, from its restart. [default: 10m]",
            None,
        ),
    ]
    return lambda function: apply(function, options)


@section.command(
    "restart",
    "spaces-async restart acme/demo",
    "spaces-async restart --org acme --stage failed --wait",
)
@with_targets
@click.option("--factory", is_flag=True, help="Rebuild without the cache.")
@_with_wait("Wait until they run.")
@with_bulk
@pass_app
def restart(
    app: App,
    /,
    *,
    targets: Targets,
    arguments: BulkArguments,
    factory: bool,
) -> int:
    """Restart Spaces. It is the only way to wake a paused one."""
    operation = bulk.operations.restart(factory_reboot=factory)
    return run_bulk(app, operation, targets, arguments)


@section.command(
    "wake", "spaces-async wake acme/demo", "spaces-async wake --org acme --wait"
)
@with_targets
@_with_wait("Wait until they run.")
@with_bulk
@pass_app
def wake(
    app: App,
    /,
    *,
    targets: Targets,
    arguments: BulkArguments,
) -> int:
    """Restart Spaces that sleep, are paused or are stopped.

    Those that run, start or have failed are left alone.
    """
    from spaces_async.cli._wake import run_wake

    return run_wake(app, targets, arguments, ("idle",))


@section.command("unpause", "spaces-async unpause --org acme --match 'demo-*'")
@with_targets
@_with_wait("Wait until they run.")
@with_bulk
@pass_app
def unpause(
    app: App,
    /,
    *,
    targets: Targets,
    arguments: BulkArguments,
) -> int:
    """Restart Spaces that are paused; all others are left alone."""
    from spaces_async.cli._wake import run_wake

    return run_wake(app, targets, arguments, ("PAUSED",))


@section.command("pause", "spaces-async pause --org acme --match 'demo-*'")
@with_targets
@with_bulk
@pass_app
def pause(app: App, targets: Targets, arguments: BulkArguments) -> int:
    """Pause Spaces.

    They stop, and cost nothing until they are restarted.
    """
    return run_bulk(app, bulk.operations.pause(), targets, arguments)


@section.command(
    "sweep",
    "spaces-async sweep --org acme --dry-run",
    "spaces-async sweep --org acme --unused-for 14d --sample 1m",
)
@with_targets
@with_use
@with_bulk_that_asks
@pass_app
def sweep(
    app: App, targets: Targets, question: Question, arguments: BulkArguments
) -> int:
    """Pause paid Spaces that run unused, and say what that saves.

    Unused is a Space without CPU, GPU and network in a sample of its metrics; `costs`
    shows the same ones. Spaces of which that is not known are left as they are. It asks
    first, and shows which ones and what they cost.
    """
    from spaces_async.cli._sweep import run_sweep

    return run_sweep(app, targets, question, arguments)


@section.command(
    "hardware",
    "spaces-async hardware t4-small acme/demo --sleep-time 1h --wait",
    "spaces-async hardware cpu-basic --org acme --hardware t4-small,t4-medium",
)
@click.argument("flavor", shell_complete=_completion.flavors)
@with_targets
@click.option(
    "--sleep-time",
    type=SleepTime(),
    metavar="SECONDS|never",
    help="Let them sleep after this time without a visit: 3600, 30m, 2h, 1d, never.",
)
@_with_wait("Wait until they run on it.")
@with_bulk
@pass_app
def hardware(
    app: App,
    /,
    *,
    flavor: str,
    targets: Targets,
    arguments: BulkArguments,
    sleep_time: int | None,
) -> int:
    """Move Spaces to other hardware. They restart on it; paid flavors cost money.

    A Space that is paused or asleep stays so, and --wait does not wait for it.
    """
    from spaces_async.cli._bulk import BulkCommand

    operation = bulk.operations.request_hardware(flavor, sleep_time=sleep_time)
    command = BulkCommand(app, operation, targets, arguments)
    if not targets.any_flavor:
        command.flavor = flavor
    return command.run()


@section.command(
    "sleep-time", "spaces-async sleep-time 2h --org acme --hardware t4-small"
)
@click.argument("seconds", type=SleepTime(), metavar="SECONDS|never")
@with_targets
@with_bulk
@pass_app
def sleep_time(
    app: App, seconds: int, targets: Targets, arguments: BulkArguments
) -> int:
    """Set after how long without a visit Spaces go to sleep.

    SECONDS may also be 30m, 2h or 1d. On cpu-basic the Hub always takes 48 hours.
    """
    return run_bulk(app, bulk.operations.set_sleep_time(seconds), targets, arguments)


@section.command("replicas", "spaces-async replicas 2 acme/demo")
@click.argument("count", type=click.IntRange(min=1), metavar="N")
@with_targets
@with_bulk
@pass_app
def replicas(app: App, count: int, targets: Targets, arguments: BulkArguments) -> int:
    """Set how many copies of the app run.

    This works on paid hardware only, and each copy costs money.
    """
    return run_bulk(app, bulk.operations.set_replicas(count), targets, arguments)


@section.command(
    "dev-mode",
    "spaces-async dev-mode on acme/demo",
    "spaces-async dev-mode off --org acme",
)
@click.argument("switch", type=click.Choice(["on", "off"]), metavar="on|off")
@with_targets
@with_bulk
@pass_app
def dev_mode(app: App, switch: str, targets: Targets, arguments: BulkArguments) -> int:
    """Switch dev mode on or off.

    With dev mode you can SSH into a Space and change code without a rebuild. It needs
    PRO or Team, and ends by itself after 48 hours without use.
    """
    from spaces_async.cli._bulk import BulkCommand

    on = switch == "on"
    command = BulkCommand(app, bulk.operations.set_dev_mode(on), targets, arguments)
    code = command.run()
    if on and command.report is not None:
        _say_how_to_connect(app, command.report)
    return code


def _say_how_to_connect(app: App, report: bulk.BulkReport[Any]) -> None:
    for outcome in report.succeeded[:_SHOWN_CONNECTIONS]:
        runtime: Any = outcome.value
        domains = runtime.domains if runtime else ()  # None: an earlier run did it
        hosts = [d.domain for d in domains if d.domain.endswith(_HOST_SUFFIX)]
        if hosts:
            name = hosts[0].removesuffix(_HOST_SUFFIX)
            app.output.say(f"Connect: ssh {name}@ssh.hf.space")
