"""`volumes`: list, set, add, remove and delete what is mounted into Spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async import _validate
from spaces_async.bulk import Operation
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import (
    BulkFlags,
    Job,
    with_bulk,
    with_concurrency,
)
from spaces_async.cli._command import Group, examples
from spaces_async.cli._look import look_at
from spaces_async.cli._steps import request, sequence
from spaces_async.cli._targets import Targets, with_targets, with_targets_and
from spaces_async.models import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spaces_async.client import SpacesClient

__all__ = ["OPERATIONS", "read_volumes", "volumes"]

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

    found, code = look_at(app, targets, concurrency, Operation("list", look))
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
    return Job(app, _set(uris), targets, flags, verb, "given volumes").run()


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
    wanted = read_volumes(uris)
    steps = [(volume.mount_path, _add(volume.to_uri())) for volume in wanted]
    verb = "Add volumes to"
    return Job(app, sequence(steps), targets, flags, verb, "given volumes").run()


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
    steps = [(path, _remove(path)) for path in dict.fromkeys(paths)]
    verb = "Unmount volumes of"
    return Job(app, sequence(steps), targets, flags, verb, "given volumes").run()


@volumes.command("delete", epilog=examples("spaces-async volumes delete acme/demo"))
@with_targets
@with_bulk
@pass_app
def delete_volumes(app: App, targets: Targets, flags: BulkFlags) -> int:
    """Unmount all volumes. What is in them stays where it is."""
    verb = "Unmount all volumes of"
    return Job(app, _delete(), targets, flags, verb, "given volumes").run()


def _set(uris: Sequence[str]) -> Operation[Any]:
    wanted = read_volumes(uris)

    async def call(client: SpacesClient, repo_id: str) -> None:
        await client.storage.set_volumes(repo_id, wanted)

    written = [volume.to_uri() for volume in wanted]
    sent = request("PUT", "volumes", {"volumes": written})
    return Operation("set_volumes", call, sent, parameters={"uris": written})


def _delete() -> Operation[Any]:
    async def call(client: SpacesClient, repo_id: str) -> None:
        # The Hub refuses where there are none, and that is what is wanted.
        if await client.storage.get_volumes(repo_id):
            await client.storage.delete_volumes(repo_id)

    return Operation(
        "delete_volumes", call, request("DELETE", "volumes"), parameters={}
    )


def _add(uri: str) -> Operation[Any]:
    volume = Volume.from_uri(uri)

    async def call(client: SpacesClient, repo_id: str) -> None:
        await client.storage.add_volume(repo_id, volume)

    sent = request("PUT", "volumes", {"volumes": ["...", uri]})
    return Operation("add_volumes", call, sent, parameters={"uri": uri})


def _remove(path: str) -> Operation[Any]:
    async def call(client: SpacesClient, repo_id: str) -> None:
        await client.storage.remove_volume(repo_id, path)

    sent = request("PUT", "volumes", {"volumes": f"... without {path}"})
    return Operation("remove_volumes", call, sent, parameters={"path": path})


OPERATIONS: Final[dict[str, Callable[..., Operation[Any]]]] = {
    "set_volumes": _set,
    "add_volumes": _add,
    "remove_volumes": _remove,
    "delete_volumes": _delete,
}
"""What these commands do, by the names that journals know."""


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
