"""Configure: `variables`, `secrets`, `volumes`, `storage` and `visibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async import bulk
from spaces_async.cli._bulk_options import run_bulk, with_bulk, with_concurrency
from spaces_async.cli._command import SecretGroup, Section, examples, pass_app
from spaces_async.cli._read import read_each
from spaces_async.cli._target_options import with_targets, with_targets_and
from spaces_async.cli._values import (
    VISIBILITIES,
    pairs,
    variables_of,
    with_env_file,
    with_new_value,
    with_secrets,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from spaces_async._redacted import Redacted
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceSecret, SpaceVariable, Volume

    Entries = Mapping[str, SpaceVariable | SpaceSecret]

__all__ = ["section"]

section: Final = Section()

_keys = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="The key to delete; repeat for more.",
)
_description = click.option(
    "--description",
    metavar="TEXT",
    help="What it is for. Default: keep the description.",
)
_with_volumes = with_targets_and(
    "hf://", "uris", "VOLUME", "hf://models/owner/name:/models"
)


@section.group("variables")
def variables() -> None:
    """Variables: everyone who can see the Space can read them.

    Changing one usually restarts a running Space.
    """


@section.group("secrets", SecretGroup)
def secrets() -> None:
    """Secrets: the Hub never shows their values again.

    Changing one usually restarts a running Space.
    """


@variables.command("list", epilog=examples("spaces-async variables list acme/demo"))
@with_targets
@with_concurrency
@pass_app
def list_variables(app: App, targets: Targets, concurrency: int) -> int:
    """List variables with their values. In a pipe: id, key, value, description."""

    async def read(client: SpacesClient, repo_id: str) -> Entries:
        return await client.config.get_variables(repo_id)

    return _list(app, targets, concurrency, read, column="value")


@secrets.command("list", epilog=examples("spaces-async secrets list --org acme"))
@with_targets
@with_concurrency
@pass_app
def list_secrets(app: App, targets: Targets, concurrency: int) -> int:
    """List the keys of secrets. In a pipe: id, key, time of change, description."""

    async def read(client: SpacesClient, repo_id: str) -> Entries:
        return await client.config.get_secrets(repo_id)

    return _list(app, targets, concurrency, read, column="updated_at")


def _list(
    app: App,
    targets: Targets,
    concurrency: int,
    read: Callable[[SpacesClient, str], Awaitable[Entries]],
    *,
    column: str,
) -> int:
    found, code = read_each(app, targets, concurrency, read)
    entries: list[dict[str, Any]] = [
        {
            "id": repo_id,
            "key": key,
            column: getattr(setting, column),
            "description": setting.description,
        }
        for repo_id, settings in found
        for key, setting in settings.items()
    ]
    if app.output.json:
        app.output.document(entries)
    else:
        rows = [[str(value or "") for value in entry.values()] for entry in entries]
        titles = ["Space", "key", column.partition("_")[0], "description"]
        app.output.rows(titles, rows)
    return code


@variables.command(
    "add",
    epilog=examples(
        "spaces-async variables add acme/demo MODEL_ID=acme/chat",
        "spaces-async variables add acme/demo --env-file .env",
    ),
)
@with_targets_and("=", "words", "KEY=VALUE", "MODEL_ID=acme/chat", required=False)
@click.option(
    "--set",
    "entries",
    multiple=True,
    metavar="KEY=VALUE",
    help="The same as the argument KEY=VALUE.",
)
@with_env_file()
@_description
@with_bulk
@pass_app
def add_variables(
    app: App,
    /,
    *,
    targets: Targets,
    arguments: BulkArguments,
    words: tuple[str, ...],
    entries: tuple[str, ...],
    env_files: tuple[str, ...],
    description: str | None,
) -> int:
    """Add variables, or change existing ones."""
    given = variables_of(env_files, pairs((*words, *entries), "--set"))
    if not given:
        raise click.UsageError("Which variable? Give KEY=VALUE or --env-file.")
    operation: bulk.Operation[Any] = bulk.operations.add_variables(
        given, description=description
    )
    if len(given) == 1:
        [(key, value)] = given.items()
        operation = bulk.operations.add_variable(key, value, description=description)
    return run_bulk(app, operation, targets, arguments)


@variables.command(
    "delete",
    epilog=examples("spaces-async variables delete --org acme --key MODEL_ID"),
)
@with_targets
@_keys
@with_bulk
@pass_app
def delete_variables(
    app: App, targets: Targets, arguments: BulkArguments, keys: tuple[str, ...]
) -> int:
    """Delete variables. A missing one is no error."""
    operation: bulk.Operation[Any] = bulk.operations.delete_variables(keys)
    if len(set(keys)) == 1:
        operation = bulk.operations.delete_variable(keys[0])
    return run_bulk(app, operation, targets, arguments)


@secrets.command(
    "add",
    epilog=examples(
        "spaces-async secrets add acme/demo --from-env API_KEY",
        "spaces-async secrets add --org acme --from-file TLS_KEY=key.pem",
        "pass show api-key | spaces-async secrets add acme/demo --from-stdin API_KEY",
        "spaces-async secrets add acme/demo --env-file .env",
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
    arguments: BulkArguments,
    secrets: dict[str, Redacted[str]],
    description: str | None,
) -> int:
    """Add secrets, or change existing ones. Their values are never shown."""
    if not secrets:
        raise click.UsageError(
            "Which secret? Give --from-env, --from-file, --from-stdin, --env-file or"
            " --set."
        )
    operation: bulk.Operation[Any] = bulk.operations.add_secrets(
        secrets, description=description
    )
    if len(secrets) == 1:
        [(key, value)] = secrets.items()
        operation = bulk.operations.add_secret(key, value, description=description)
    return run_bulk(app, operation, targets, arguments)


@secrets.command(
    "rotate",
    epilog=examples(
        "spaces-async secrets rotate API_KEY --org acme",
        "pass show key | spaces-async secrets rotate KEY acme/demo --from-stdin",
    ),
)
@click.argument("key")
@with_targets
@with_new_value
@with_bulk
@pass_app
def rotate_secret(
    app: App,
    targets: Targets,
    arguments: BulkArguments,
    key: str,
    value: Redacted[str],
) -> int:
    """Change a secret where it is. A Space that does not have it is skipped.

    Its description is kept.
    """
    from spaces_async.cli._rotate import run_rotate

    return run_rotate(app, targets, arguments, key, value)


@secrets.command("diff", epilog=examples("spaces-async secrets diff --org acme"))
@with_targets
@with_concurrency
@pass_app
def diff_secrets(app: App, targets: Targets, concurrency: int) -> int:
    """Show which Spaces lack a secret that others have.

    In a pipe: id and key, a line for each that is missing.
    """
    from spaces_async.cli._diff import show_diff

    return show_diff(app, targets, concurrency)


@secrets.command(
    "delete", epilog=examples("spaces-async secrets delete acme/demo --key API_KEY")
)
@with_targets
@_keys
@with_bulk
@pass_app
def delete_secrets(
    app: App, targets: Targets, arguments: BulkArguments, keys: tuple[str, ...]
) -> int:
    """Delete secrets. A missing one is no error."""
    operation: bulk.Operation[Any] = bulk.operations.delete_secrets(keys)
    if len(set(keys)) == 1:
        operation = bulk.operations.delete_secret(keys[0])
    return run_bulk(app, operation, targets, arguments)


@section.group("volumes")
def volumes() -> None:
    """Volumes: buckets and repositories mounted into Spaces.

    A volume is written hf://[models/|datasets/|spaces/|buckets/]owner/name[@revision]
    [/path]:/mount[:ro|:rw]. Repositories are always read-only.
    """


@volumes.command(
    "ls",
    epilog=examples(
        "spaces-async volumes ls acme/demo", "spaces-async volumes ls --org acme"
    ),
)
@with_targets
@with_concurrency
@pass_app
def list_volumes(app: App, targets: Targets, concurrency: int) -> int:
    """List what is mounted. In a pipe: id, mount path, volume."""

    async def read(client: SpacesClient, repo_id: str) -> Sequence[Volume]:
        return await client.storage.get_volumes(repo_id)

    found, code = read_each(app, targets, concurrency, read)
    mounted = [(repo_id, volume) for repo_id, there in found for volume in there]
    if app.output.json:
        app.output.document([_volume_as_json(*entry) for entry in mounted])
        return code
    app.output.rows(
        ["Space", "mounted at", "volume"],
        [(repo_id, volume.mount_path, volume.to_uri()) for repo_id, volume in mounted],
    )
    if not mounted and not code:
        app.output.say("Nothing is mounted.")
    return code


@volumes.command(
    "set",
    epilog=examples(
        "spaces-async volumes set acme/demo hf://models/acme/large:/models"
    ),
)
@_with_volumes
@with_bulk
@pass_app
def set_volumes(
    app: App, uris: tuple[str, ...], targets: Targets, arguments: BulkArguments
) -> int:
    """Mount exactly these volumes; all others are unmounted."""
    return run_bulk(app, bulk.operations.set_volumes(uris), targets, arguments)


@volumes.command(
    "add",
    epilog=examples(
        "spaces-async volumes add acme/demo hf://buckets/acme/cache:/data:rw",
        "spaces-async volumes add hf://datasets/acme/test@v2:/test --org acme",
    ),
)
@_with_volumes
@with_bulk
@pass_app
def add_volumes(
    app: App, uris: tuple[str, ...], targets: Targets, arguments: BulkArguments
) -> int:
    """Mount more volumes, or replace those mounted at the same paths."""
    return run_bulk(app, bulk.operations.add_volumes(uris), targets, arguments)


@volumes.command(
    "remove", epilog=examples("spaces-async volumes remove acme/demo /data")
)
@with_targets_and("/", "paths", "MOUNT", "/data")
@with_bulk
@pass_app
def remove_volumes(
    app: App, paths: tuple[str, ...], targets: Targets, arguments: BulkArguments
) -> int:
    """Unmount what is mounted at these paths. A path without a mount is no error."""
    return run_bulk(app, bulk.operations.remove_volumes(paths), targets, arguments)


@volumes.command("delete", epilog=examples("spaces-async volumes delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_volumes(app: App, targets: Targets, arguments: BulkArguments) -> int:
    """Unmount all volumes. Their content is kept."""
    return run_bulk(app, bulk.operations.delete_volumes(), targets, arguments)


def _volume_as_json(repo_id: str, volume: Volume) -> dict[str, Any]:
    return {
        "id": repo_id,
        "volume": volume.to_uri(),
        "type": volume.type,
        "source": volume.source,
        "mount_path": volume.mount_path,
        "revision": volume.revision,
        "read_only": volume.read_only,
        "path": volume.path,
    }


@section.group("storage")
def storage() -> None:
    """Legacy persistent storage.

    The Hub's documentation replaced it by volumes in April 2026, and the Hub may refuse
    these calls.
    """


@storage.command("request", epilog=examples("spaces-async storage request small a/b"))
@click.argument("tier", metavar="small|medium|large")
@with_targets
@with_bulk
@pass_app
def request_storage(
    app: App, tier: str, targets: Targets, arguments: BulkArguments
) -> int:
    """Request a tier of the legacy storage. It cannot be made smaller later."""
    return run_bulk(app, bulk.operations.request_storage(tier), targets, arguments)


@storage.command("delete", epilog=examples("spaces-async storage delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_storage(app: App, targets: Targets, arguments: BulkArguments) -> int:
    """Delete the legacy storage of Spaces, with all data in it."""
    return run_bulk(app, bulk.operations.delete_storage(), targets, arguments)


@section.command(
    "visibility",
    "spaces-async visibility private acme/demo",
    "spaces-async visibility public --org acme --match 'demo-*'",
)
@click.argument("who", type=click.Choice(VISIBILITIES), metavar="|".join(VISIBILITIES))
@with_targets
@with_bulk
@pass_app
def visibility(app: App, who: str, targets: Targets, arguments: BulkArguments) -> int:
    """Set who can see Spaces.

    Of a protected Space the code is private and the app is public: needs PRO or Team.
    """
    return run_bulk(app, bulk.operations.set_visibility(who), targets, arguments)
