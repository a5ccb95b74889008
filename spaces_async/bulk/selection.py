"""Which Spaces of one or more owners: chosen while the listing arrives."""

from __future__ import annotations

from contextlib import aclosing
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import field, frozen

from spaces_async import _validate
from spaces_async.errors import ConfigurationError, NotFoundError
from spaces_async.models import SpaceHardware, SpaceInfo, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async.client import SpacesClient

__all__ = ["Selection", "require_known_flavors"]


def _words(words: str | Iterable[str] | None) -> list[str] | None:
    if words is None:
        return None
    given = [words] if isinstance(words, str) else list(words)
    if not given:
        raise ConfigurationError("an empty set selects nothing; None selects all")
    return given


def _stages(words: str | Iterable[str] | None) -> frozenset[SpaceStage] | None:
    given = _words(words)
    if given is None:
        return None
    stages = frozenset(map(SpaceStage, given))
    _refuse_unknown("stages", [s for s in stages if not s.is_known], SpaceStage)
    return stages


def _sdks(words: str | Iterable[str] | None) -> frozenset[SpaceSdk] | None:
    given = _words(words)
    if given is None:
        return None
    sdks = frozenset(map(SpaceSdk, given))
    _refuse_unknown("sdks", [s for s in sdks if not s.is_known], SpaceSdk)
    return sdks


def _refuse_unknown(what: str, unknown: Iterable[str], known: Iterable[str]) -> None:
    """Refuse what would select nothing: far more likely a slip than a new word."""
    if words := sorted(unknown):
        raise ConfigurationError(f"unknown {what} {words}; known: {', '.join(known)}")


def _flavors(words: str | Iterable[str] | None) -> frozenset[SpaceHardware] | None:
    given = _words(words)
    return None if given is None else frozenset(map(SpaceHardware, given))


def _authors(words: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        return (words,)
    try:
        given = tuple(dict.fromkeys(words))
    except TypeError:
        raise ConfigurationError(
            f"author must be a name, or several, not {words!r}"
        ) from None
    if not given:
        raise ConfigurationError("author is empty: name at least one user or org")
    return given


def _patterns(words: str | Iterable[str] | None) -> tuple[str, ...] | None:
    given = _words(words)
    return None if given is None else tuple(given)


def _fits_pattern(info: SpaceInfo, pattern: str) -> bool:
    owner, slash, name = pattern.rpartition("/")
    # Each part on its own: `*` must not cross the "/", or "demo-*" would take all
    # Spaces of an owner with such a name.
    if slash and not fnmatchcase(info.id.partition("/")[0], owner):
        return False
    return fnmatchcase(info.name, name)


async def require_known_flavors(session: HubSession, flavors: Iterable[str]) -> None:
    """Refuse a flavor that neither this package nor the Hub knows: likely a slip.

    The Hub's list is read only if this package does not know a flavor. A mirror that
    has no such list refuses nothing.

    Raises:
        ConfigurationError: A flavor is unknown; it has a suggestion.
    """
    doubtful = [str(f) for f in flavors if not SpaceHardware(f).is_known]
    if not doubtful:
        return
    from spaces_async._operations.requests import flavors_call

    try:
        listed = [flavor.name for flavor in await session.send(flavors_call())]
    except NotFoundError:
        return
    known = list(dict.fromkeys([*map(str, SpaceHardware), *listed]))
    for word in sorted(set(doubtful) - set(known)):
        close = get_close_matches(word.lower(), known, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(
            f"there is no hardware flavor {word!r}"
            + (meant or f"; known: {', '.join(known)}")
        )


@frozen(kw_only=True)
class Selection:
    """The Spaces of users or orgs that fit all conditions; None is no condition.

    Attributes:
        author: User or org, or several; they are listed one after the other.
        stages: Stages, such as {"RUNTIME_ERROR", "BUILD_ERROR"}.
        sdks: Kinds, such as {"gradio", "docker"}.
        hardware: Flavors, requested or current. One that neither this package nor the
            Hub's list knows is refused with `ConfigurationError` before anything is
            listed, since it would select nothing.
        match: Shell pattern for the name, such as "demo-*", or for owner and name, such
            as "*/demo-*"; `*` does not match "/". Of several, one has to fit.
        private: True takes only private ones, False only public ones.
        any_flavor: True takes the words of `hardware` as they are.
    """

    author: tuple[str, ...] = field(converter=_authors)
    stages: frozenset[SpaceStage] | None = field(default=None, converter=_stages)
    sdks: frozenset[SpaceSdk] | None = field(default=None, converter=_sdks)
    hardware: frozenset[SpaceHardware] | None = field(default=None, converter=_flavors)
    match: tuple[str, ...] | None = field(default=None, converter=_patterns)
    private: bool | None = None
    any_flavor: bool = False

    def __attrs_post_init__(self) -> None:
        for author in self.author:
            _validate.name(author, "author")

    def fits(self, info: SpaceInfo) -> bool:
        """Return whether a Space fits all conditions."""
        runtime = info.runtime
        if self.stages is not None and info.stage not in self.stages:
            return False
        if self.sdks is not None and info.sdk not in self.sdks:
            return False
        if self.hardware is not None:
            if runtime is None:
                return False
            if not {runtime.hardware, runtime.requested_hardware} & self.hardware:
                return False
        if self.private is not None and info.private is not self.private:
            return False
        return self.match is None or any(_fits_pattern(info, p) for p in self.match)

    async def resolve(self, client: SpacesClient) -> AsyncIterator[SpaceInfo]:
        """Yield the Spaces that fit, one call for each 500 that an owner has.

        Args:
            client: Whose token lists: it decides which private Spaces are seen.

        Raises:
            ConfigurationError: A flavor is unknown.
        """
        session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        await self.require_known(session)
        async with aclosing(self.pages(session)) as pages:
            async for page in pages:
                for info in page:
                    yield info

    async def require_known(self, session: HubSession) -> None:
        """Refuse a flavor that is unknown; see `require_known_flavors`."""
        if self.hardware is not None and not self.any_flavor:
            await require_known_flavors(session, self.hardware)

    async def pages(self, session: HubSession) -> AsyncGenerator[list[SpaceInfo], None]:
        """Yield the Spaces that fit, page by page of each owner's listing."""
        from spaces_async._operations.requests import listing_call

        for author in self.author:
            call = listing_call(author, "runtime", "sdk", "private")
            async with aclosing(session.pages(call)) as pages:
                async for page in pages:
                    yield [info for info in page if self.fits(info)]
