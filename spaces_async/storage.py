"""What a Space keeps: volumes, and the legacy persistent storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spaces_async._hints import Resource
from spaces_async._operations import requests, writes
from spaces_async._wire.calls import Done

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Edit
    from spaces_async.models import SpaceRuntime, SpaceStorage, Volume

__all__ = ["Storage"]


class Storage(Resource):
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
        runtime = await self._session.send(requests.volumes_call(repo_id))
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
        await self._session.send(writes.set_volumes(volumes).to(repo_id))

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
        return await self._edit(writes.add_volumes([volume]), repo_id)

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
        return await self._edit(writes.remove_volumes([mount_path]), repo_id)

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
        await self._session.send(writes.delete_volumes().to(repo_id))

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
        return await self._session.send(writes.request_storage(tier).to(repo_id))

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
        return await self._session.send(writes.delete_storage().to(repo_id))

    async def _edit(
        self, edit: Edit[SpaceRuntime, tuple[Volume, ...]], repo_id: str
    ) -> tuple[Volume, ...]:
        made = edit.make(await self._session.send(edit.read(repo_id)))
        if isinstance(made, Done):
            return made.value
        return await self._session.send(made.to(repo_id))
