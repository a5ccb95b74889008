"""Which Spaces of an owner: chosen while the listing arrives."""

from __future__ import annotations

from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import field, frozen

from spaces_async import _validate
from spaces_async._operations.requests import listing_call
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceHardware, SpaceInfo, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async.client import SpacesClient

__all__ = ["Selection"]


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


@frozen(kw_only=True)
class Selection:
    """The Spaces of a user or org that fit all conditions; None is no condition.

    Attributes:
        author: User or org.
        stages: Stages, such as {"RUNTIME_ERROR", "BUILD_ERROR"}.
        sdks: Kinds, such as {"gradio", "docker"}.
        hardware: Flavors, requested or current.
        match: Shell pattern for the name or the whole id, such as "demo-*".
        private: True takes only private ones, False only public ones.
    """

    author: str
    stages: frozenset[SpaceStage] | None = field(default=None, converter=_stages)
    sdks: frozenset[SpaceSdk] | None = field(default=None, converter=_sdks)
    hardware: frozenset[SpaceHardware] | None = field(default=None, converter=_flavors)
    match: str | None = None
    private: bool | None = None

    def __attrs_post_init__(self) -> None:
        _validate.name(self.author, "author")

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
        return self.match is None or (
            fnmatchcase(info.name, self.match) or fnmatchcase(info.id, self.match)
        )

    async def resolve(self, client: SpacesClient) -> AsyncIterator[SpaceInfo]:
        """Yield the Spaces that fit, one call for each 500 that the owner has.

        Args:
            client: Whose token lists: it decides which private Spaces are seen.
        """
        session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        async with aclosing(self.pages(session)) as pages:
            async for page in pages:
                for info in page:
                    yield info

    async def pages(self, session: HubSession) -> AsyncGenerator[list[SpaceInfo], None]:
        """Yield the Spaces that fit, page by page of the owner's listing."""
        call = listing_call(self.author, "runtime", "sdk", "private")
        async with aclosing(session.pages(call)) as pages:
            async for page in pages:
                yield [info for info in page if self.fits(info)]
