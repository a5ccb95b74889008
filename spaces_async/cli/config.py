"""`variables` and `secrets`: list, add and delete them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from spaces_async.bulk import Operation, operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, with_bulk, with_concurrency
from spaces_async.cli._command import Group, examples
from spaces_async.cli._look import look_at
from spaces_async.cli._targets import Targets, with_targets
from spaces_async.cli._values import pairs, with_secrets
from spaces_async.models import SpaceSecret, SpaceVariable

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted
    from spaces_async.client import SpacesClient

__all__ = ["secrets", "variables"]

Settings = Mapping[str, SpaceVariable | SpaceSecret]

_keys = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="Which one; repeat for more.",
)
_description = click.option(
    "--description", metavar="TEXT", help="What it is for; kept if not given."
)


@click.group(cls=Group)
def variables() -> None:
    """Variables: readable by everyone who may see the Space.

    Changing one is believed to restart a running Space.
    """


@click.group(cls=Group)
def secrets() -> None:
    """Secrets: the Hub never shows their values again.

    Changing one is believed to restart a running Space.
    """


@variables.command("list", epilog=examples("spaces-async variables list acme/demo"))
@with_targets
@with_concurrency
@pass_app
def list_variables(app: App, targets: Targets, concurrency: int) -> int:
    """List variables with their values. In a pipe: id, key, value, description."""

    async def look(client: SpacesClient, repo_id: str) -> Settings:
        return await client.config.get_variables(repo_id)

    return _list(app, targets, concurrency, look, values=True)


@secrets.command("list", epilog=examples("spaces-async secrets list --org acme"))
@with_targets
@with_concurrency
@pass_app
def list_secrets(app: App, targets: Targets, concurrency: int) -> int:
    """List the names of secrets. In a pipe: id, key, time of change, description."""

    async def look(client: SpacesClient, repo_id: str) -> Settings:
        return await client.config.get_secrets(repo_id)

    return _list(app, targets, concurrency, look, values=False)


def _list(
    app: App,
    targets: Targets,
    concurrency: int,
    look: Callable[[SpacesClient, str], Awaitable[Settings]],
    *,
    values: bool,
) -> int:
    what = "value" if values else "updated_at"
    found, code = look_at(
        app,
        targets,
        concurrency,
        operations.as_operation(look, name="list", only_reads=True),
    )
    entries: list[dict[str, Any]] = [
        {
            "id": repo_id,
            "key": key,
            what: getattr(setting, what),
            "description": setting.description,
        }
        for repo_id, settings in found
        for key, setting in settings.items()
    ]
    if app.output.json:
        app.output.document(entries)
    else:
        rows = [[str(value or "") for value in entry.values()] for entry in entries]
        titles = ["Space", "key", what.partition("_")[0], "description"]
        app.output.rows(titles, rows)
    return code


@variables.command(
    "add",
    epilog=examples("spaces-async variables add acme/demo --set MODEL_ID=acme/chat"),
)
@with_targets
@click.option(
    "--set",
    "entries",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="The variable; repeat for more.",
)
@_description
@with_bulk
@pass_app
def add_variables(
    app: App,
    targets: Targets,
    flags: BulkFlags,
    entries: tuple[str, ...],
    description: str | None,
) -> int:
    """Add variables, or change those that are there."""
    given = pairs(entries, "--set")
    operation: Operation[Any] = operations.add_variables(given, description=description)
    if len(given) == 1:
        [(key, value)] = given.items()
        operation = operations.add_variable(key, value, description=description)
    return Job(app, operation, targets, flags, "Set variables of").run()


@variables.command(
    "delete",
    epilog=examples("spaces-async variables delete --org acme --key MODEL_ID"),
)
@with_targets
@_keys
@with_bulk
@pass_app
def delete_variables(
    app: App, targets: Targets, flags: BulkFlags, keys: tuple[str, ...]
) -> int:
    """Delete variables. One that is not there is no error."""
    operation: Operation[Any] = operations.delete_variables(keys)
    if len(set(keys)) == 1:
        operation = operations.delete_variable(keys[0])
    return Job(app, operation, targets, flags, "Delete variables of").run()


@secrets.command(
    "add",
    epilog=examples(
        "spaces-async secrets add acme/demo --from-env API_KEY",
        "spaces-async secrets add --org acme --from-file TLS_KEY=key.pem",
        "pass show api-key | spaces-async secrets add acme/demo --from-stdin API_KEY",
    ),
)
@with_targets
@with_secrets("")
@_description
@with_bulk
@pass_app
def add_secrets(
    app: App,
    targets: Targets,
    flags: BulkFlags,
    secrets: dict[str, Redacted[str]],
    description: str | None,
) -> int:
    """Add secrets, or change those that are there. Their values are never shown."""
    if not secrets:
        raise click.UsageError(
            "Which secret? Give --from-env, --from-file, --from-stdin or --set."
        )
    operation: Operation[Any] = operations.add_secrets(secrets, description=description)
    if len(secrets) == 1:
        [(key, value)] = secrets.items()
        operation = operations.add_secret(key, value, description=description)
    return Job(app, operation, targets, flags, "Set secrets of").run()


@secrets.command(
    "delete", epilog=examples("spaces-async secrets delete acme/demo --key API_KEY")
)
@with_targets
@_keys
@with_bulk
@pass_app
def delete_secrets(
    app: App, targets: Targets, flags: BulkFlags, keys: tuple[str, ...]
) -> int:
    """Delete secrets. One that is not there is no error."""
    operation: Operation[Any] = operations.delete_secrets(keys)
    if len(set(keys)) == 1:
        operation = operations.delete_secret(keys[0])
    return Job(app, operation, targets, flags, "Delete secrets of").run()
