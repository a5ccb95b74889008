"""What a caller may pass: checked here, before anything is sent.

Every function returns the value in the form in which it goes on the wire, or raises
`ConfigurationError` with what is wrong and what would be right. Values of secrets
come in their box, so that no traceback through this module can show one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceHardware, SpaceSdk, SpaceStorage, Volume

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted

# The Hub's own rule for names (letters, digits, "-", "_", "."; at most 96) without its
# finer points: what matters here is that nothing can leave its place in the path.
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
_KEY: Final = re.compile(r"[a-zA-Z][_a-zA-Z0-9]*")
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_REVISION: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHOWN: Final = 80
_SHORT: Final = 60


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def name(value: object, what: str) -> str:
    """Check a user's, an org's or a Space's bare name."""
    if isinstance(value, str) and _NAME.fullmatch(value) and ".." not in value:
        return value
    raise ConfigurationError(
        f"{what} must be 1 to 96 letters, digits, '-', '_' or '.', not {_shown(value)}"
    )


def repo_id(value: object) -> tuple[str, str]:
    """Check a Space's id and return its owner and its name."""
    if not isinstance(value, str):
        raise ConfigurationError(
            f"repo_id must be a text 'owner/name', not {_shown(value)}"
        )
    owner, slash, rest = value.partition("/")
    if slash and _NAME.fullmatch(owner) and _NAME.fullmatch(rest) and ".." not in value:
        return owner, rest
    hint = ""
    if "://" in value or value.startswith(("spaces/", "www.", "huggingface.co")):
        hint = " (the id is the part of the URL after /spaces/)"
    raise ConfigurationError(
        f"repo_id must be 'owner/name', each 1 to 96 letters, digits, '-', '_' or '.',"
        f" not {_shown(value)}{hint}"
    )


def repo_id_or_name(value: object) -> tuple[str | None, str]:
    """Check a Space's id, or its bare name under the caller's own account."""
    if isinstance(value, str) and "/" not in value:
        return None, name(value, "repo_id")
    return repo_id(value)


def sdk(value: object) -> str:
    """Check what a Space is to be made with."""
    known = SpaceSdk(text(value, "sdk"))
    if known.is_known:
        return str(known)
    raise ConfigurationError(
        f"sdk must be one of {', '.join(SpaceSdk)}, not {_shown(value)}"
    )


def short_description(value: object) -> str:
    """Check a description for a Space's card: at most 60 characters."""
    if len(text(value, "short_description")) <= _SHORT:
        return str(value)
    raise ConfigurationError(f"short_description may have {_SHORT} characters")


def domain(value: object) -> str:
    """Check a host name."""
    if isinstance(value, str) and _DOMAIN.fullmatch(value):
        return value
    raise ConfigurationError(
        f"a domain is a host name such as 'demo.example.com', not {_shown(value)}"
    )


def key(value: object) -> str:
    """Check the name of a variable or secret."""
    if isinstance(value, str) and _KEY.fullmatch(value):
        return value
    raise ConfigurationError(
        "the key of a variable or secret must start with a letter and go on with"
        f" letters, digits or '_', not {_shown(value)}"
    )


def secret(boxed: Redacted[str]) -> Redacted[str]:
    """Check that the value of a secret is a text, without ever showing it."""
    if not isinstance(boxed.reveal(), str):
        kind = type(boxed.reveal()).__name__
        raise ConfigurationError(f"the value of a secret must be a text, not {kind}")
    if _SURROGATE.search(boxed.reveal()):
        raise ConfigurationError("the value of a secret contains a lone surrogate")
    return boxed


def text(value: object, what: str) -> str:
    """Check that something is a text that can be sent."""
    if isinstance(value, str) and not _SURROGATE.search(value):
        return value
    raise ConfigurationError(f"{what} must be a text, not {_shown(value)}")


def flag(value: object, what: str) -> bool:
    """Check that a value is True or False and not merely truthy."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{what} must be True or False, not {_shown(value)}")


def seconds(value: object, what: str) -> float:
    """Check a duration: a finite number of seconds, not negative."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= cast("float", value) < math.inf:
        return cast("float", value)
    raise ConfigurationError(
        f"{what} must be a number of seconds of at least 0, not {_shown(value)}"
    )


def items(value: object, what: str) -> list[Any]:
    """Check that something can be gone through, and return what is in it."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(value)  # pyright: ignore[reportUnknownArgumentType]
    raise ConfigurationError(f"{what} must be a list, not {_shown(value)}")


def files(value: object) -> list[dict[str, str]]:
    """Check the files of a first commit: a path and a text for each."""
    checked: list[dict[str, str]] = []
    for entry in items(value, "files"):
        good = isinstance(entry, Mapping) and {"path", "content"} <= set(entry)  # pyright: ignore[reportUnknownArgumentType]
        if not good or not set(entry) <= {"path", "content", "encoding"}:  # pyright: ignore[reportUnknownArgumentType]
            raise ConfigurationError(
                "a file is {'path': ..., 'content': ..., 'encoding': ...}"
            )
        checked.append({k: text(v, f"{k} of a file") for k, v in entry.items()})  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return checked


def whole(value: object, what: str, *, most: int | None = None) -> int:
    """Check a whole number of at least 1."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if good and (most is None or cast("int", value) <= most):
        return cast("int", value)
    upto = f" and at most {most}" if most is not None else ""
    raise ConfigurationError(
        f"{what} must be a whole number of at least 1{upto}, not {_shown(value)}"
    )


def sleep_time(value: object) -> int:
    """Check a sleep time: whole seconds above 0, or -1 for never."""
    whole_number = isinstance(value, int) and not isinstance(value, bool)
    if whole_number and (value == -1 or cast("int", value) > 0):
        return cast("int", value)
    raise ConfigurationError(
        f"a sleep time is a whole number of seconds above 0, or -1 for never,"
        f" not {_shown(value)}"
    )


def flavor(value: object) -> str:
    """Check the form of a hardware flavor; whether it exists, the Hub knows."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        # str() of the official client's enum would be "SpaceHardware.T4_SMALL".
        return str.__str__(value)
    raise ConfigurationError(
        f"a hardware flavor is a word such as 'cpu-basic' or 't4-small',"
        f" not {_shown(value)}; known: {', '.join(SpaceHardware)}"
    )


def tier(value: object) -> str:
    """Check a tier of the legacy storage: the list is closed for good."""
    if isinstance(value, str) and SpaceStorage(value).is_known:
        return str.__str__(value)
    raise ConfigurationError(
        f"a storage tier is one of {', '.join(SpaceStorage)}, not {_shown(value)}"
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
        if not path.startswith("/") or ".." in path.split("/") or len(path) < 2:  # noqa: PLR2004  ("/" alone is no mount)
            raise ConfigurationError(
                f"mount_path must be absolute, such as '/data', not {_shown(path)}"
            )
        if path in paths:
            raise ConfigurationError(f"two volumes are mounted at {_shown(path)}")
        paths.add(path)
    return checked
