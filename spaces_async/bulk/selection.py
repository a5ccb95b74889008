"""Which Spaces of one or more owners: the conditions of a selection."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self, cast

from attrs import field, fields, frozen

from spaces_async import _validate
from spaces_async._record import short_repr
from spaces_async.errors import ConfigurationError
from spaces_async.models import STAGE_GROUPS, SpaceHardware, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo

__all__ = ["Selection"]

_MOST_DAYS: Final = 36_500
"""A hundred years: what is longer is a slip, and would pass the calendar's end."""

_REMOVED: Final = {"private": "visibility='private' or visibility='public'"}


def _words(words: object, what: str) -> list[Any]:
    """Return one word, or several, as a list."""
    if isinstance(words, str):
        return [words]
    if isinstance(words, bytes) or not isinstance(words, Iterable):
        raise ConfigurationError(f"{what} must be a word, or several, not {words!r}")
    given: list[Any] = list(words)  # pyright: ignore[reportUnknownArgumentType]
    if not given:
        raise ConfigurationError(
            f"{what} is empty, which would select nothing; None is no condition"
        )
    return given


def _text(what: str, word: object) -> str:
    if not _validate.text(word, what):
        raise ConfigurationError(f"{what} must not be an empty text")
    return str(word)


def _authors(words: str | Iterable[str]) -> tuple[str, ...]:
    given = _words(words, "author")
    return tuple(dict.fromkeys(_validate.name(word, "author") for word in given))


def _stages(words: str | Iterable[str] | None) -> frozenset[SpaceStage] | None:
    return None if words is None else _validate.stages(_words(words, "stages"))


def _sdks(words: str | Iterable[str] | None) -> frozenset[SpaceSdk] | None:
    return None if words is None else _validate.sdks(_words(words, "sdks"))


def _flavors(words: str | Iterable[str] | None) -> frozenset[SpaceHardware] | None:
    if words is None:
        return None
    given = _words(words, "hardware")
    return frozenset(SpaceHardware(_text("hardware", word)) for word in given)


def _visibility(words: str | Iterable[str] | None) -> frozenset[str] | None:
    if words is None:
        return None
    given = frozenset(_words(words, "visibility"))
    for word in given:
        if word not in _validate.VISIBILITIES:
            raise _validate.unknown_word("visibility", word, _validate.VISIBILITIES)
    if "protected" in given and "private" not in given:
        raise ConfigurationError(
            "the Hub's listing shows protected Spaces as private, so they cannot be"
            " selected alone; visibility='private' takes both"
        )
    # "private" has the protected ones already.
    return given - {"protected"}


def _texts(words: str | Iterable[str] | None, what: str) -> frozenset[str] | None:
    if words is None:
        return None
    return frozenset(_text(what, word) for word in _words(words, what))


def _tags(words: str | Iterable[str] | None) -> frozenset[str] | None:
    return _texts(words, "tags")


def _groups(words: str | Iterable[str] | None) -> frozenset[str] | None:
    return _texts(words, "resource_group")


def _keys(words: str | Iterable[str] | None) -> frozenset[str] | None:
    if words is None:
        return None
    given = _words(words, "having_secret or having_variable")
    return frozenset(_validate.key(word) for word in given)


def _patterns(words: object, what: str) -> tuple[str, ...]:
    patterns = [_text(what, word) for word in _words(words, what)]
    for pattern in patterns:
        if pattern.count("/") > 1:
            raise ConfigurationError(
                f"{what} has one '/' at most, between owner and name, not {pattern!r}"
            )
    return tuple(dict.fromkeys(patterns))


def _match(words: str | Iterable[str] | None) -> tuple[str, ...] | None:
    return None if words is None else _patterns(words, "match")


