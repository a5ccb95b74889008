"""What a Space keeps: volumes, and the legacy persistent storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async._operations import requests
from spaces_async._operations.requests import applied, json_body, space_call
from spaces_async._wire.calls import Action, Done, Doubt, Verdict, nothing
from spaces_async._wire.converter import decode_runtime
from spaces_async.errors import ConfigurationError
from spaces_async.models import Volume, VolumeType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async._core.session import HubSession
    from spaces_async.models import SpaceRuntime, SpaceStorage

__all__ = ["Storage"]

REQUEST_STORAGE: Final = Action("request_storage", "POST")
DELETE_STORAGE: Final = Action("delete_storage", "DELETE")
SET_VOLUMES: Final = Action("set_volumes", "PUT")
DELETE_VOLUMES: Final = Action("delete_volumes", "DELETE")


class Storage:
    """Volumes and legacy storage. Reached as `client.storage`.

    A volume mounts a bucket or a repository. The Hub knows one list of them for each
    Space, which a write replaces as a whole: `add_volume` and `remove_volume` read it
    first, so that no mount is lost.
    """

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    async def get_volumes(self, repo_id: str) -> tuple[Volume, ...]:
        """Return what is mounted.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`. Safe to repeat. Cancelling it
        leaves nothing behind. To those who may not see a source it is masked. An
        answer without `volumes` is taken to mean that there are none, as the official
        client does; the Hub documents it nowhere.

        Args:
            repo_id: "owner/name".

        Raises:
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        runtime = await self._session.send(requests.runtime_call(repo_id))
        return runtime.volumes or ()

    async def set_volumes(self, repo_id: str, volumes: Iterable[Volume | str]) -> None:
        """Mount exactly these volumes, in place of all that are there.

        Endpoint: `PUT /api/spaces/{repo_id}/volumes`. Safe to repeat: the end state is
        the same; after a lost answer the runtime is read first. Cancelling it may
        leave them mounted.

        Args:
            repo_id: "owner/name".
            volumes: At least one; a text is read by `Volume.from_uri`.

        Raises:
            ConfigurationError: There is none, or one is malformed; nothing was sent.
            BadRequestError: A static Space mounts nothing.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        given = _validate.items(volumes, "volumes")
        wanted = _validate.volumes(
            Volume.from_uri(v) if isinstance(v, str) else v for v in given
        )
        if not wanted:
            raise ConfigurationError("volumes is empty: use delete_volumes")

        async def verify(_doubt: Doubt) -> Done[None] | Verdict:
            there = await self.get_volumes(repo_id)
            return Done(None) if _same(there, wanted) else Verdict.NOT_DONE

        await self._session.send(
            space_call(
                SET_VOLUMES,
                repo_id,
                "volumes",
                body=json_body({"volumes": wanted}),
                decode=nothing,  # no content is declared
                verify=verify,
                recover=applied,
            )
        )

    async def add_volume(
        self, repo_id: str, volume: Volume | str
    ) -> tuple[Volume, ...]:
        """Mount one more volume, or change what is mounted at its path.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`, then
        `PUT /api/spaces/{repo_id}/volumes` with the whole list. Safe to repeat; two at
        the same time may lose one another's change. Cancelling it may leave it mounted.

        Args:
            repo_id: "owner/name".
            volume: The volume; a text is read by `Volume.from_uri`.

        Returns:
            All that is mounted now.

        Raises:
            SpacesError: As `set_volumes`.
        """
        new = Volume.from_uri(volume) if isinstance(volume, str) else volume
        _validate.volumes([new])
        there = await self.get_volumes(repo_id)
        kept = [v for v in there if v.mount_path != new.mount_path]
        wanted = (*kept, new)
        if not _same(there, wanted):
            await self.set_volumes(repo_id, wanted)
        return wanted

    async def remove_volume(self, repo_id: str, mount_path: str) -> tuple[Volume, ...]:
        """Unmount one volume. One that is not mounted is no error.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`, then
        `PUT /api/spaces/{repo_id}/volumes` with the rest, or `DELETE` if there is none.
        Safe to repeat. Cancelling it may leave it unmounted.

        Args:
            repo_id: "owner/name".
            mount_path: Where it is mounted.

        Returns:
            What is still mounted.

        Raises:
            SpacesError: As `set_volumes`.
        """
        there = await self.get_volumes(repo_id)
        kept = tuple(v for v in there if v.mount_path != mount_path)
        if kept and kept != there:
            await self.set_volumes(repo_id, kept)
        elif there and not kept:
            await self.delete_volumes(repo_id)
        return kept

    async def delete_volumes(self, repo_id: str) -> None:
        """Unmount all volumes.

        Endpoint: `DELETE /api/spaces/{repo_id}/volumes`. Safe to repeat: after a lost
        answer the runtime is read first. Cancelling it may leave them unmounted.

        Args:
            repo_id: "owner/name".

        Raises:
            BadRequestError: There are none.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """

        async def verify(_doubt: Doubt) -> Done[None] | Verdict:
            left = await self.get_volumes(repo_id)
            return Verdict.NOT_DONE if left else Done(None)

        await self._session.send(
            space_call(
                DELETE_VOLUMES,
                repo_id,
                "volumes",
                decode=nothing,
                verify=verify,
                recover=applied,
            )
        )

    async def request_storage(
        self, repo_id: str, tier: SpaceStorage | str
    ) -> SpaceRuntime:
        """Ask for a tier of the legacy persistent storage; a larger one bills more.

        Legacy: the Hub's documentation dropped it in April 2026 for volumes, and what
        the endpoint answers today is not established. A tier cannot be made smaller.

        Endpoint: `POST /api/spaces/{repo_id}/storage`. Safe to repeat; after a lost
        answer the runtime is read first. Cancelling it may leave the tier requested.

        Args:
            repo_id: "owner/name".
            tier: "small", "medium" or "large".

        Returns:
            The runtime.

        Raises:
            ConfigurationError: There is no such tier; nothing was sent.
            HubResponseError: The Hub refuses, perhaps because it no longer has it.
        """
        wanted = _validate.tier(tier)
        return await self._session.send(
            space_call(
                REQUEST_STORAGE,
                repo_id,
                "storage",
                body=json_body({"tier": wanted}),
                decode=decode_runtime,
                verify=requests.runtime_shows(
                    self._session, repo_id, lambda r: r.storage == wanted
                ),
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )

    async def delete_storage(self, repo_id: str) -> SpaceRuntime:
        """Delete the legacy persistent storage of a Space, with all that is in it.

        Legacy, as `request_storage` is.

        Endpoint: `DELETE /api/spaces/{repo_id}/storage`. Safe to repeat. Cancelling it
        may leave the storage deleted.

        Args:
            repo_id: "owner/name".

        Returns:
            The runtime.

        Raises:
            HubResponseError: The Hub refuses, perhaps because there is none.
        """
        return await self._session.send(
            space_call(
                DELETE_STORAGE,
                repo_id,
                "storage",
                decode=decode_runtime,
                verify=requests.runtime_shows(
                    self._session, repo_id, lambda r: r.storage is None
                ),
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )


def _same(there: Iterable[Volume], wanted: Iterable[Volume]) -> bool:
    """Compare what is mounted, whatever the Hub fills in that was left open."""
    mounted = {volume.mount_path: volume for volume in there}
    asked = {volume.mount_path: volume for volume in wanted}
    return mounted.keys() == asked.keys() and all(
        _fits(mounted[path], volume) for path, volume in asked.items()
    )


def _fits(there: Volume, wanted: Volume) -> bool:
    return _told(there) == _told(wanted)


def _told(volume: Volume) -> tuple[object, ...]:
    """Spell out what may be left open: the main branch, and who may write."""
    bucket = volume.type is VolumeType.BUCKET
    read_only = bool(volume.read_only) if bucket else True
    revision = volume.revision or "main"
    return (volume.type, volume.source, volume.path, revision, read_only)
