"""The connections to a Redis or Valkey, by redis-py.

redis-py's own retries are off: those who ask know what may be asked again, and for how
long. No text of redis-py reaches an error of ours, for it may show a part of the URL.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import TimeoutError as NoAnswerError

from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async._redacted import Redacted

__all__ = ["RedisAwayError", "RedisRefusedError", "RedisServer"]

_MAX_CONNECTIONS: Final = 8
_CODE: Final = re.compile(r"[A-Z]{2,20}\b").match
_PASSING: Final = frozenset(
    {"LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"}
)
"""With these Redis says that it will answer later."""


class RedisAwayError(Exception):
    """Redis cannot be reached, or cannot answer now. The text says why."""


class RedisRefusedError(Exception):
    """Redis refuses the command for good. The text says why, in words of our own."""


class RedisServer:
    """The connections, and the scripts."""

    def __init__(self, url: Redacted[str], *, seconds: float) -> None:
        """Make the pool of connections; nothing is opened yet.

        Args:
            url: Where it is; it may contain a password.
            seconds: How long Redis may take to connect, and to answer.

        Raises:
            ConfigurationError: redis-py cannot use the URL.
        """
        try:
            # No type of redis-py says what a URL may bring.
            made: Any = redis.asyncio
            self._pool = made.BlockingConnectionPool.from_url(
                url.reveal(),
                max_connections=_MAX_CONNECTIONS,
                timeout=None,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=Retry(NoBackoff(), 0),
                retry_on_timeout=False,
                protocol=2,
                decode_responses=True,
                encoding_errors="replace",
                # Else redis-py looks for its own version on the disk, for each connection.
                driver_info=None,
            )
        except (ValueError, TypeError) as error:
            kind = type(error).__name__
            raise ConfigurationError(
                f"redis-py cannot use the URL of the store ({kind})"
            ) from None
        self._client = redis.asyncio.Redis(connection_pool=self._pool)

    async def run(
        self, script: str, keys: Sequence[str], *arguments: str | int
    ) -> list[Any]:
        """Run a script, which bears to be run twice.

        Raises:
            RedisAwayError: Redis cannot be reached, or cannot answer now.
            RedisRefusedError: It refuses the command.
        """
        try:
            try:
                return await self._run(script, keys, arguments)
            except NoConnectionError as error:
                if isinstance(error, AuthenticationError | BusyLoadingError):
                    raise
                # A connection that was idle may be closed: its server was restarted.
                return await self._run(script, keys, arguments)
        except (RedisError, OSError) as error:
            raise _told(error) from None

    async def _run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> list[Any]:
        client = cast("Any", self._client)
        sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            found = await client.evalsha(sha, len(keys), *keys, *arguments)
        except NoScriptError:
            found = await client.eval(script, len(keys), *keys, *arguments)
        return cast("list[Any]", found)

    async def fields(self, key: str, *names: str) -> list[str | None]:
        """Read fields of a hash; None for each that is missing.

        Raises:
            RedisAwayError: Redis cannot be reached, or cannot answer now.
            RedisRefusedError: It refuses the command.
        """
        client = cast("Any", self._client)
        try:
            return cast("list[str | None]", await client.hmget(key, names))
        except (RedisError, OSError) as error:
            raise _told(error) from None

    async def survives(self) -> str:
        """Return what survives a crash of the server.

        Returns:
            "all", "all but seconds", or "nothing" since the last snapshot.

        Raises:
            RedisAwayError: Redis cannot be reached, or cannot answer now.
            RedisRefusedError: It refuses the command.
        """
        client = cast("Any", self._client)
        try:
            info: dict[str, Any] = await client.info("persistence")
            if not info.get("aof_enabled"):
                return "nothing"
            try:
                asked: dict[str, str] = await client.config_get("appendfsync")
            except ResponseError:
                asked = {}  # Managed servers do not tell.
        except (RedisError, OSError) as error:
            raise _told(error) from None
        kind = asked.get("appendfsync", "everysec")
        return {"always": "all", "no": "nothing"}.get(kind, "all but seconds")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._pool.disconnect()


def _told(error: Exception) -> RedisAwayError | RedisRefusedError:
    """Say what an error of redis-py means, without its text."""
    if isinstance(error, AuthenticationError):
        return RedisRefusedError("it refuses the user or the password")
    if isinstance(error, BusyLoadingError):
        return RedisAwayError("it is loading its data")
    if isinstance(error, NoAnswerError | TimeoutError):
        return RedisAwayError("it does not answer")
    if isinstance(error, NoConnectionError | OSError):
        return RedisAwayError("it cannot be reached")
    code = _CODE(str(error))
    word = "an error" if code is None else code.group()
    if word in _PASSING or word == "READONLY":
        return RedisAwayError(f"it answers {word}")
    return RedisRefusedError(f"it answers {word}")