def _exclusions(words: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if words is None:
        return None
    # To exclude nothing is no slip, as in exclude=options.keep.
    given = words if isinstance(words, str) else _validate.items(words, "exclude")
    return _patterns(given, "exclude") if given != [] else None


def _before(value: timedelta | datetime | None) -> timedelta | datetime | None:
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise ConfigurationError(
                f"modified_before needs a time zone, such as"
                f" datetime(..., tzinfo=UTC); {value.isoformat()} has none"
            )
        return value
    if isinstance(value, timedelta):
        if timedelta() < value <= timedelta(days=_MOST_DAYS):
            return value
        raise ConfigurationError(
            f"modified_before must be above 0 and at most {_MOST_DAYS} days,"
            f" not {value}"
        )
    if value is None:
        return None
    raise ConfigurationError(
        f"modified_before must be a timedelta or a datetime, not {value!r}"
    )


def _paid(value: bool | None) -> bool | None:  # noqa: FBT001  (None is most of it)
    return None if value is None else _validate.flag(value, "paid")


def _any_flavor(value: bool) -> bool:  # noqa: FBT001  (it is the field's value)
    return _validate.flag(value, "any_flavor")


def _unordered(patterns: Iterable[str] | None) -> frozenset[str] | None:
    return None if patterns is None else frozenset(patterns)


@frozen(kw_only=True, repr=False)
class Selection:
    """The Spaces of users or orgs that fit all conditions; None is no condition.

    Each condition takes one word or several, of which any may hold; all conditions hold
    together. A word that the Hub does not know is refused, since it would select
    nothing.

    A condition may not be known of a Space: its secrets may not be read, or its flavor
    has no known price. Such a Space is left out, and one warning of the logger
    `spaces_async.bulk` names it. In a bulk and in a plan it is skipped with the reason.

    Attributes:
        author: User or org, or several; they are listed one after the other. One of
            which no Space is seen raises `UnseenOwnerError`.
        stages: Stages, such as "RUNTIME_ERROR", in any case, and the words for groups
            of them: "failed", "running", "building", "idle".
        sdks: SDKs, such as "gradio" or "docker".
        hardware: Flavors, requested or current. One that neither this package nor the
            Hub's list knows is refused before anything is listed.
        match: Shell pattern for the name, such as "demo-*", or for owner and name, such
            as "*/demo-*"; `*` does not match "/".
        exclude: The same, for those to leave out; an empty list leaves out none.
        visibility: "public" or "private". The listing shows protected Spaces as
            private: "private" takes both, and "protected" alone is refused.
        tags: Tags, such as "region:us".
        modified_before: When its files were last changed: longer ago than a
            `timedelta`, or before a `datetime` with a time zone.
        paid: True takes those whose flavor, requested or current, has a price above 0;
            False those that have none. The Hub's prices are read once for it.
        having_secret: Names of secrets. Each Space that fits all else is read for it.
        having_variable: Names of variables, likewise.
        resource_group: Ids or names of resource groups.
        any_flavor: True takes the words of `hardware` as they are.
    """

    author: tuple[str, ...] = field(converter=_authors)
    stages: frozenset[SpaceStage] | None = field(default=None, converter=_stages)
    sdks: frozenset[SpaceSdk] | None = field(default=None, converter=_sdks)
    hardware: frozenset[SpaceHardware] | None = field(default=None, converter=_flavors)
    match: tuple[str, ...] | None = field(default=None, converter=_match, eq=_unordered)
    exclude: tuple[str, ...] | None = field(
        default=None, converter=_exclusions, eq=_unordered
    )
    visibility: frozenset[str] | None = field(default=None, converter=_visibility)
    tags: frozenset[str] | None = field(default=None, converter=_tags)
    modified_before: timedelta | datetime | None = field(
        default=None, converter=_before
    )
    paid: bool | None = field(default=None, converter=_paid)
    having_secret: frozenset[str] | None = field(default=None, converter=_keys)
    having_variable: frozenset[str] | None = field(default=None, converter=_keys)
    resource_group: frozenset[str] | None = field(default=None, converter=_groups)
    any_flavor: bool = field(default=False, converter=_any_flavor)

    if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error

        def __new__(cls, **given: Any) -> Self:
            """Refuse a condition that there is not, with the word that was meant."""
            known = [each.name for each in fields(cls)]
            for name in given.keys() - set(known):
                if name in _REMOVED:
                    raise ConfigurationError(
                        f"a Selection has no {name!r} any more; use {_REMOVED[name]}"
                    )
                raise _validate.unknown_word("condition", name, known)
            return object.__new__(cls)

    def __repr__(self) -> str:
        """Return the conditions on one line, as they would be written."""
        values = ((each, getattr(self, each.name)) for each in fields(type(self)))
        shown: list[tuple[str, object]] = [
            (each.name, _written(value))
            for each, value in values
            if value is not each.default
        ]
        return short_repr(type(self).__name__, shown)

    async def resolve(self, client: SpacesClient) -> AsyncIterator[SpaceInfo]:
        """Yield the Spaces that fit.

        It takes one call for each 500 that an owner has, one for the prices if `paid`
        is given, and one for each Space that fits all else if `having_secret` or
        `having_variable` is. All of it only reads, so it is safe to repeat.

        Args:
            client: Whose token lists: it decides which private Spaces are seen.

        Raises:
            ConfigurationError: A flavor is unknown; nothing was listed.
            UnseenOwnerError: No Spaces of an owner are visible.
        """
        # The client has loaded it: a selection alone needs no calls.
        from spaces_async.bulk._choice import Choice

        session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        async with aclosing(Choice(self, session).pages()) as pages:
            async for page in pages:
                for info in page.spaces:
                    yield info


def _written(value: object) -> object:
    """Return a condition as a user would write it."""
    if not isinstance(value, frozenset | tuple):
        return value
    words = [str(word) for word in cast("Iterable[object]", value)]
    if isinstance(value, frozenset):
        groups = {w: g for w, g in STAGE_GROUPS.items() if g.issubset(words)}
        words = sorted(set(words).difference(*groups.values()).union(groups))
    return words[0] if len(words) == 1 else words
