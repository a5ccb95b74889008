"""The connections to a Redis or Valkey, by redis-py, and the scripts that run there.

redis-py's own retries are off: those who ask know what may be asked again, and for how
long. No text of redis-py reaches an error of ours, for it may show a part of the URL.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from weakref import WeakSet

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import TimeoutError as NoAnswerError

from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from spaces_async._redacted import Redacted

__all__ = ["RedisAwayError", "RedisRefusedError", "RedisServer"]

T = TypeVar("T")

_MAX_CONNECTIONS: Final = 8
_ERROR_CODE: Final = re.compile(r"[A-Z]{2,20}\b").match
_CODE_IN_SCRIPT: Final = re.compile(
    r"Error running script .*?: -?(?!ERR\b)([A-Z]{2,20})\b"
).match
"""Redis 6.2 puts the code of what failed in a script into the text, with or without "-"."""
_CODES: Final[dict[type[Exception], str]] = {
    ReadOnlyError: "READONLY",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    TryAgainError: "TRYAGAIN",
    NoPermissionError: "NOPERM",
    OutOfMemoryError: "OOM",
}
"""redis-py takes the code of an error that it knows out of the text."""
_PASSING: Final = frozenset(
    {"BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "NOREPLICAS"}
)
"""With these Redis says that it will answer later."""
_ELSEWHERE: Final = frozenset({"READONLY", "MASTERDOWN"})
"""With these a replica answers, where the primary used to be."""
_LACKING: Final = ("user executing the script can't", "ACL failure in script")
"""In a script a missing right has no code, in Redis 7.0 and from 7.2 on."""
_PAGES: Final = {"ledger": "docs/quota.md", "store": "docs/hosts.md"}
"""Where the rights are listed that a user of Redis needs."""


class RedisAwayError(Exception):
    """Redis cannot be used now; the text says why, in words of our own."""


class RedisRefusedError(RedisAwayError):
    """Redis refuses for good: there is nothing to wait for."""


class _Pool(redis.asyncio.ConnectionPool):
    """The connections. Those of a dead event loop can be closed, too."""

    # redis-py has no types for either method.
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # pyright: ignore[reportUnknownMemberType]
        self.made: WeakSet[redis.asyncio.Connection] = WeakSet()

    def make_connection(self) -> Any:
        made = cast("Any", super()).make_connection()
        self.made.add(made)
        return made


class RedisServer:
    """The connections to one server, and what is asked of it."""

    def __init__(self, url: Redacted[str], what: str, *, seconds: float) -> None:
        """Make the pool of connections; nothing is opened yet.

        Args:
            url: Where it is. It may contain a password.
            what: What it is for: "ledger" or "store".
            seconds: How long an exchange may take, with a new connection if need be.

        Raises:
            ConfigurationError: redis-py cannot use the URL.
        """
        try:
            # redis-py has no types for what a URL may bring.
            pools = cast("Any", _Pool)
            self._pool = pools.from_url(
                url.reveal(),
                # One timeout for all of an exchange is cheaper, and tells more.
                socket_timeout=None,
                socket_connect_timeout=seconds,
                # redis-py would try ten times, with pauses of seconds.
                retry=Retry(NoBackoff(), 0),
                retry_on_timeout=False,
                protocol=2,
                # It would look for its own version in files, for each connection.
                driver_info=None,
                decode_responses=True,
                encoding_errors="replace",
            )
        except (ValueError, TypeError) as error:
            # Its text may show a part of the URL.
            kind = type(error).__name__
            raise ConfigurationError(
                f"redis-py cannot use the URL of the {what} ({kind})"
            ) from None
        self._client: Any = redis.asyncio.Redis(connection_pool=self._pool)
        self._what = what
        self._seconds = seconds
        self._places = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def run(
        self, script: str, keys: Sequence[str], *arguments: str | int
    ) -> list[Any]:
        """Run a script, which bears to be run twice.

        Raises:
            RedisAwayError: Redis does not answer, or with an error.
        """
        return await self._ask(lambda: self._run(script, keys, arguments))

    async def _run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> list[Any]:
        client, sha = self._client, _sha(script)
        try:
            found = await client.evalsha(sha, len(keys), *keys, *arguments)
        except NoScriptError:
            found = await client.eval(script, len(keys), *keys, *arguments)
        return cast("list[Any]", found)

    async def fields(self, key: str, *names: str) -> list[str | None]:
        """Read fields of a hash; None for each that is missing.

        Raises:
            RedisAwayError: Redis does not answer, or with an error.
        """
        return await self._ask(lambda: self._client.hmget(key, names))

    async def survives(self) -> str:
        """Return what survives a crash of the server.

        Returns:
            "all", "all but seconds", or "nothing" since the last snapshot.

        Raises:
            RedisAwayError: Redis does not answer, or with an error.
        """
        info = await self._ask(lambda: self._client.info("persistence"))
        if not info.get("aof_enabled"):
            return "nothing"
        asked = await self._ask(self._how_it_syncs)
        kind = asked.get("appendfsync", "everysec")
        return {"always": "all", "no": "nothing"}.get(kind, "all but seconds")

    async def _how_it_syncs(self) -> dict[str, str]:
        try:
            return cast("dict[str, str]", await self._client.config_get("appendfsync"))
        except ResponseError:
            return {}  # Managed servers do not tell.

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Make an exchange, within its time.

        Raises:
            RedisAwayError: Redis does not answer, or with an error.
        """
        async with self._places:
            try:
                async with asyncio.timeout(self._seconds):
                    try:
                        return await ask()
                    except NoConnectionError as error:
                        if isinstance(error, AuthenticationError | BusyLoadingError):
                            raise
                        # Redis may have closed a connection that was idle: each of
                        # them, if it was restarted.
                        await self._pool.disconnect(inuse_connections=False)
                        return await ask()
                    except ResponseError as error:
                        if _code_of(error) in _ELSEWHERE:
                            # After a failover these connections lead to a replica,
                            # and the name of the server to another.
                            await self._pool.disconnect(inuse_connections=False)
                        raise
            except Exception as error:  # noqa: BLE001  (told in words of our own)
                raise self._told(error) from None

    def _told(self, error: Exception) -> RedisAwayError:
        """Say why Redis cannot be used. No text of Redis or of the URL is shown."""
        if isinstance(error, NoAnswerError | TimeoutError):
            return RedisAwayError(f"Redis did not answer within {self._seconds:g} s")
        if isinstance(error, AuthenticationError):
            return RedisRefusedError("Redis refused the user or the password")
        if isinstance(error, BusyLoadingError):
            return RedisAwayError("Redis is loading its data")
        if isinstance(error, ResponseError):
            return self._answered(_code_of(error))
        if isinstance(error, RedisError | OSError):
            return RedisAwayError("there is no connection to Redis")
        return RedisRefusedError(f"redis-py failed ({type(error).__name__})")

    def _answered(self, code: str) -> RedisAwayError:
        """Say what an error means that Redis answered with.

        Args:
            code: Its code; "" if it is not known.
        """
        if code == "NOPERM":
            page = _PAGES[self._what]
            return RedisRefusedError(
                f"the user of Redis lacks a right; {page} lists those it needs"
            )
        if code == "OOM":
            return RedisRefusedError("Redis is full")
        kind = RedisAwayError if code in _PASSING else RedisRefusedError
        return kind(f"Redis answered with an error{f' ({code})' if code else ''}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._pool.disconnect()

    async def abandon(self) -> None:
        """Close the connections where their event loop does not run any more."""
        for connection in list(self._pool.made):
            await connection.disconnect(nowait=True)


def _code_of(error: ResponseError) -> str:
    """Return the code that Redis answered with; "" if it is not known."""
    text = str(error)
    if any(words in text for words in _LACKING):
        return "NOPERM"
    if type(error) in _CODES:
        return _CODES[type(error)]
    found = _ERROR_CODE(text) or _CODE_IN_SCRIPT(text)
    return "" if found is None else found[found.re.groups]


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
