"""The connections to a Redis or Valkey server, by redis-py, and the scripts that run there.

redis-py's own retries are off: those who ask know what may be asked again, and for how
long. No text of redis-py reaches an error of ours, for it may show a part of the URL.

Commands are written to redis-py's connections, and not through its client and its pool:
these took as long as the exchange itself, for retries, metrics and locks that nothing
here needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
import ssl
from contextlib import suppress
from contextvars import Context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
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
    from collections.abc import Callable, Sequence

    from spaces_async._redacted import Redacted

__all__ = ["RedisAwayError", "RedisRefusedError", "RedisServer"]

_MAX_CONNECTIONS: Final = 8
_HEADS: Final = 256
"""How many beginnings of commands are kept packed: one for each script and run or token."""
_ERROR_CODE: Final = re.compile(r"[A-Z]{2,20}\b").match
_CODE_IN_SCRIPT: Final = re.compile(
    r"Error running script .*?: -?(?!ERR\b)([A-Z]{2,20})\b"
).match
"""Redis 6.2 puts the code of what failed in a script into the text, with or without "-"."""
_REFUSED_COMMAND: Final = re.compile(r"to run the '([a-z|]{2,30})' command").search
_ERROR_NUMBER: Final = re.compile(r"\[Errno (\d{1,4})\]").search
_MAX_CAUSES: Final = 8
_CAUSES: Final[dict[type[OSError], str]] = {
    ssl.SSLCertVerificationError: "its certificate is not trusted",
    ssl.SSLError: "TLS failed",
    socket.gaierror: "the name of its host is not known",
    FileNotFoundError: "a file that the URL names is not there",
}
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


class _Line:
    """A connection, and the time limit of what is asked on it.

    The timer is set once for many exchanges: one that finds the limit moved sets itself
    anew. So an exchange costs no timer of its own.

    Attributes:
        connection: redis-py's. It connects by itself when it is used.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_expired",
        "_task",
        "_timer",
        "_until",
        "connection",
    )

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._until = 0.0
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The timer is of no task, least of all of the one that happened to set it.
        self._context = Context()

    async def ask(self, command: bytes, until: float) -> Any:
        """Make an exchange; it ends at an instant of the loop as `asyncio.timeout` does.

        Raises:
            TimeoutError: It was not over then.
            RedisError: There is no connection, or Redis answered with an error.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in a task)
        self._task, cancelling, self._until = task, task.cancelling(), until
        if self._timer is None:
            self._set_timer()
        connection = self.connection
        try:
            if connection.is_connected and await connection.can_read():
                # It has ended, or has data that was not asked for, which must not be
                # taken for the answer.
                await connection.disconnect(nowait=True)
            await connection.send_packed_command(command, check_health=False)
            return await connection.read_response()
        except ResponseError:
            raise
        except BaseException as error:
            # Its answer must not be read by the next one.
            await self.close()
            if self._expired:
                ours = task.uncancel() <= cancelling
                if ours and isinstance(error, asyncio.CancelledError):
                    raise TimeoutError from None
            raise
        finally:
            self._task, self._expired = None, False

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._until, self._ring, context=self._context)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if asyncio.get_running_loop().time() < self._until:
            self._set_timer()
        else:
            self._expired = True
            self._task.cancel()

    async def close(self, *, waits: bool = False) -> None:
        """Close the connection.

        Args:
            waits: Whether to wait until it is closed.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # It is closed also where redis-py could not wait for that, or has no event loop
        # any more that would tell it.
        with suppress(RedisError, RuntimeError):
            await self.connection.disconnect(nowait=not waits)


