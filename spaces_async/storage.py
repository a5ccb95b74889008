"""The legacy persistent storage of a Space. New code mounts volumes instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async import _requests, _validate
from spaces_async._calls import Action
from spaces_async._converter import decode_runtime
from spaces_async._requests import json_body, space_call

if TYPE_CHECKING:
    from spaces_async._session import HubSession
    from spaces_async.models import SpaceRuntime, SpaceStorage

__all__ = ["Storage"]

REQUEST_STORAGE: Final = Action("request_storage", "POST")
DELETE_STORAGE: Final = Action("delete_storage", "DELETE")


class Storage:
    """Persistent storage. Reached as `client.storage`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

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
                verify=_requests.runtime_shows(
                    self._session, repo_id, lambda r: r.storage == wanted
                ),
                recover=_requests.recover_runtime(self._session, repo_id),
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
                verify=_requests.runtime_shows(
                    self._session, repo_id, lambda r: r.storage is None
                ),
                recover=_requests.recover_runtime(self._session, repo_id),
            )
        )
