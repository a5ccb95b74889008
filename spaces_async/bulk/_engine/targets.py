"""Which Spaces a bulk is for, and where its limits are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from spaces_async import _validate
from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.bulk.report import Outcome
from spaces_async.bulk.selection import Selection
from spaces_async.errors import ConfigurationError, SpacesError
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient

logger = logging.getLogger(__name__)

Target = str | SpaceInfo | Outcome[Any]
Targets = Iterable[Target] | AsyncIterable[Target] | Selection

_MAX_CONCURRENCY: Final = 1000
_LIST_AGAIN: Final = 10.0
"""Seconds until a selection is listed again; each time has the retries of a call."""


@frozen(kw_only=True)
class Limits:
    """When a bulk ends early, and how wide it runs.

    Attributes:
        concurrency: Spaces worked on at the same time.
        fail_fast: Start no further one after the first failure.
        max_failures: Start no further one after so many failures; None is no limit.
        deadline: Seconds after which what is under way is cancelled; None is none.
        max_outage: Seconds that the Hub may be out; None is no limit.
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

    def reached(self, failures: int) -> str | None:
        """Return which limit so many failures reach."""
        if self.fail_fast and failures:
            return "fail_fast"
        if self.max_failures is not None and failures >= self.max_failures:
            return "max_failures"
        return None


def _repo_id(target: Target) -> str:
    if isinstance(target, SpaceInfo):
        return target.id
    if isinstance(target, Outcome):
        return target.repo_id
    if isinstance(target, str):
        return target
    raise ConfigurationError(
        f"a target is an id, a SpaceInfo or an Outcome, not {type(target).__name__}"
    )


class Source:
    """The targets, one at a time, whatever they come from.

    Attributes:
        total: How many distinct ones there are; None: that is not known.
        listed: All of them, where they are known.
        at_hand: Whether the next never waits for what becomes of those before.
    """

    def __init__(
        self,
        targets: Targets,
        client: SpacesClient,
        *,
        max_outage: float | None = None,
    ) -> None:
        """Take targets.

        Args:
            targets: What they come from.
            client: Lists those of a `Selection`.
            max_outage: Seconds that its listing may fail; None is no limit.
        """
        self.total: int | None = None
        self.listed: list[str] | None = None
        self.at_hand = True
        self._first: Iterator[str] = iter(())
        self._lock = asyncio.Lock()
        self._sync: Iterator[Target] | None = None
        self._async: AsyncIterator[Target] | None = None
        if isinstance(targets, str):
            raise ConfigurationError(f"targets is one text; pass a list: [{targets!r}]")
        self._selection: Selection | None = None
        self._client = client
        self._max_outage = max_outage
        self._failing_since: float | None = None
        if isinstance(targets, Selection):
            self._selection = targets
            self._async = targets.resolve(client)
        elif isinstance(targets, AsyncIterable):
            self._async = aiter(targets)
            self.at_hand = False
        elif isinstance(targets, Iterable):
            if isinstance(targets, list | tuple | set | frozenset | dict):
                # What is complete is checked as a whole, before anything is sent.
                ids = [_repo_id(target) for target in targets]
                for repo_id in ids:
                    _validate.repo_id(repo_id)
                self.listed = list(dict.fromkeys(ids))
                self.total = len(self.listed)
                targets = ids
            self._sync = iter(targets)
        else:
            raise ConfigurationError(
                f"targets must be ids, an async iterable or a Selection, not"
                f" {type(targets).__name__}"
            )

    def begin_with(self, repo_ids: Iterable[str]) -> None:
        """Put ids before all others."""
        self._first = iter(repo_ids)
        self.total = None

    async def next(self) -> str | None:
        """Return the next id, distinct or not; None at the end.

        Raises:
            Exception: Whatever the iterator raises.
        """
        for repo_id in self._first:
            return repo_id
        try:
            if self._sync is not None:
                return _repo_id(next(self._sync))
            async with self._lock:
                # Whoever held the lock may have come to the end.
                while self._async is not None:
                    try:
                        repo_id = _repo_id(await anext(self._async))
                    except SpacesError as error:
                        await self._begin_anew(error)
                    else:
                        self._failing_since = None
                        return repo_id
        except (StopIteration, StopAsyncIteration):
            self._sync = self._async = None
        return None

    async def _begin_anew(self, error: SpacesError) -> None:
        """Wait, and list a selection once more; who was listed is known by then.

        Raises:
            SpacesError: It is no selection, no outage, or one that lasts.
        """
        now = self._client.clock.monotonic()
        since = now if self._failing_since is None else self._failing_since
        self._failing_since = since
        lasts = self._max_outage is not None and now - since >= self._max_outage
        if self._selection is None or lasts or not is_trouble(error):
            raise error
        logger.warning("the Spaces cannot be listed; trying again: %s", error)
        await self._client.clock.sleep(_LIST_AGAIN)
        self._async = self._selection.resolve(self._client)

    def rest(self) -> Iterator[str]:
        """Yield what was given but never asked for; of an async iterable, nothing."""
        yield from self._first
        source, self._sync = self._sync, None
        try:
            for target in source or ():
                yield _repo_id(target)
        except Exception:
            logger.exception("the targets could not be read to their end")

    async def aclose(self) -> None:
        """End an async generator, so that its `finally` runs now."""
        source, self._async = self._async, None
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
