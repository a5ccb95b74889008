"""Which Spaces a bulk is for, and where its limits are."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, frozen

from spaces_async import _validate
from spaces_async.bulk._choice import Choice
from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.bulk._engine.resolver import Listed
from spaces_async.bulk.report import Outcome, StopReason
from spaces_async.bulk.selection import Selection
from spaces_async.errors import ConfigurationError, SpacesError
from spaces_async.models import SpaceInfo, SpaceSdk

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

logger = logging.getLogger(__name__)

Target = str | SpaceInfo | Outcome[Any] | Listed
Targets = Iterable[Target] | AsyncIterable[Target] | Selection

_MAX_CONCURRENCY: Final = 1000
_LIST_AGAIN_SECONDS: Final = 10.0
"""Until a selection is listed again; each time has the retries of a call."""

MANY: Final = 10**9
"""Stands for the unknown number of Spaces that are still to come."""


@frozen(kw_only=True)
class Limits:
    """When a bulk ends early, and how wide it runs.

    Attributes:
        concurrency: Spaces worked on at the same time.
        fail_fast: Start no further one after the first failure.
        max_failures: Start no further one after so many failures; None is no limit.
        deadline: Seconds after which what is in flight is cancelled; None is none.
        max_outage: Seconds that the Hub may be down; None is no limit.
    """

    concurrency: int = 16
    fail_fast: bool = False
    max_failures: int | None = None
    deadline: float | None = None
    max_outage: float | None = 600.0

    def __attrs_post_init__(self) -> None:
        _validate.whole(self.concurrency, "concurrency", most=_MAX_CONCURRENCY)
        _validate.flag(self.fail_fast, "fail_fast")
        if self.max_failures is not None:
            _validate.whole(self.max_failures, "max_failures")
        if self.deadline is not None and not self.deadline > 0:
            raise ConfigurationError(
                f"deadline must be above 0 seconds, not {self.deadline!r}"
            )
        if self.max_outage is not None:
            _validate.seconds(self.max_outage, "max_outage")

    def reached(self, failures: int) -> StopReason | None:
        """Return which limit so many failures reach."""
        if self.fail_fast and failures:
            return StopReason.FAIL_FAST
        if self.max_failures is not None and failures >= self.max_failures:
            return StopReason.MAX_FAILURES
        return None


@define
class Claim:
    """A Space that a worker has taken.

    Attributes:
        repo_id: Its id.
        listed: What the listing of a `Selection` showed of it; None for ids.
        left_out: Why the selection neither takes it nor rules it out; None if it is to
            be worked on.
    """

    repo_id: str
    listed: Listed | None = None
    left_out: str | None = None

    @property
    def is_target(self) -> bool:
        """Whether a journal names it: it is to be worked on, and has a valid id."""
        try:
            _validate.repo_id(self.repo_id)
        except ConfigurationError:
            return False
        return self.left_out is None

    @property
    def is_static(self) -> bool:
        """Whether its listing showed that it has no container."""
        return self.listed is not None and self.listed.info.sdk is SpaceSdk.STATIC


def _repo_id(target: Target | Claim) -> str:
    if type(target) is str:
        return target
    if isinstance(target, Claim):
        return target.repo_id
    if isinstance(target, SpaceInfo):
        return target.id
    if isinstance(target, Listed):
        return target.info.id
    if isinstance(target, Outcome):
        return target.repo_id
    if isinstance(target, str):
        return target
    raise ConfigurationError(
        f"a target is an id, a SpaceInfo or an Outcome, not {type(target).__name__}"
    )


def _claim(target: Target | Claim) -> Claim:
    if type(target) is str:
        return Claim(target)
    if isinstance(target, Claim):
        return target
    return Claim(_repo_id(target), target if isinstance(target, Listed) else None)


class TargetSource:
    """The targets, one at a time, whatever they come from.

    Attributes:
        total: How many distinct ones there are; None if that is not known.
        listed: All of them, where they are known.
        at_hand: Whether the next never waits for the outcome of those before.
        are_distinct: Whether each comes once, and has been checked.
        is_selection: Whether they come from a `Selection`.
    """

    def __init__(
        self,
        targets: Targets,
        session: HubSession,
        *,
        max_outage: float | None = None,
    ) -> None:
        """Take targets.

        Args:
            targets: What they come from.
            session: Lists those of a `Selection`.
            max_outage: Seconds that its listing may fail; None is no limit.
        """
        self.total: int | None = None
        self.listed: list[str] | None = None
        self.at_hand = True
        self.are_distinct = False
        self.is_selection = isinstance(targets, Selection)
        self._session = session
        self._max_outage = max_outage
        self._failing_since = 0.0
        self._progress = -1
        self._owners: Counter[str] | None = None
        self._first: Iterator[str] = iter(())
        self._lock = asyncio.Lock()
        self._sync: Iterator[Target | Claim] | None = None
        self._async: AsyncIterator[Target | Claim] | None = None
        self._choice: Choice | None = None
        if isinstance(targets, str):
            raise ConfigurationError(f"targets is one text; pass a list: [{targets!r}]")
        if isinstance(targets, Selection):
            self._choice = Choice(targets, session)
            self._async = self._select(self._choice)
        elif isinstance(targets, AsyncIterable):
            self._async = aiter(targets)
            self.at_hand = False
        elif isinstance(targets, Iterable):
            self._sync = iter(self._whole(targets))
        else:
            raise ConfigurationError(
                f"targets must be ids, an async iterable or a Selection, not"
                f" {type(targets).__name__}"
            )

    def _whole(self, targets: Iterable[Target]) -> Iterable[Target]:
        """Check what is complete as a whole, before anything is sent."""
        if not isinstance(targets, Collection):
            return targets
        whole: dict[str, Target] = {}
        for target in cast("Iterable[Target]", targets):
            repo_id = _repo_id(target)
            if repo_id not in whole:
                _validate.repo_id(repo_id)
                whole[repo_id] = target
        self.listed = list(whole)
        self.total = len(self.listed)
        self.are_distinct = True
        kinds = set(map(type, whole.values()))
        self.is_selection = kinds == {Listed}
        return self.listed if kinds <= {str} else list(whole.values())

    async def _select(self, choice: Choice) -> AsyncGenerator[Claim, None]:
        async with aclosing(choice.pages()) as pages:
            async for page in pages:
                for info in page.spaces:
                    yield Claim(info.id, Listed(info, page.asked))
                for info, why in page.left_out:
                    left_out = f"not known: {why}"
                    yield Claim(info.id, Listed(info, page.asked), left_out)

    async def require_known(self) -> None:
        """Refuse a selection by a flavor that is unknown.

        Raises:
            ConfigurationError: It is; it has a suggestion.
        """
        if self._choice is not None:
            await self._choice.prepare()

    def put(self, claims: Mapping[str, Claim]) -> None:
        """Put all targets, which have been read, back.

        The next one may have to wait for the outcome of those before.
        """
        self.listed, self.total = list(claims), len(claims)
        self.at_hand = False
        self._sync = iter(claims.values())

    def begin_with(self, repo_ids: Iterable[str]) -> None:
        """Put ids before all others, which may have the same ones."""
        self._first = iter(repo_ids)
        self.total = None
        self.are_distinct = False

    def of_owner(self, owner: str) -> int:
        """Return how many of the targets are of an owner; many if that is unknown."""
        if self.listed is None:
            return MANY
        if self._owners is None:
            self._owners = Counter(i.partition("/")[0] for i in self.listed)
        return self._owners[owner]

    def take(self) -> Claim | None:
        """Return the next target if that takes no wait; None: ask `next`.

        Raises:
            Exception: Whatever the iterator raises.
        """
        for repo_id in self._first:
            return Claim(repo_id)
        if self._sync is not None:
            for target in self._sync:
                return _claim(target)
            self._sync = None
        return None

    async def next(self, *, waits: bool = True) -> Claim | None:  # noqa: ARG002
        """Return the next target of an async iterator; None at the end.

        Args:
            waits: Whether to wait for other hosts; here there are none.

        Raises:
            Exception: Whatever the iterator raises.
        """
        # `async with` would take two more coroutines for each Space.
        await self._lock.acquire()
        try:
            # Another worker that held the lock may have come to the end.
            while self._async is not None:
                try:
                    target = await anext(self._async)
                except SpacesError as error:
                    await self._list_again(error)
                else:
                    return _claim(target)
        except StopAsyncIteration:
            self._async = None
        finally:
            self._lock.release()
        return None

    async def _list_again(self, error: SpacesError) -> None:
        """Wait, and list a selection once more; duplicates are told apart later.

        Raises:
            SpacesError: It is no selection, no outage, or one that lasts.
        """
        clock = self._session.clock
        now = clock.monotonic()
        if self._choice is None or not is_trouble(error):
            raise error
        # Each new listing gives the same Spaces again: that does not end an outage.
        if self._choice.progress > self._progress:
            self._progress, self._failing_since = self._choice.progress, now
        lasted = now - self._failing_since
        if self._max_outage is not None and lasted >= self._max_outage:
            raise error
        logger.warning("the Spaces cannot be listed; trying again: %s", error)
        await clock.sleep(_LIST_AGAIN_SECONDS)
        self._async = self._select(self._choice)

    def rest(self) -> Iterator[str]:
        """Yield what is known but was never asked for.

        Of an iterator nothing more is read: it may have no end.
        """
        yield from self._first
        source, self._sync = self._sync, None
        if source is not None and self.listed is not None:
            yield from map(_repo_id, source)

    async def aclose(self) -> None:
        """End an async generator, so that its `finally` runs now."""
        source, self._async = self._async, None
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
