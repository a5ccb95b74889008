"""Variables and secrets of a Space."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _validate
from spaces_async._calls import Action, Done, Doubt, Verdict, nothing
from spaces_async._converter import DecodeError, decode_secrets, decode_variables
from spaces_async._redacted import Redacted
from spaces_async._requests import json_body, space_call

if TYPE_CHECKING:
    from spaces_async._session import HubSession
    from spaces_async.models import SpaceSecret, SpaceVariable

__all__ = ["Config"]

GET_VARIABLES: Final = Action("get_variables", "GET")
ADD_VARIABLE: Final = Action("add_variable", "POST")
DELETE_VARIABLE: Final = Action("delete_variable", "DELETE")
GET_SECRETS: Final = Action("get_secrets", "GET")
ADD_SECRET: Final = Action("add_secret", "POST")
DELETE_SECRET: Final = Action("delete_secret", "DELETE")

# The Hub's clock and ours differ; a secret written this long before our request does
# not count as its effect only if the difference is larger.
_SKEW: Final = timedelta(seconds=2)


class Config:
    """Variables and secrets. Reached as `client.config`.

    A write of either is believed to restart a running Space. After a lost answer the
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
        return await self._session.send(
            space_call(GET_VARIABLES, repo_id, "variables", decode=decode_variables)
        )

    async def add_variable(
        self, repo_id: str, key: str, value: str, *, description: str | None = None
    ) -> SpaceVariable:
        """Add a variable, or change the one of that key.

        Endpoint: `POST /api/spaces/{repo_id}/variables`. Safe to repeat: the end state
        is the same. Cancelling it may leave the variable set.

        Args:
            repo_id: "owner/name".
            key: A letter, then letters, digits and "_".
            value: Readable by everyone who may see the Space.
            description: What it is for; None keeps what there is.

        Returns:
            The variable as the Hub has it now.

        Raises:
            ConfigurationError: The key or value is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        _validate.key(key)
        body = _entry(
            key, _validate.text(value, "the value of a variable"), description
        )

        async def verify(_doubt: Doubt) -> Done[SpaceVariable] | Verdict:
            variable = (await self.get_variables(repo_id)).get(key)
            if variable is None or variable.value != value:
                return Verdict.NOT_DONE
            if description is not None and variable.description != description:
                return Verdict.NOT_DONE
            return Done(variable)

        async def recover() -> SpaceVariable:
            return (await self.get_variables(repo_id))[key]

        return await self._session.send(
            space_call(
                ADD_VARIABLE,
                repo_id,
                "variables",
                body=json_body(body),
                decode=lambda answer: _pick(decode_variables(answer), key),
                verify=verify,
                recover=recover,
            )
        )

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
        _validate.key(key)

        async def verify(_doubt: Doubt) -> Done[dict[str, SpaceVariable]] | Verdict:
            left = await self.get_variables(repo_id)
            return Verdict.NOT_DONE if key in left else Done(left)

        return await self._session.send(
            space_call(
                DELETE_VARIABLE,
                repo_id,
                "variables",
                body=json_body({"key": key}),
                decode=decode_variables,
                verify=verify,
                recover=lambda: self.get_variables(repo_id),
            )
        )

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
        return await self._session.send(
            space_call(GET_SECRETS, repo_id, "secrets", decode=decode_secrets)
        )

    async def add_secret(
        self, repo_id: str, key: str, value: str, *, description: str | None = None
    ) -> None:
        """Add a secret, or change the one of that key.

        Endpoint: `POST /api/spaces/{repo_id}/secrets`. Safe to repeat: the end state
        is the same. After a lost answer the secret's `updatedAt` tells whether it was
        written. Cancelling it may leave the secret set.

        Args:
            repo_id: "owner/name".
            key: A letter, then letters, digits and "_".
            value: Never shown: not in errors, logs, reprs or tracebacks of this
                package.
            description: What it is for; readable by those who may write to the Space.

        Raises:
            ConfigurationError: The key or value is malformed; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        hidden = Redacted(value)
        del value
        _validate.key(key)
        _validate.secret(hidden)

        async def verify(doubt: Doubt) -> Done[None] | Verdict:
            secret = (await self.get_secrets(repo_id)).get(key)
            if secret is None or secret.updated_at is None:
                return Verdict.NOT_DONE
            written = secret.updated_at >= doubt.since - _SKEW
            return Done(None) if written else Verdict.NOT_DONE

        await self._session.send(
            space_call(
                ADD_SECRET,
                repo_id,
                "secrets",
                body=json_body(_entry(key, None, description), value=hidden),
                decode=nothing,
                verify=verify,
                recover=_applied,
            )
        )

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
        _validate.key(key)

        async def verify(_doubt: Doubt) -> Done[None] | Verdict:
            left = await self.get_secrets(repo_id)
            return Verdict.NOT_DONE if key in left else Done(None)

        await self._session.send(
            space_call(
                DELETE_SECRET,
                repo_id,
                "secrets",
                body=json_body({"key": key}),
                decode=nothing,
                verify=verify,
                recover=_applied,
            )
        )


async def _applied() -> None:
    """The status said it all: the broken body would have been empty."""


def _entry(key: str, value: str | None, description: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": key}
    if value is not None:
        entry["value"] = value
    if description is not None:
        entry["description"] = _validate.text(description, "description")
    return entry


def _pick(variables: dict[str, SpaceVariable], key: str) -> SpaceVariable:
    try:
        return variables[key]
    except KeyError:
        raise DecodeError(
            "the answer lacks the variable", [f"$.{key}: missing"]
        ) from None
