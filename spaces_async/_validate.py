"""Argument checks, made before anything is sent.

Each function returns the value in the form that is sent, or raises `ConfigurationError`
saying what is wrong and what is expected. The values of secrets are passed as
`Redacted`, so that no traceback through this module can show one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from spaces_async._words import closest
from spaces_async.errors import ConfigurationError
from spaces_async.models import (
    STAGE_GROUPS,
    SpaceHardware,
    SpaceSdk,
    SpaceStage,
    SpaceStorage,
    Volume,
)

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted

# The Hub's own rule for names (letters, digits, "-", "_", "."; at most 96) without its
# finer points. What matters here is that a name stays one segment of the path.
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
_REPO_ID: Final = re.compile(f"({_NAME.pattern})/({_NAME.pattern})")
_KEY: Final = re.compile(r"[a-zA-Z][_a-zA-Z0-9]*")
_FLAVOR: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_REVISION: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
VISIBILITIES: Final = ("public", "private", "protected")
_PROXY_SCHEMES: Final = ("http", "https")
REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")
"""How the URL of Redis begins."""

NO_REDIS_URL: Final = (
    "is not a valid URL; special characters of a password are written as %XX, such as %2F"
    " for a slash"
)
_REDIS_PARAMETERS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "rediss": {
        "ssl_ca_certs": (),
        "ssl_certfile": (),
        "ssl_keyfile": (),
        "ssl_cert_reqs": ("required", "none"),
        "ssl_check_hostname": ("true", "false"),
    },
    "unix": {"db": (), "password": ()},
}
"""The parameters that the URL of Redis may have, and their words; () is any text."""

_DATABASE: Final = re.compile(r"[0-9]{1,5}")
_MAX_SHOWN_CHARS: Final = 80
_MAX_DESCRIPTION_CHARS: Final = 60


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) <= _MAX_SHOWN_CHARS:
        return text
    return f"{text[:_MAX_SHOWN_CHARS]}…"


def name(value: object, what: str) -> str:
    """Check the name of a user, an org or a Space without its owner."""
    if isinstance(value, str) and _NAME.fullmatch(value) and ".." not in value:
        return value
    raise ConfigurationError(
        f"{what} must be 1 to 96 letters, digits, '-', '_' or '.', not {_shown(value)}"
    )


def repo_id(value: object) -> tuple[str, str]:
    """Check the id of a Space and return its owner and name."""
    if not isinstance(value, str):
        raise ConfigurationError(
            f"repo_id must be a string 'owner/name', not {_shown(value)}"
        )
    found = _REPO_ID.fullmatch(value)
    if found is not None and ".." not in value:
        return found[1], found[2]
    hint = ""
    if "://" in value or value.startswith(("spaces/", "www.", "huggingface.co")):
        hint = " (the id is the part of the URL after /spaces/)"
    raise ConfigurationError(
        "repo_id must be 'owner/name', each with 1 to 96 letters, digits, '-', '_' or"
        f" '.', not {_shown(value)}{hint}"
    )


def repo_id_or_name(value: object) -> tuple[str | None, str]:
    """Check the id of a Space, or its name alone for the caller's own account."""
    if isinstance(value, str) and "/" not in value:
        return None, name(value, "repo_id")
    return repo_id(value)


def sdk(value: object) -> str:
    """Check the SDK of a Space."""
    known = SpaceSdk(text(value, "sdk"))
    if known is SpaceSdk.STREAMLIT:
        raise ConfigurationError(
            "the Hub no longer creates Streamlit Spaces; create a Docker Space from the"
            " template streamlit/streamlit-template-space"
        )
    if known.is_known:
        return str(known)
    choices = ", ".join(sdk for sdk in SpaceSdk if sdk is not SpaceSdk.STREAMLIT)
    raise ConfigurationError(f"sdk must be one of {choices}, not {_shown(value)}")


def unknown_word(what: str, word: object, known: Iterable[str]) -> ConfigurationError:
    """Return the error for a word that is none of those that are known.

    It has the word that was probably meant, or else all of them. The opposite of what
    was typed is never proposed: "unprotected" is no slip for "protected".

    Args:
        what: What the word is for, such as "stage".
        word: What was given.
        known: The words that there are.
    """
    words = [str(each) for each in known]
    hint = f"known: {', '.join(words)}"
    if isinstance(word, str):
        sought = _plain(word)
        plain = {_plain(each): each for each in reversed(words)}
        # Stages are in capitals, and groups of them are not.
        plain |= {k.lower(): k for k in words if k.isupper() and word.isupper()}
        if close := closest(sought, plain):
            hint = f"did you mean {plain[close]!r}?"
        # The beginning of a word of several parts, such as "t4" of "t4-small".
        elif longer := [w for w in words if _plain(w).startswith(f"{sought}_")]:
            hint = f"did you mean {' or '.join(map(repr, longer))}?"
    return ConfigurationError(f"there is no {what} {_shown(word)}; {hint}")


