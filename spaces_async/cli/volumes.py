"""`volumes`: list, set, add, remove and delete what is mounted into Spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spaces_async import _validate
from spaces_async.bulk import operations
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import (
    BulkFlags,
    Job,
    with_bulk,
    with_concurrency,
)
from spaces_async.cli._command import Group, examples
from spaces_async.cli._look import look_at
from spaces_async.cli._targets import Targets, with_targets, with_targets_and
from spaces_async.models import Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spaces_async.client import SpacesClient

__all__ = ["read_volumes", "volumes"]

_with_volumes = with_targets_and(
    "hf://", "uris", "VOLUME", "hf://models/owner/name:/models"
)


@click.group(cls=Group)
def volumes() -> None:
    """Volumes: buckets and repositories mounted into Spaces.

    A volume is written hf://[models/|datasets/|spaces/|buckets/]owner/name[@revision]
    [/path]:/mount[:ro|:rw]. Repositories are always read-only.
    """


def read_volumes(uris: Iterable[str]) -> tuple[Volume, ...]:
    """Read volumes and check that they can be mounted together.

    Raises:
        ConfigurationError: They cannot, or one is malformed.
    """
    return _validate.volumes([Volume.from_uri(uri) for uri in uris])


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

    async def look(client: SpacesClient, repo_id: str) -> Sequence[Volume]:
        return await client.storage.get_volumes(repo_id)

    found, code = look_at(
        app,
        targets,
        concurrency,
        operations.as_operation(look, name="list", only_reads=True),
    )
    pairs = [(repo_id, volume) for repo_id, there in found for volume in there]
    if app.output.json:
        app.output.document([_as_json(repo_id, volume) for repo_id, volume in pairs])
        return code
    app.output.rows(
        ["Space", "mounted at", "volume"],
        [(repo_id, volume.mount_path, volume.to_uri()) for repo_id, volume in pairs],
    )
    if not pairs and not code:
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
    app: App, uris: tuple[str, ...], targets: Targets, flags: BulkFlags
) -> int:
    """Mount exactly these volumes, in place of all that are there."""
    verb = "Replace the volumes of"
    return Job(app, operations.set_volumes(uris), targets, flags, verb).run()


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
    app: App, uris: tuple[str, ...], targets: Targets, flags: BulkFlags
) -> int:
    """Mount more volumes, or change what is mounted at their paths."""
    verb = "Add volumes to"
    return Job(app, operations.add_volumes(uris), targets, flags, verb).run()


@volumes.command(
    "remove", epilog=examples("spaces-async volumes remove acme/demo /data")
)
@with_targets_and("/", "paths", "MOUNT", "/data")
@with_bulk
@pass_app
def remove_volumes(
    app: App, paths: tuple[str, ...], targets: Targets, flags: BulkFlags
) -> int:
    """Unmount what is mounted at these paths. Where nothing is, that is no error."""
    verb = "Unmount volumes of"
    return Job(app, operations.remove_volumes(paths), targets, flags, verb).run()


@volumes.command("delete", epilog=examples("spaces-async volumes delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_volumes(app: App, targets: Targets, flags: BulkFlags) -> int:
    """Unmount all volumes. What is in them stays where it is."""
    verb = "Unmount all volumes of"
    return Job(app, operations.delete_volumes(), targets, flags, verb).run()


def _as_json(repo_id: str, volume: Volume) -> dict[str, Any]:
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