class RedisServer:
    """The connections to one server, and what is asked of it."""

    def __init__(self, url: Redacted[str], what: str, *, seconds: float) -> None:
        """Prepare the connections; nothing is opened yet.

        Args:
            url: Where it is. It may contain a password.
            what: What it is for: "ledger" or "store".
            seconds: How long an exchange may take, with a new connection if need be.

        Raises:
            ConfigurationError: redis-py cannot use the URL.
        """
        try:
            # redis-py has no types for what a URL may bring.
            pools = cast("Any", redis.asyncio.ConnectionPool)
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
        self._what = what
        self._seconds = seconds
        self._places = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._idle: list[_Line] = []
        self._made: WeakSet[_Line] = WeakSet()

    async def run(
        self, script: str, keys: Sequence[str], *arguments: str | int
    ) -> list[Any]:
        """Run a script. It must be idempotent: it may be run twice.

        Raises:
            RedisAwayError: Redis does not answer, or answers with an error.
        """
        keys = tuple(keys)
        command = _packed(_call_of(script, keys), arguments)

        def with_script() -> bytes:
            return _packed(_Head(("EVAL", script, len(keys), *keys)), arguments)

        return cast("list[Any]", await self._ask(command, with_script))

    async def fields(self, key: str, *names: str) -> list[str | None]:
        """Read fields of a hash; None for each that is missing.

        Raises:
            RedisAwayError: Redis does not answer, or answers with an error.
        """
        found = await self._ask(_packed(_Head(("HMGET", key)), names))
        return cast("list[str | None]", found)

    async def survives(self) -> str:
        """Return what survives a crash of the server.

        Returns:
            "all", "all but seconds", or "nothing" for certain: what was written since
            the last snapshot, or since the system wrote the file to the disk.

        Raises:
            RedisAwayError: Redis does not answer, or answers with an error.
        """
        info = await self._ask(_packed(_Head(("INFO", "persistence"))))
        if "aof_enabled:1" not in str(info).split():
            return "nothing"
        try:
            asked = await self._ask(_packed(_Head(("CONFIG", "GET", "appendfsync"))))
        except RedisRefusedError:
            asked = ()  # Managed servers do not tell.
        kind = str(asked[1]) if asked else "everysec"
        return {"always": "all", "no": "nothing"}.get(kind, "all but seconds")

    async def evicts(self) -> bool:
        """Return whether the server deletes keys by itself when its memory is full.

        Raises:
            RedisAwayError: Redis does not answer, or answers with an error.
        """
        info = str(await self._ask(_packed(_Head(("INFO", "memory"))))).split()
        return "maxmemory:0" not in info and "maxmemory_policy:noeviction" not in info

    async def _ask(
        self, command: bytes, with_script: Callable[[], bytes] | None = None
    ) -> Any:
        """Make an exchange, within its time.

        Args:
            command: What to ask.
            with_script: Makes the same with the script, in case Redis does not know it.

        Raises:
            RedisAwayError: Redis does not answer, or answers with an error.
        """
        async with self._places:
            until = asyncio.get_running_loop().time() + self._seconds
            try:
                try:
                    return await self._exchange(command, until)
                except NoScriptError:
                    if with_script is None:
                        raise
                    return await self._exchange(with_script(), until)
            except Exception as error:  # noqa: BLE001  (told in words of our own)
                raise self._told(error) from None

    async def _exchange(self, command: bytes, until: float) -> Any:
        try:
            return await self._once(command, until)
        except NoConnectionError as error:
            if isinstance(error, AuthenticationError | BusyLoadingError):
                raise
            # Redis may have closed a connection that was idle: each of them, if it was
            # restarted.
            await self._close_idle()
            return await self._once(command, until)
        except ResponseError as error:
            if _code_of(error) in _ELSEWHERE:
                # After a failover these connections lead to a replica, and the name of
                # the server to another.
                await self._close_idle()
            raise

    async def _once(self, command: bytes, until: float) -> Any:
        line = self._idle.pop() if self._idle else self._new_line()
        try:
            return await line.ask(command, until)
        finally:
            self._idle.append(line)

    def _new_line(self) -> _Line:
        line = _Line(self._pool.make_connection())
        self._made.add(line)
        return line

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def _told(self, error: Exception) -> RedisAwayError:
        """Say why Redis cannot be used. No text of Redis or of the URL is shown."""
        if isinstance(error, NoAnswerError | TimeoutError):
            return RedisAwayError(f"Redis did not answer within {self._seconds:g} s")
        if isinstance(error, AuthenticationError):
            return RedisRefusedError("Redis refused the user or the password")
        if isinstance(error, BusyLoadingError):
            return RedisAwayError("Redis is loading its data")
        if isinstance(error, ResponseError):
            return self._answered(_code_of(error), _command_of(error))
        if isinstance(error, RedisError | OSError):
            return self._unconnected(error)
        return RedisRefusedError(f"redis-py failed ({type(error).__name__})")

    @staticmethod
    def _unconnected(error: Exception) -> RedisAwayError:
        if isinstance(error, InvalidResponse):
            return RedisAwayError("what answers there is not Redis")
        return RedisAwayError(f"there is no connection to Redis{_cause_of(error)}")

    def _answered(self, code: str, command: str) -> RedisAwayError:
        """Say what an error means that Redis answered with.

        Args:
            code: Its code; "" if it is not known.
            command: The command that was refused; "" if it is not known.
        """
        if code == "NOPERM":
            right = f"the right to {command}" if command else "a right"
            return RedisRefusedError(
                f"the user of Redis lacks {right}; {_PAGES[self._what]} lists those it"
                " needs"
            )
        if code == "DB":
            return RedisRefusedError(
                f"the URL of the {self._what} names a database that this Redis does not"
                " have; most have 16, from 0 to 15"
            )
        if code == "OOM":
            return RedisAwayError("Redis is full")
        kind = RedisAwayError if code in _PASSING else RedisRefusedError
        return kind(f"Redis answered with an error{f' ({code})' if code else ''}")

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            for line in list(self._made):
                await line.close(waits=True)
        finally:
            await self.abandon()  # what is left if it was cancelled

    async def abandon(self) -> None:
        """Close the connections where their event loop does not run any more."""
        for line in list(self._made):
            await line.close()


