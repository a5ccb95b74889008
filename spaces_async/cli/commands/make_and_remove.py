"""Make and remove: `create`, `duplicate`, `move` and `delete`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async import bulk
from spaces_async.cli._bulk_options import run_bulk, with_bulk_that_asks
from spaces_async.cli._command import SecretCommand, Section, apply, pass_app
from spaces_async.cli._durations import SleepTime
from spaces_async.cli._target_options import with_targets
from spaces_async.cli._values import VISIBILITIES, pairs, read_volumes, with_secrets
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from spaces_async._operations.write import RequestPreview
    from spaces_async._redacted import Redacted
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient
    from spaces_async.models import CreatedSpace, Volume

__all__ = ["section"]

section: Final = Section()

_SDKS: Final = ("gradio", "docker", "static")


def _with_common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that creating and duplicating have in common."""
    options: list[Callable[[Any], Any]] = [
        click.option("--hardware", metavar="FLAVOR", help="Default: the free one."),
        click.option(
            "--sleep-time",
            type=SleepTime(),
            metavar="SECONDS|never",
            help="Let it sleep after this time without a visit: 3600, 30m, 2h, 1d, never.",
        ),
        click.option(
            "--volume",
            "volumes",
            multiple=True,
            metavar="URI",
            help="A volume to mount, hf://owner/name:/mount; repeat for more.",
        ),
        click.option(
            "--resource-group",
            "resource_group_id",
            metavar="ID",
            help="The resource group of the org to put it in.",
        ),
        click.option(
            "--variable",
            "variables",
            multiple=True,
            metavar="KEY=VALUE",
            help="A variable; repeat for more.",
        ),
        with_secrets("secret-"),
        click.option("--dry-run", is_flag=True, help="Print what would be sent."),
    ]
    return _with_visibility(apply(function, options))


def _with_visibility(function: Callable[..., Any]) -> Callable[..., Any]:
    helps = (
        "Everyone can see it.",
        "Only its owner.",
        "Everyone can see the app only.",
    )
    return apply(
        function,
        [
            click.option(f"--{word}", "visibility", flag_value=word, help=text)
            for word, text in zip(VISIBILITIES, helps, strict=True)
        ],
    )


@section.command(
    "create",
    "spaces-async create acme/demo --sdk gradio --file app.py",
    "spaces-async create acme/bot --sdk gradio --template me/base | spaces-async wait -",
    "spaces-async create acme/demo --sdk docker --private --secret-from-env API_KEY",
    kind=SecretCommand,
)
@click.argument("repo_id", metavar="ID")
@click.option("--sdk", type=click.Choice(_SDKS), required=True, help="How it runs.")
@click.option(
    "--template",
    metavar="ID",
    help="A Space to start from: see `spaces-async templates`.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="[PATH=]FILE",
    help="A file for the first commit, as PATH in it; repeat for more.",
)
@click.option(
    "--description", "short_description", metavar="TEXT", help="At most 60 characters."
)
@click.option("--sdk-version", metavar="VERSION", help="Default: the newest.")
@click.option("--license", metavar="NAME", help="Such as apache-2.0.")
@click.option("--region", type=click.Choice(["us", "eu"]), help="Where it runs.")
@click.option("--dev-mode", is_flag=True, default=None, help="Start in dev mode.")
@_with_common
@click.option("--exist-ok", is_flag=True, help="It is no error if it exists.")
@pass_app
def create(
    app: App,
    /,
    *,
    repo_id: str,
    files: tuple[str, ...],
    exist_ok: bool,
    dry_run: bool,
    **given: Any,
) -> int:
    """Create a Space. ID is 'owner/name', or 'name' under your account."""
    from spaces_async._operations import writes

    content = _NewSpace(app, given)
    if files:
        content.given["files"] = [_file(entry) for entry in files]
    write = writes.create(repo_id, **content.arguments())
    if dry_run:
        return _preview(app, repo_id, write.preview(None))

    async def work(client: SpacesClient) -> CreatedSpace:
        return await client.lifecycle.create(
            repo_id, exist_ok=exist_ok, **content.arguments()
        )

    made = _run(app, work, repo_id)
    done = "Already there:" if made.existed else "Created"
    return _show(app, made.repo_id, made.url, f"{done} {made.url or made.repo_id}")