def _plain(word: str) -> str:
    """Return a word in the form in which words are compared."""
    return word.lower().replace("-", "_")


def stages(words: Iterable[object]) -> frozenset[SpaceStage]:
    """Read stages, in any case, and the words for groups of them.

    "running" and "building" are groups, RUNNING and BUILDING are stages.
    """
    found: set[SpaceStage] = set()
    for word in words:
        found |= _stages_of(word)
    return frozenset(found)


def _stages_of(word: object) -> frozenset[SpaceStage]:
    if isinstance(word, str):
        if word in STAGE_GROUPS:
            return STAGE_GROUPS[word]
        stage = SpaceStage(word.upper().replace("-", "_"))
        if stage.is_known:
            return frozenset({stage})
        if word.lower() in STAGE_GROUPS:
            return STAGE_GROUPS[word.lower()]
    raise unknown_word("stage", word, [*STAGE_GROUPS, *SpaceStage])


def sdks(words: Iterable[object]) -> frozenset[SpaceSdk]:
    """Read SDKs, in any case."""
    found: set[SpaceSdk] = set()
    for word in words:
        known = isinstance(word, str) and SpaceSdk(word.lower()).is_known
        if not known:
            raise unknown_word("SDK", word, SpaceSdk)
        found.add(SpaceSdk(cast("str", word).lower()))
    return frozenset(found)


def short_description(value: object) -> str:
    """Check the description on a Space's card: at most 60 characters."""
    length = len(text(value, "short_description"))
    if length <= _MAX_DESCRIPTION_CHARS:
        return str(value)
    raise ConfigurationError(
        f"short_description may have at most {_MAX_DESCRIPTION_CHARS} characters,"
        f" not {length}"
    )


def domain(value: object) -> str:
    """Check a host name."""
    if isinstance(value, str) and _DOMAIN.fullmatch(value):
        return value
    raise ConfigurationError(
        f"a domain must be a host name such as 'demo.example.com', not {_shown(value)}"
    )


def key(value: object) -> str:
    """Check the name of a variable or secret."""
    if isinstance(value, str) and _KEY.fullmatch(value):
        return value
    raise ConfigurationError(
        "the key of a variable or secret must be a letter followed by letters, digits"
        f" or '_', not {_shown(value)}"
    )


def secret(boxed: Redacted[str]) -> Redacted[str]:
    """Check that the value of a secret is a string, without ever showing it."""
    if not isinstance(boxed.reveal(), str):
        kind = type(boxed.reveal()).__name__
        raise ConfigurationError(f"the value of a secret must be a string, not {kind}")
    if _SURROGATE.search(boxed.reveal()):
        raise ConfigurationError(
            "the value of a secret contains a lone surrogate, which is not valid UTF-8"
        )
    return boxed


def text(value: object, what: str) -> str:
    """Check that a value is a string that can be sent."""
    if isinstance(value, str) and not _SURROGATE.search(value):
        return value
    raise ConfigurationError(f"{what} must be a string, not {_shown(value)}")


def flag(value: object, what: str) -> bool:
    """Check that a value is True or False, and not just truthy or falsy."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{what} must be True or False, not {_shown(value)}")


def seconds(value: object, what: str) -> float:
    """Check a duration: a finite number of seconds, at least 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= cast("float", value) < math.inf:
        return cast("float", value)
    raise ConfigurationError(
        f"{what} must be a number of seconds, at least 0, not {_shown(value)}"
    )


def items(value: object, what: str) -> list[Any]:
    """Check that a value is iterable and not a string, and return its items."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(value)  # pyright: ignore[reportUnknownArgumentType]
    raise ConfigurationError(f"{what} must be a list, not {_shown(value)}")


def files(value: object) -> list[dict[str, str]]:
    """Check the files of a first commit: each has a path and its content."""
    checked: list[dict[str, str]] = []
    for entry in items(value, "files"):
        good = isinstance(entry, Mapping) and {"path", "content"} <= set(entry)  # pyright: ignore[reportUnknownArgumentType]
        if not good or not set(entry) <= {"path", "content", "encoding"}:  # pyright: ignore[reportUnknownArgumentType]
            raise ConfigurationError(
                "each file must be {'path': ..., 'content': ...} with an optional"
                " 'encoding'"
            )
        checked.append({k: text(v, f"{k} of a file") for k, v in entry.items()})  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return checked


def whole(value: object, what: str, *, most: int | None = None) -> int:
    """Check a whole number of at least 1."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if good and (most is None or cast("int", value) <= most):
        return cast("int", value)
    upper = f" and at most {most}" if most is not None else ""
    raise ConfigurationError(
        f"{what} must be a whole number of at least 1{upper}, not {_shown(value)}"
    )


def sleep_time(value: object) -> int:
    """Check a sleep time: whole seconds above 0, or -1 for never."""
    whole_number = isinstance(value, int) and not isinstance(value, bool)
    if whole_number and (value == -1 or cast("int", value) > 0):
        return cast("int", value)
    raise ConfigurationError(
        "a sleep time must be a whole number of seconds above 0, or -1 for never,"
        f" not {_shown(value)}"
    )