def _cause_of(error: BaseException) -> str:
    """Say why there is no connection, in words of our own; "" if that is not known."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if isinstance(cause, OSError):
            return f": {_why(cause)}"
        if cause is None:
            break
        cause = cause.__cause__ or cause.__context__
    return ""


def _why(error: OSError) -> str:
    for kind, words in _CAUSES.items():
        if isinstance(error, kind):
            return words
    # asyncio puts the errors of a host with several addresses into one text.
    found = _ERROR_NUMBER(str(error))
    number = error.errno or (int(found[1]) if found else None)
    return "unknown" if number is None else os.strerror(number).lower()


def _command_of(error: ResponseError) -> str:
    """Return the command that a user may not run, if the text of an error names it."""
    found = _REFUSED_COMMAND(str(error))
    return "" if found is None else found[1].upper()


def _code_of(error: ResponseError) -> str:
    """Return the code that Redis answered with; "" if it is not known."""
    text = str(error)
    if any(words in text for words in _LACKING):
        return "NOPERM"
    if type(error) in _CODES:
        return _CODES[type(error)]
    found = _ERROR_CODE(text) or _CODE_IN_SCRIPT(text)
    return "" if found is None else found[found.re.groups]


class _Head:
    """The first parts of a command, packed once.

    Attributes:
        size: How many parts it has.
        packed: Them.
    """

    __slots__ = ("packed", "size")

    def __init__(self, parts: Sequence[str | int]) -> None:
        self.size = len(parts)
        self.packed = b"".join([_packed_text(str(part)) for part in parts])


@lru_cache(_HEADS)
def _call_of(script: str, keys: tuple[str, ...]) -> _Head:
    """Return what calls a script that Redis knows."""
    sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    return _Head(("EVALSHA", sha, len(keys), *keys))


def _packed(head: _Head, rest: Sequence[str | int] = ()) -> bytes:
    """Return a command as it is sent."""
    parts = [
        _packed_number(part) if isinstance(part, int) else _packed_text(part)
        for part in rest
    ]
    return b"*%d\r\n%b%b" % (head.size + len(parts), head.packed, b"".join(parts))


@lru_cache(1024)
def _packed_number(number: int) -> bytes:
    return _packed_text(f"{number:d}")


def _packed_text(text: str) -> bytes:
    data = text.encode(errors="replace")
    return b"$%d\r\n%b\r\n" % (len(data), data)
