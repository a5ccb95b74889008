"""What the URL of a run says, and the store that it leads to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qsl, urlencode

from attrs import frozen
from yarl import URL

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async._clock import Clock
    from spaces_async.bulk._store.protocol import RunStore

__all__ = ["Place", "make_store", "place_of"]

EXAMPLE: Final = "redis://host:6379/1/nightly"
_is_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}").fullmatch


@frozen
class Place:
    """Where a run is kept.

    Attributes:
        scheme: "redis", "rediss", "unix" or "file".
        server: The URL of the server, or the path of the file.
        name: The name of the run.
        shown: The whole, without user and password.
    """

    scheme: str
    server: Redacted[str]
    name: str
    shown: str


def place_of(where: object) -> Place:
    """Take the URL of a run apart.

    Args:
        where: Such as "redis://user:password@host:6379/1/nightly",
            "unix:///run/redis.sock?db=1&run=nightly" or "file:///var/lib/nightly.jsonl".

    Raises:
        ConfigurationError: It is none; the text shows nothing that could be secret.
    """
    boxed = Redacted(where)
    del where
    if not isinstance(boxed.reveal(), str):
        kind = type(boxed.reveal()).__name__
        raise ConfigurationError(f"store must be a URL such as {EXAMPLE!r}, not {kind}")
    try:
        place = _place(URL(cast("str", boxed.reveal()), encoded=True))
    except ValueError:
        place = _validate.NO_REDIS_URL
    # Outside the handler, so that no context is chained: it may quote the URL.
    if isinstance(place, Place) and place.scheme != "file":
        problem = _validate.redis_url(place.server)
        place = problem or place
    if isinstance(place, str):
        raise ConfigurationError(f"store {place}; pass a URL such as {EXAMPLE!r}")
    return place


def _place(url: URL) -> Place | str:  # noqa: PLR0911  (a table)
    """Return the place, or what is wrong with the URL.

    Raises:
        ValueError: A part of the URL, such as the port, cannot be read.
    """
    if url.fragment:
        return "has a fragment; a '#' in a password is written %23"
    if url.scheme == "file":
        is_file = url.path.startswith("/") and not url.host and len(url.path) > 1
        if not is_file or url.query_string:
            return "names no file, such as file:///var/lib/nightly.jsonl"
        return Place("file", Redacted(url.path), url.name, str(url))
    if url.scheme == "unix":
        if url.raw_user is not None or url.raw_password is not None:
            return "has a user; the password of a socket is its parameter `password`"
        if url.host or len(url.path) <= 1:
            return "names no socket, such as unix:///run/redis.sock?db=1&run=nightly"
        pairs = parse_qsl(url.raw_query_string, keep_blank_values=True)
        names = [value for key, value in pairs if key == "run"]
        name = names[0] if len(names) == 1 else ""
        socket = f"unix://{url.raw_path}"
        query = urlencode([pair for pair in pairs if pair[0] != "run"])
        server = f"{socket}?{query}" if query else socket
        shown = f"{socket}?db={dict(pairs).get('db', '0')}&run={name}"
        how = "&run=nightly at its end"
    elif url.scheme in {"redis", "rediss"}:
        database, _, name = url.path.strip("/").partition("/")
        server = str(url.with_path(f"/{database}").with_query(url.query))
        shown = str(url.with_user(None).with_query(None))
        how = "a name after the database"
    else:
        return "must begin with redis://, rediss://, unix:// or file://"
    if not _is_name(name):
        return f"lacks {how}, made of letters, digits, '.', '_' and '-'"
    return Place(url.scheme, Redacted(server), name, shown)


def make_store(where: object, clock: Clock) -> RunStore:
    """Return the store that a URL leads to; nothing is opened yet.

    Args:
        where: The URL; see `place_of`.
        clock: The source of time.

    Raises:
        ConfigurationError: It leads to none, or redis-py is not installed.
    """
    place = place_of(where)
    del where
    if place.scheme == "file":
        from spaces_async.bulk._store.file_store import FileStore

        return FileStore(place, clock)
    _validate.require_redis("a store")
    from spaces_async.bulk._store.redis_store import RedisStore

    return RedisStore(place, clock)