@section.command(
    "duplicate",
    "spaces-async duplicate acme/demo me/copy --private --hardware t4-small",
    "spaces-async duplicate acme/demo --secret-from-env API_KEY",
    kind=SecretCommand,
)
@click.argument("from_id", metavar="FROM")
@click.argument("to_id", metavar="[TO]", required=False)
@click.option("--storage", metavar="TIER", help="Legacy storage: small, medium, large.")
@_with_common
@pass_app
def duplicate(
    app: App, /, *, from_id: str, to_id: str | None, dry_run: bool, **given: Any
) -> int:
    """Copy a Space, with its variables but without its secrets.

    TO is 'owner/name' or 'name'. Default: the same name under your account.
    """
    from spaces_async import _validate
    from spaces_async._operations import writes

    _validate.repo_id(from_id)
    content = _NewSpace(app, given)
    if dry_run:
        # Whose the copy is where TO names no owner is found out only when it is sent.
        name = to_id or from_id.partition("/")[2]
        full = name if "/" in name else f"YOU/{name}"
        write = writes.duplicate(full, **content.arguments())
        return _preview(app, from_id, write.preview(from_id))

    async def work(client: SpacesClient) -> CreatedSpace:
        return await client.lifecycle.duplicate(from_id, to_id, **content.arguments())

    copy = _run(app, work, to_id or from_id.partition("/")[2])
    done = f"Copied {from_id} to {copy.url or copy.repo_id}"
    return _show(app, copy.repo_id, copy.url, done)


@section.command(
    "move",
    "spaces-async move acme/demo acme/showcase",
    "spaces-async move me/bot acme/bot",
)
@click.argument("from_id", metavar="FROM")
@click.argument("to_id", metavar="TO")
@click.option("--dry-run", is_flag=True, help="Print what would be sent.")
@pass_app
def move(app: App, from_id: str, to_id: str, dry_run: bool) -> int:
    """Rename a Space, or move it to another owner. Both are 'owner/name'."""
    from spaces_async import _validate
    from spaces_async._operations import writes

    _validate.repo_id(from_id)
    _validate.repo_id(to_id)
    if dry_run:
        return _preview(app, from_id, writes.move(to_id).preview(from_id))

    async def work(client: SpacesClient) -> str:
        await client.lifecycle.move(from_id, to_id)
        return f"{client.endpoint.rstrip('/')}/spaces/{to_id}"

    url = _run(app, work, to_id)
    return _show(app, to_id, url, f"Moved {from_id} to {url}")


@section.command(
    "delete",
    "spaces-async delete acme/demo",
    "spaces-async delete --org acme --match 'test-*' --dry-run",
    "spaces-async delete --org acme --match 'test-*' --yes --count 12",
)
@with_targets
@click.option("--missing-ok", is_flag=True, help="A missing Space is no error.")
@click.option(
    "--count",
    "how_many",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many Spaces are meant: with another number nothing is sent. --yes needs"
    " it for an --org and for ids from stdin.",
)
@with_bulk_that_asks
@pass_app
def delete(
    app: App, targets: Targets, arguments: BulkArguments, missing_ok: bool
) -> int:
    """Delete Spaces for good, with all their content.

    It asks first: for more than one their number has to be typed.
    """
    operation = bulk.operations.delete(missing_ok=missing_ok)
    return run_bulk(app, operation, targets, arguments)


class _NewSpace:
    """The options of a new Space, checked as far as that is possible here."""

    def __init__(self, app: App, given: dict[str, Any]) -> None:
        from spaces_async.cli._targets import doubt_about

        self.secrets: dict[str, Redacted[str]] = given.pop("secrets")
        self.variables = pairs(given.pop("variables"), "--variable")
        self.volumes: Sequence[Volume] = read_volumes(given.pop("volumes"))
        self.given = {k: value for k, value in given.items() if value is not None}
        flavor = self.given.get("hardware")
        if flavor and (doubt := doubt_about(flavor, "the value of --hardware")):
            app.output.say(doubt)

    def arguments(self) -> dict[str, Any]:
        """Return them as the library takes them."""
        return {
            **self.given,
            "secrets": {k: v.reveal() for k, v in self.secrets.items()} or None,
            "variables": self.variables or None,
            "volumes": self.volumes or None,
        }


def _file(entry: str) -> dict[str, str]:
    """Read the file of `FILE` or `PATH=FILE`, in the Hub's form."""
    target, equals, name = entry.partition("=")
    file = Path(name if equals else entry)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from None
    path = target if equals else file.name
    try:
        return {"path": path, "content": data.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        content = base64.b64encode(data).decode()
        return {"path": path, "content": content, "encoding": "base64"}


def _preview(app: App, repo_id: str, request: RequestPreview) -> int:
    output = app.output
    if output.json:
        output.document([{"repo_id": repo_id, **request.to_dict()}])
    else:
        output.line(str(request))
    output.say("Dry run: nothing was sent.")
    return 0


def _run(app: App, work: Callable[[SpacesClient], Awaitable[Any]], repo_id: str) -> Any:
    """Run it; if its outcome is unknown, say where to look."""
    try:
        return app.run(work)
    except SpacesError as error:
        if error.outcome_unknown:
            # A bare name is under an account whose name we do not know.
            look = f"status {repo_id}" if "/" in repo_id else "status --org YOU"
            error.args = (f"{error.args[0]}. To see: spaces-async {look}",)
        raise


def _show(app: App, repo_id: str, url: str | None, done: str) -> int:
    output = app.output
    if output.json:
        output.document({"repo_id": repo_id, "url": url})
    else:
        output.line(repo_id)
        output.say(done, style="green")
    return 0
