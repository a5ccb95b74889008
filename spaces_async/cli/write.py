"""`restart`, `pause`, `hardware`, `sleep-time`, `storage` and `duplicate`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async import _validate
from spaces_async.bulk import operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, Wait, with_bulk
from spaces_async.cli._command import Command, Group, examples
from spaces_async.cli._targets import Targets, doubt_about, with_targets
from spaces_async.cli._values import pairs, with_secrets
from spaces_async.errors import SpacesError
from spaces_async.models import CreatedSpace, SpaceStage

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted
    from spaces_async.client import SpacesClient

__all__ = ["COMMANDS", "seconds_of"]

_DURATION: Final = re.compile(r"(\d+)([smhd]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class SleepTime(click.ParamType[int]):
    """Seconds, "30m", "2h", "1d" or "never" on the command line."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the seconds; -1 is never."""
        if isinstance(value, int):
            return value
        try:
            return seconds_of(value)
        except ValueError:
            self.fail(
                f"{value!r} is neither a duration such as 3600, 30m, 2h or 1d nor"
                " 'never'.",
                param,
                ctx,
            )


def seconds_of(text: str) -> int:
    """Read a sleep time.

    Raises:
        ValueError: It is none.
    """
    if text.lower() in {"never", "-1"}:
        return -1
    match = _DURATION.fullmatch(text.lower())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if seconds <= 0:
        raise ValueError(text)
    return seconds


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
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long --wait waits for all of them. Default: 600.",
)
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
        "restarted",
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
    return Job(app, operations.pause(), targets, flags, "Pause", "paused").run()


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
    return Job(app, operation, targets, flags, verb, "moved").run()


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
    return Job(app, operation, targets, flags, verb, "put to sleep").run()


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
    return Job(app, operation, targets, flags, verb, "given storage").run()


@storage.command("delete", epilog=examples("spaces-async storage delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_storage(app: App, targets: Targets, flags: BulkFlags) -> int:
    """Delete the legacy storage of Spaces, with all that is in it."""
    operation = operations.delete_storage()
    verb = "Delete the storage and its data of"
    return Job(app, operation, targets, flags, verb, "relieved of storage").run()


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async duplicate acme/demo me/copy --private --hardware t4-small",
        "spaces-async duplicate acme/demo --secret-from-env API_KEY",
    ),
)
@click.argument("from_id", metavar="FROM")
@click.argument("to_id", metavar="[TO]", required=False)
@click.option(
    "--private/--public", default=None, help="Who sees the copy. Default: the Hub's."
)
@click.option("--hardware", metavar="FLAVOR", help="Default: the free one.")
@click.option("--storage", metavar="TIER", help="Legacy storage: small, medium, large.")
@click.option(
    "--sleep-time",
    type=SleepTime(),
    metavar="SECONDS|never",
    help="When it goes to sleep: 3600, 30m, 2h, 1d or never.",
)
@click.option(
    "--variable", "variables", multiple=True, metavar="KEY=VALUE", help="A variable."
)
@with_secrets("secret-")
@click.option("--dry-run", is_flag=True, help="Print what would be sent.")
@pass_app
def duplicate(
    app: App,
    /,
    *,
    from_id: str,
    to_id: str | None,
    variables: tuple[str, ...],
    secrets: dict[str, Redacted[str]],
    dry_run: bool,
    **given: Any,
) -> int:
    """Copy a Space. Its variables come along, its secrets do not.

    TO is 'owner/name' or 'name'; without it the copy gets the same name under your
    account.
    """
    _validate.repo_id(from_id)
    values = pairs(variables, "--variable")
    output = app.output
    if dry_run:
        body = {
            "repository": to_id or from_id.partition("/")[2],
            **{name: value for name, value in given.items() if value is not None},
            "variables": values,
            "secrets": {key: str(value) for key, value in secrets.items()},
        }
        request = f"POST /api/spaces/{from_id}/duplicate"
        if output.json:
            output.document({"repo_id": from_id, "request": f"{request} {body}"})
        else:
            output.line(f"{request} {json.dumps(body)}")
        return 0

    async def work(client: SpacesClient) -> CreatedSpace:
        return await client.lifecycle.duplicate(
            from_id,
            to_id,
            secrets={key: value.reveal() for key, value in secrets.items()} or None,
            variables=values or None,
            **given,
        )

    try:
        copy = app.run(work)
    except SpacesError as error:
        if error.outcome_unknown:
            error.args = (f"{error.args[0]}. Look: spaces-async status {to_id}",)
        raise
    if output.json:
        output.document({"repo_id": copy.repo_id, "url": copy.url})
    else:
        output.line(copy.repo_id)
        output.say(f"Copied {from_id} to {copy.url or copy.repo_id}", style="green")
    return 0


COMMANDS = (restart, pause, hardware, sleep_time, storage, duplicate)
