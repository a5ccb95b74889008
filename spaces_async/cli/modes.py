"""`replicas`, `dev-mode` and `visibility`: how Spaces run and who sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from spaces_async.bulk import operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, with_bulk
from spaces_async.cli._command import Command, examples
from spaces_async.cli._targets import Targets, with_targets

if TYPE_CHECKING:
    from typing import Any

    from spaces_async.bulk import BulkReport

__all__ = ["VISIBILITIES", "dev_mode", "replicas", "visibility"]

VISIBILITIES: Final = ("public", "private", "protected")

_HOST: Final = ".hf.space"
_SHOWN: Final = 3


@click.command(cls=Command, epilog=examples("spaces-async replicas 2 acme/demo"))
@click.argument("count", type=click.IntRange(min=1), metavar="N")
@with_targets
@with_bulk
@pass_app
def replicas(app: App, count: int, targets: Targets, flags: BulkFlags) -> int:
    """Set how many copies of the app run.

    It works on paid hardware only, and each copy bills.
    """
    verb = "Set the replicas of"
    return Job(app, operations.set_replicas(count), targets, flags, verb).run()


@click.command(
    "dev-mode",
    cls=Command,
    epilog=examples(
        "spaces-async dev-mode on acme/demo", "spaces-async dev-mode off --org acme"
    ),
)
@click.argument("switch", type=click.Choice(["on", "off"]), metavar="on|off")
@with_targets
@with_bulk
@pass_app
def dev_mode(app: App, switch: str, targets: Targets, flags: BulkFlags) -> int:
    """Switch dev mode on or off.

    It lets you SSH into Spaces and change code without a rebuild. On needs PRO or Team; it ends by itself after 48 hours without use.
    """
    on = switch == "on"
    verb = f"Switch dev mode {switch} for"
    job = Job(app, operations.set_dev_mode(on), targets, flags, verb)
    code = job.run()
    if on and job.written is not None:
        _say_how_to_connect(app, job.written)
    return code


def _say_how_to_connect(app: App, report: BulkReport[Any]) -> None:
    for outcome in report.succeeded[:_SHOWN]:
        runtime: Any = outcome.value
        domains = runtime.domains if runtime else ()  # None: an earlier run did it
        hosts = [d.domain for d in domains if d.domain.endswith(_HOST)]
        if hosts:
            app.output.say(f"Connect: ssh {hosts[0].removesuffix(_HOST)}@ssh.hf.space")


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async visibility private acme/demo",
        "spaces-async visibility public --org acme --match 'demo-*'",
    ),
)
@click.argument("who", type=click.Choice(VISIBILITIES), metavar="|".join(VISIBILITIES))
@with_targets
@with_bulk
@pass_app
def visibility(app: App, who: str, targets: Targets, flags: BulkFlags) -> int:
    """Set who sees Spaces.

    The code of a protected Space is private and its app is not: for PRO and Team.
    """
    operation = operations.set_visibility(who)
    return Job(app, operation, targets, flags, f"Make {who}:").run()