def flavor(value: object) -> str:
    """Check the form of a hardware flavor; only the Hub knows whether it exists."""
    if isinstance(value, str) and _FLAVOR.fullmatch(value):
        # str() of the official client's enum returns "SpaceHardware.T4_SMALL".
        return str.__str__(value)
    raise ConfigurationError(
        f"a hardware flavor must be a name such as 'cpu-basic' or 't4-small',"
        f" not {_shown(value)}; known: {', '.join(SpaceHardware)}"
    )


def tier(value: object) -> str:
    """Check a tier of the legacy storage; the Hub will add no further tiers."""
    if isinstance(value, str) and SpaceStorage(value).is_known:
        return str.__str__(value)
    raise ConfigurationError(
        f"a storage tier must be one of {', '.join(SpaceStorage)}, not {_shown(value)}"
    )


def revision(value: object) -> str:
    """Check a branch, tag or commit."""
    if isinstance(value, str) and _REVISION.fullmatch(value) and ".." not in value:
        return value
    raise ConfigurationError(
        f"revision must be a branch, tag or commit, not {_shown(value)}"
    )


def volumes(values: Iterable[Volume]) -> tuple[Volume, ...]:
    """Check a list of volumes: absolute mount paths, each used once."""
    checked = tuple(items(values, "volumes"))
    paths: set[str] = set()
    for volume in checked:
        if not isinstance(volume, Volume):
            raise ConfigurationError(f"volumes must be Volume records, not {volume!r}")
        repo_id(volume.source)
        path = volume.mount_path
        if not path.startswith("/") or ".." in path.split("/") or len(path) < 2:  # noqa: PLR2004  ("/" alone cannot be mounted)
            raise ConfigurationError(
                f"mount_path must be absolute, such as '/data', not {_shown(path)}"
            )
        if path in paths:
            raise ConfigurationError(
                f"two volumes have the mount_path {_shown(path)}; each needs its own"
            )
        paths.add(path)
    return checked


def proxy(boxed: Redacted[Any]) -> str:
    """Check the URL of a proxy, which may contain a password.

    Returns:
        What is wrong with it; "" if it can be used.
    """
    if not isinstance(boxed.reveal(), str):
        return "is no string"
    from yarl import URL

    try:
        url = URL(boxed.reveal() if "://" in boxed.reveal() else f"//{boxed.reveal()}")
        host, port, scheme = url.host, url.port, url.scheme or "http"
    except ValueError:
        return "is not a valid URL"
    if scheme not in _PROXY_SCHEMES:
        return f"names a {scheme} proxy; only http and https proxies are supported"
    return "" if host and port != 0 else "has no host"


def redis_url(boxed: Redacted[Any]) -> str:
    """Check the URL of Redis, which may contain a password.

    Returns:
        What is wrong with it, without any part of it that could be secret; "" if it can
        be used.
    """
    if not isinstance(boxed.reveal(), str):
        return "is no string"
    if not boxed.reveal().startswith(REDIS_SCHEMES):
        return "does not begin with redis://, rediss:// or unix://"
    from urllib.parse import parse_qsl

    from yarl import URL

    try:
        url = URL(boxed.reveal(), encoded=True)
        host, port, query = url.host, url.explicit_port, url.raw_query_string
        parameters = query and parse_qsl(
            query, keep_blank_values=True, strict_parsing=True
        )
    except ValueError:
        return NO_REDIS_URL
    problem = _redis_parameters(url.scheme, parameters or [])
    if url.scheme == "unix":
        database = dict(parameters or []).get("db", "0")
        if not url.path.strip("/") or host:
            problem = problem or "names no socket, such as unix:///run/redis.sock"
    else:
        database = url.path.strip("/") or "0"
        if not host or port == 0:
            problem = problem or "has no host"
    if url.fragment:
        problem = problem or "has a fragment; a '#' in a password is written %23"
    if _DATABASE.fullmatch(database) is None:
        problem = problem or "names a database that is no number, such as /0"
    return problem


def require_redis(what: str) -> None:
    """Refuse what needs redis-py where that is not installed."""
    from importlib.util import find_spec

    if find_spec("redis") is None:
        raise ConfigurationError(
            f"{what} in Redis needs redis-py; install it with"
            " `pip install 'spaces-async[redis]'`"
        )


def _redis_parameters(scheme: str, parameters: list[tuple[str, str]]) -> str:
    """Return what is wrong with the parameters of a URL of Redis; "" if nothing is."""
    allowed = _REDIS_PARAMETERS.get(scheme, {})
    known = ", ".join(allowed) or "none"
    for name, value in parameters:
        if name not in allowed:
            return f"has an unknown parameter; of {scheme}:// these are known: {known}"
        words = allowed[name]
        if not value or (words and value not in words):
            return f"has a value of {name} that cannot be used"
    if len({name for name, _ in parameters}) < len(parameters):
        return "has a parameter twice"
    return ""
