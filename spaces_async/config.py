"""Variables and secrets of a Space, who sees it, and how it is developed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spaces_async import _validate
from spaces_async._hints import Resource
from spaces_async._operations import requests, writes
from spaces_async._redacted import Redacted
from spaces_async.errors import ConfigurationError, SpacesError
from spaces_async.records import KeyOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from spaces_async._core.session import HubSession
    from spaces_async.models import SpaceRuntime, SpaceSecret, SpaceVariable

__all__ = ["Config"]


class Config(Resource):
    """Variables and secrets. Reached as `client.config`.

    A write of either usually restarts a running Space. After a lost answer the
    state is therefore read before a write is repeated.
    """

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    async def get_variables(self, repo_id: str) -> dict[str, SpaceVariable]:
        """Return all variables of a Space, by key.

        Endpoint: `GET /api/spaces/{repo_id}/variables`. Safe to repeat. Cancelling it
        leaves nothing behind.

        Args:
            repo_id: "owner/name".

        Raises:
            AuthenticationError: There is no token, or a wrong one.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        return await self._session.send(requests.variables_call(repo_id))

    async def add_variable(
        self,
        repo_id: str,
        key: str,
        value: str,
        *,
        description: str | None = None,
        check_collision: bool = False,
    ) -> SpaceVariable:
        """Add a variable, or change the one of that key.

        Endpoint: `POST /api/spaces/{repo_id}/variables`. Safe to repeat: the end state
        is the same. Cancelling it may leave the variable set.

        Args:
            repo_id: "owner/name".
            key: A letter, then letters, digits and "_".
            value: Readable by everyone who may see the Space.
            description: What it is for; None keeps what there is.
            check_collision: Look first (one more call) whether a secret has that name:
                a Space with both goes to CONFIG_ERROR.

        Returns:
            The variable as the Hub has it now.

        Raises:
            ConfigurationError: The key or value is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        write = writes.add_variable(key, value, description=description)
        look = _validate.flag(check_collision, "check_collision")
        if look and key in await self.get_secrets(repo_id):
            raise _collision(repo_id, key, "secret")
        return await self._session.send(write.to(repo_id))

    async def delete_variable(self, repo_id: str, key: str) -> dict[str, SpaceVariable]:
        """Delete a variable. One that is not there is no error.

        Endpoint: `DELETE /api/spaces/{repo_id}/variables` with the key in the body.
        Safe to repeat. Cancelling it may leave the variable deleted.

        Args:
            repo_id: "owner/name".
            key: Its name.

        Returns:
            The variables that are left, by key.

        Raises:
            ConfigurationError: The key is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        return await self._session.send(writes.delete_variable(key).to(repo_id))

    async def get_secrets(self, repo_id: str) -> dict[str, SpaceSecret]:
        """Return the names of all secrets of a Space, by key; never their values.

        Endpoint: `GET /api/spaces/{repo_id}/secrets`. Safe to repeat. Cancelling it
        leaves nothing behind.

        Args:
            repo_id: "owner/name".

        Raises:
            AuthenticationError: There is no token, or a wrong one.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        return await self._session.send(requests.secrets_call(repo_id))

    async def add_secret(
        self,
        repo_id: str,
        key: str,
        value: str,
        *,
        description: str | None = None,
        check_collision: bool = False,
    ) -> None:
        """Add a secret, or change the one of that key.

        Endpoint: `POST /api/spaces/{repo_id}/secrets`. Safe to repeat: the end state
        is the same. After a lost answer the secret's `updatedAt` tells whether it was
        written; where this client has written it a moment before, it is sent again.
        Cancelling it may leave the secret set.

        Args:
            repo_id: "owner/name".
            key: A letter, then letters, digits and "_".
            value: Never shown: not in errors, logs, reprs or tracebacks of this
                package.
            description: What it is for; readable by those who may write to the Space.
            check_collision: Look first (one more call) whether a variable has that
                name: a Space with both goes to CONFIG_ERROR.

        Raises:
            ConfigurationError: The key or value is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        hidden = Redacted(value)
        del value
        write = writes.add_secret(key, hidden, description=description)
        look = _validate.flag(check_collision, "check_collision")
        if look and key in await self.get_variables(repo_id):
            raise _collision(repo_id, key, "variable")
        await self._session.send(write.to(repo_id))

    async def delete_secret(self, repo_id: str, key: str) -> None:
        """Delete a secret. One that is not there is no error.

        Endpoint: `DELETE /api/spaces/{repo_id}/secrets` with the key in the body. Safe
        to repeat. Cancelling it may leave the secret deleted.

        Args:
            repo_id: "owner/name".
            key: Its name.

        Raises:
            ConfigurationError: The key is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        await self._session.send(writes.delete_secret(key).to(repo_id))

    async def add_variables(
        self, repo_id: str, variables: Mapping[str, str]
    ) -> list[KeyOutcome]:
        """Add or change several variables; those that are so already are left alone.

        Endpoint: `GET`, then for each that differs `POST
        /api/spaces/{repo_id}/variables`: the Hub takes one at a time. Safe to repeat.
        One that fails stops no other. Cancelling it may leave some set.

        Args:
            repo_id: "owner/name".
            variables: Values by key.

        Returns:
            The outcome of each key, in their order.

        Raises:
            ConfigurationError: A key or value is malformed; nothing was sent.
            SpacesError: The variables could not be read; nothing was changed.
        """
        wanted = dict(variables)
        for key, value in wanted.items():
            _validate.key(key)
            _validate.text(value, "the value of a variable")
        there = await self.get_variables(repo_id)
        outcomes: list[KeyOutcome] = []
        for key, value in wanted.items():
            now = there.get(key)
            if now is not None and now.value == value:
                outcomes.append(KeyOutcome(key, "unchanged"))
            else:
                outcomes.append(
                    await _outcome(key, self.add_variable(repo_id, key, value))
                )
        return outcomes

    async def add_secrets(
        self, repo_id: str, secrets: Mapping[str, str]
    ) -> list[KeyOutcome]:
        """Add or change several secrets.

        Endpoint: `POST /api/spaces/{repo_id}/secrets` for each: the Hub takes one at a
        time and tells no values, so each is written. Safe to repeat. One that fails
        stops no other. Cancelling it may leave some set.

        Args:
            repo_id: "owner/name".
            secrets: Values by key; never shown.

        Returns:
            The outcome of each key, in their order.

        Raises:
            ConfigurationError: A key or value is malformed; nothing was sent.
        """
        hidden = {key: Redacted(value) for key, value in secrets.items()}
        del secrets
        _validate.repo_id(repo_id)
        for key, box in hidden.items():
            _validate.key(key)
            _validate.secret(box)
        return [
            await _outcome(key, self.add_secret(repo_id, key, box.reveal()))
            for key, box in hidden.items()
        ]

    async def set_visibility(
        self,
        repo_id: str,
        visibility: str | None = None,
        *,
        private: bool | None = None,
    ) -> None:
        """Set who sees a Space.

        Endpoint: `PUT /api/spaces/{repo_id}/settings`. Safe to repeat. Cancelling it
        may leave it set.

        Args:
            repo_id: "owner/name".
            visibility: "public", "private" or "protected" (its code is private, its
                app is not; PRO and Team).
            private: True or False instead of `visibility`.

        Raises:
            PaymentRequiredError: The plan does not include it.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        write = writes.set_visibility(visibility, private=private)
        await self._session.send(write.to(repo_id))

    async def set_dev_mode(self, repo_id: str, enabled: bool) -> SpaceRuntime:  # noqa: FBT001  (it is the subject)
        """Switch dev mode on or off: SSH into the Space, no rebuild at each commit.

        Endpoint: `POST /api/spaces/{repo_id}/dev-mode`. Safe to repeat: the end state
        is the same; after a lost answer the runtime is read first. Cancelling it may
        leave it switched.

        Args:
            repo_id: "owner/name".
            enabled: On needs PRO or Team, off is always allowed.

        Returns:
            The runtime.

        Raises:
            BadRequestError: A static Space has no dev mode.
            PaymentRequiredError: The plan does not include it.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        return await self._session.send(writes.set_dev_mode(enabled).to(repo_id))

    async def set_custom_domain(self, repo_id: str, domain: str) -> None:
        """Let the app answer under a domain of one's own.

        Endpoint: `POST /api/spaces/{repo_id}/custom-domain`. Safe to repeat. What it
        answers is not documented and not looked at: `SpaceRuntime.domains` tells how
        far it is. Removing a domain is possible on the web only. Cancelling it may
        leave it set.

        Args:
            repo_id: "owner/name".
            domain: A host name whose CNAME is hf.space.

        Raises:
            PaymentRequiredError: The plan does not include it.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        await self._session.send(writes.set_custom_domain(domain).to(repo_id))


async def _outcome(key: str, write: Awaitable[object]) -> KeyOutcome:
    try:
        await write
    except SpacesError as error:
        status: Literal["failed", "unknown"] = (
            "unknown" if error.outcome_unknown else "failed"
        )
        return KeyOutcome(key, status, error)
    return KeyOutcome(key, "done")


def _collision(repo_id: str, key: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{repo_id} has a {what} named {key}: with a variable and a secret of one name"
        " a Space goes to CONFIG_ERROR; nothing was changed"
    )
