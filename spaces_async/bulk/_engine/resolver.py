"""Reads the state of many Spaces: one listing for many of one owner where it can."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import frozen

from spaces_async._clock import TIMER_SLACK_SECONDS
from spaces_async._core.examine import examine
from spaces_async._operations.requests import listing_call
from spaces_async._wire.calls import Circumstances, Done, Evidence, Verdict
from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.errors import RateLimitError, SpacesError
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._core.session import HubSession
    from spaces_async.bulk._engine.fate import Sent

T = TypeVar("T")

FRESH_SECONDS: Final = 60.0
"""What a listing showed longer ago is not trusted to say that a write is needless."""

WORTH_A_LISTING: Final = 4
"""For so many Spaces of one owner a listing is read."""

LISTED_FIELDS: Final = ("runtime", "sdk", "private")
"""What a listing is asked for."""


@frozen
class Listed:
    """A Space as a listing showed it.

    Attributes:
        info: What it showed.
        asked: When the listing was asked for, by the monotonic clock.
    """

    info: SpaceInfo
    asked: float

    def is_fresh(self, now: float) -> bool:
        """Return whether it may still be trusted."""
        return now - self.asked <= FRESH_SECONDS


class Resolver:
    """Reads states for the Spaces of a bulk.

    The first Space that asks reads for all that are expected to ask: one listing for
    each 500 Spaces of an owner, where that takes fewer requests than one for each.
    """

    def __init__(self, session: HubSession) -> None:
        """Make a resolver.

        Args:
            session: Reads, with one attempt for each call.
        """
        self._session = session
        self._clock = session.clock
        # For each owner the Spaces that will ask, and from when on the state tells.
        self._expected: dict[str, dict[str, float]] = {}
        self._listed: dict[str, Listed] = {}
        self._owners: dict[str, tuple[float, dict[str, SpaceInfo]]] = {}
        self._reading = asyncio.Lock()

    def expect(self, repo_id: str, sent: Sent, settle: float) -> None:
        """Note that a Space will ask, so that one listing may tell of it, too.

        Args:
            repo_id: The Space.
            sent: When its write was sent.
            settle: See `Evidence`.
        """
        self._listed.pop(repo_id, None)
        tells = self._clock.monotonic() - sent.age(self._clock) + settle
        self._expected.setdefault(owner_of(repo_id), {})[repo_id] = tells

    async def verdict(
        self, repo_id: str, evidence: Evidence[Any, T], sent: Sent
    ) -> Done[T] | Verdict:
        """Find out whether a write took effect.

        Raises:
            SpacesError: The state cannot be read.
        """

        async def read(
            evidence: Evidence[Any, Any], least_age: float
        ) -> tuple[Any, Circumstances]:
            if least_age:
                self.expect(repo_id, sent, least_age)
                wait = least_age - sent.age(self._clock)
                await self._clock.sleep(max(0.0, wait))
            state, age = await self._read(repo_id, evidence, sent, least_age)
            return state, Circumstances(
                age=max(age, least_age),  # timers may fire a little early
                crashed=sent.crashed,
                # The response that told the state also told the Hub's clock.
                sent_at=self._session.shared.by_hub_clock(sent.at),
                soon=sent.soon,
                before=sent.before,
            )

        return await examine(evidence, read)

    async def result(
        self, repo_id: str, evidence: Evidence[Any, T] | None
    ) -> Done[T] | Verdict:
        """Read the result of a write that the Hub acted on.

        Raises:
            SpacesError: The state cannot be read.
        """
        while evidence is not None and evidence.result is not None:
            found = evidence.result(await self._session.send(evidence.read(repo_id)))
            if not isinstance(found, Evidence):
                return found if isinstance(found, Done) else Verdict.UNKNOWN
            evidence = found
        return Verdict.UNKNOWN

    async def state_before(
        self,
        repo_id: str,
        evidence: Evidence[Any, Any],
        others: Callable[[str], int],
        *,
        alone: bool,
    ) -> Done[Any] | None:
        """Read the state before a write.

        Args:
            repo_id: The Space.
            evidence: Says how.
            others: Says how many Spaces of an owner are still to come.
            alone: Whether it is also worth a read of this Space alone.

        Returns:
            The state, which may be None for a Space that does not exist. No state where
            it would take one read for each Space although a listing tells it, or where
            the listing does not have it.

        Raises:
            SpacesError: It cannot be read.
        """
        if evidence.listed is None:
            return Done(await self._session.send(evidence.read(repo_id)))
        owner = owner_of(repo_id)
        spaces = self._fresh(owner)
        if spaces is None:
            async with self._reading:
                # Another Space may have listed them while this one waited.
                spaces = self._fresh(owner)
                if spaces is None:
                    if others(owner) < WORTH_A_LISTING:
                        if not alone:
                            return None
                        return Done(await self._session.send(evidence.read(repo_id)))
                    asked = self._clock.monotonic()
                    spaces = await self._list_all(owner)
                    self._owners[owner] = asked, spaces
        info = spaces.get(repo_id)
        state = None if info is None else evidence.listed(info)
        return None if state is None else Done(state)

    def _fresh(self, owner: str) -> dict[str, SpaceInfo] | None:
        """Return the Spaces of an owner, if they were listed a moment ago."""
        asked, spaces = self._owners.get(owner, (-math.inf, None))
        fresh = self._clock.monotonic() - asked <= FRESH_SECONDS
        return spaces if fresh else None

    async def space(self, repo_id: str) -> SpaceInfo | None:
        """Return what one listing of the owner shows of a Space, however old it is.

        Returns:
            The Space; None if the listing does not have it, or cannot be read.
        """
        owner = owner_of(repo_id)
        async with self._reading:
            if owner not in self._owners:
                asked = self._clock.monotonic()
                try:
                    self._owners[owner] = asked, await self._list_all(owner)
                except SpacesError:
                    # It is not tried again for each Space, and nothing is left out.
                    self._owners[owner] = -math.inf, {}
        return self._owners[owner][1].get(repo_id)

    async def _list_all(self, owner: str) -> dict[str, SpaceInfo]:
        spaces: dict[str, SpaceInfo] = {}
        listing = self._session.pages(listing_call(owner, *LISTED_FIELDS))
        async with aclosing(listing) as pages:
            async for page in pages:
                spaces.update({info.id: info for info in page})
        return spaces

    async def _read(
        self, repo_id: str, evidence: Evidence[Any, Any], sent: Sent, least_age: float
    ) -> tuple[Any, float]:
        """Read the state; return it and the age of the write then, at least."""
        if evidence.listed is not None:
            async with self._reading:
                listed = self._found(repo_id, sent, least_age)
                expected = self._expected.get(owner_of(repo_id), ())
                if listed is None and len(expected) >= WORTH_A_LISTING:
                    await self._list_expected(owner_of(repo_id))
                    listed = self._found(repo_id, sent, least_age)
            self._forget(repo_id)
            self._listed.pop(repo_id, None)
            state = None if listed is None else evidence.listed(listed.info)
            if listed is not None and state is not None:
                return state, self._age_at(listed, sent)
        self._forget(repo_id)
        age = sent.age(self._clock)
        return await self._session.send(evidence.read(repo_id)), age

    def _found(self, repo_id: str, sent: Sent, least_age: float) -> Listed | None:
        """Return what a listing told, if the write was old enough then."""
        listed = self._listed.get(repo_id)
        if listed is None:
            return None
        old_enough = self._age_at(listed, sent) >= least_age - TIMER_SLACK_SECONDS
        return listed if old_enough else None

    def _age_at(self, listed: Listed, sent: Sent) -> float:
        """Return how old a write was when a listing was asked for."""
        return sent.age(self._clock) - (self._clock.monotonic() - listed.asked)

    def _forget(self, repo_id: str) -> None:
        self._expected.get(owner_of(repo_id), {}).pop(repo_id, None)

    async def _list_expected(self, owner: str) -> None:
        """List an owner's Spaces, but no more pages than Spaces are expected."""
        expected = self._expected[owner]
        wanted = set(expected)
        missing, page_count = set(wanted), 0
        asked = self._clock.monotonic()
        listing = self._session.pages(listing_call(owner, *LISTED_FIELDS))
        try:
            async with aclosing(listing) as pages:
                async for page in pages:
                    for info in page:
                        if info.id in wanted:
                            self._listed[info.id] = Listed(info, asked)
                            missing.discard(info.id)
                    page_count += 1
                    if not missing or page_count >= len(wanted):
                        break
        except SpacesError as error:
            if is_trouble(error) or isinstance(error, RateLimitError):
                raise
        # A Space that was not listed is read alone. One that was read too early may be
        # in the next listing.
        for repo_id in wanted:
            tells = expected.get(repo_id, -math.inf)
            if repo_id in missing or asked >= tells - TIMER_SLACK_SECONDS:
                self._forget(repo_id)


def owner_of(repo_id: str) -> str:
    """Return the user or org in an id."""
    return repo_id.partition("/")[0]
