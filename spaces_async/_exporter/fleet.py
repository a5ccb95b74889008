"""Reads a fleet: one listing of each owner for a scrape, however many ask meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from spaces_async import _costs
from spaces_async._costs import Prices
from spaces_async._operations.requests import APP_KEY_SECONDS, app_key_call
from spaces_async.client import session_of
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceInfo, SpaceSdk
from spaces_async.records import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spaces_async._redacted import Redacted
    from spaces_async.client import SpacesClient

__all__ = ["Fleet", "OwnerReading", "Reading", "SpaceReading"]

logger = logging.getLogger(__name__)

_FIELDS: Final = ("runtime", "sdk", "sha", "private", "subdomain")
_PRICES_SECONDS: Final = 3600.0
"""How long a price list is good for."""
_KEY_SECONDS: Final = APP_KEY_SECONDS - 60.0
"""How long the key to an app is used: a request may take some of its time."""
_PROBES_IN_FLIGHT: Final = 32
_PART_OF_A_CALL: Final = 0.9
"""How much of the time of a reading one call may take."""
_WELL: Final = range(200, 300)


@frozen
class SpaceReading:
    """What is known of a Space.

    Attributes:
        info: What the listing says.
        probe_up: Whether its app answered with a 2xx status; None if it was not asked.
    """

    info: SpaceInfo
    probe_up: bool | None = None


@frozen
class OwnerReading:
    """What a listing of one owner brought.

    Attributes:
        owner: The user or org.
        seconds: How long it took.
        success: Whether it was read to its end.
        spaces: Its Spaces, each once; empty without success.
    """

    owner: str
    seconds: float
    success: bool = False
    spaces: tuple[SpaceReading, ...] = ()


@frozen(kw_only=True)
class Reading:
    """What is known of the fleet.

    Attributes:
        owners: By owner.
        prices: What an hour costs by flavor; None if it is not known.
        has_prices: Whether the list was read in the last hour, or no Space costs
            anything; None: it was not asked for.
        quota: What is left of the token's quota.
    """

    owners: tuple[OwnerReading, ...]
    prices: Prices | None = None
    has_prices: bool | None = None
    quota: RateLimit = field(factory=RateLimit)


@define
class _Progress:
    """What a reading has found so far: each scrape takes what is there at its end.

    Attributes:
        owners: What was listed, or could not be.
        prices: As in `Reading`.
        has_prices: As in `Reading`.
        answers: Whether an app answered well, by Space.
        scrapes: How many wait for it. It ends with the last one.
    """

    owners: dict[str, OwnerReading] = field(factory=dict[str, OwnerReading])
    prices: Prices | None = None
    has_prices: bool | None = None
    answers: dict[str, bool] = field(factory=dict[str, bool])
    scrapes: int = 0


class Fleet:
    """The Spaces of some owners. Scrapes that overlap share one reading."""

    def __init__(
        self,
        client: SpacesClient,
        owners: Iterable[str],
        *,
        probe: str | None = None,
        limit: float,
    ) -> None:
        """Prepare to read.

        Args:
            client: Reads.
            owners: Users and orgs.
            probe: A path that each running app is asked for; None asks none.
            limit: Seconds that a reading may take.
        """
        # A call that ends by itself says why it could not be made.
        timeouts = session_of(client).options.timeouts
        total = _PART_OF_A_CALL * limit
        if timeouts.total is None or timeouts.total > total:
            client = client.with_options(timeouts=evolve(timeouts, total=total))
        self._client = client
        self._owners = tuple(dict.fromkeys(owners))
        self._probe = probe
        self._limit = limit
        self._reading: asyncio.Task[None] | None = None
        self._progress = _Progress()
        self._tasks: set[asyncio.Task[None]] = set()
        self._prices: tuple[float, Prices] | None = None
        self._keys: dict[str, tuple[float, Redacted[str]]] = {}
        self._failing: set[str] = set()

    async def read(self, limit: float | None = None) -> Reading:
        """Read the fleet, or wait for the reading that goes on.

        Args:
            limit: Seconds to wait at most, if that is less than usual.

        Returns:
            The reading. What could not be read in time is without success.
        """
        limit = self._limit if limit is None else min(limit, self._limit)
        task = self._reading
        if task is None or task.done():
            task = self._reading = self._begin()
        progress = self._progress
        progress.scrapes += 1
        try:
            async with asyncio.timeout(limit):
                await asyncio.shield(task)
        except TimeoutError:
            self._note_late(progress, limit)
        finally:
            progress.scrapes -= 1
            if not progress.scrapes and not task.done():
                task.cancel()
                self._reading = None
        return self._found(progress, limit)

    def _begin(self) -> asyncio.Task[None]:
        self._progress = _Progress()
        task = asyncio.create_task(self._read(self._progress))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _note_late(self, progress: _Progress, limit: float) -> None:
        for owner in self._owners:
            if owner not in progress.owners:
                self._note_failure(owner, f"it took more than {limit:g} s")
        if self._probe is not None and progress.owners.keys() >= {*self._owners}:
            logger.info("%d apps were asked in %g s", len(progress.answers), limit)

    def _found(self, progress: _Progress, limit: float) -> Reading:
        listed = [
            progress.owners.get(o) or OwnerReading(o, limit) for o in self._owners
        ]
        owners = [
            evolve(
                owner,
                spaces=tuple(
                    SpaceReading(space.info, progress.answers.get(space.info.id))
                    for space in owner.spaces
                ),
            )
            for owner in listed
        ]
        return Reading(
            owners=tuple(owners),
            prices=progress.prices,
            has_prices=progress.has_prices,
            quota=self._client.rate_limit(),
        )

    async def aclose(self) -> None:
        """End the reading that goes on."""
        for task in list(self._tasks):
            task.cancel()
            await asyncio.wait((task,))

    async def _read(self, progress: _Progress) -> None:
        async with asyncio.TaskGroup() as group:
            for owner in self._owners:
                group.create_task(self._read_owner(owner, progress))
        owners = progress.owners.values()
        infos = [space.info for owner in owners for space in owner.spaces]
        if infos or all(owner.success for owner in owners):
            await self._read_prices(infos, progress)
        if self._probe is not None:
            await self._probe_apps(infos, self._probe, progress)

    async def _read_owner(self, owner: str, progress: _Progress) -> None:
        began, found = self._now(), dict[str, SpaceInfo]()
        listing = self._client.catalog.list_spaces(author=owner, expand=_FIELDS)
        try:
            # A Space that moves to another page meanwhile may come twice.
            async for info in listing:
                found[info.id] = info
        except SpacesError as error:
            self._note_failure(owner, str(error))
            progress.owners[owner] = OwnerReading(owner, self._now() - began)
            return
        self._failing.discard(owner)
        progress.owners[owner] = OwnerReading(
            owner,
            self._now() - began,
            success=True,
            spaces=tuple(map(SpaceReading, found.values())),
        )

    def _note_failure(self, owner: str, why: str) -> None:
        """Log the first failure in a row; the metrics tell of each."""
        if owner not in self._failing:
            self._failing.add(owner)
            logger.warning("the Spaces of %s cannot be listed: %s", owner, why)

    async def _read_prices(
        self, infos: Sequence[SpaceInfo], progress: _Progress
    ) -> None:
        """Read the price list, if it is time for that and a Space may cost something."""
        now, kept, free = self._now(), self._prices, _costs.prices(())
        if kept is not None and now < kept[0]:
            progress.prices, progress.has_prices = kept[1], True
            return
        if all(_costs.rate(info, free) == 0 for info in infos):
            progress.prices, progress.has_prices = free, True
            return
        # An old list tells more than none.
        progress.prices, progress.has_prices = None if kept is None else kept[1], False
        try:
            prices = _costs.prices(await self._client.hardware.list_flavors())
        except SpacesError:
            return
        self._prices = now + _PRICES_SECONDS, prices
        progress.prices, progress.has_prices = prices, True

    async def _probe_apps(
        self, infos: Sequence[SpaceInfo], path: str, progress: _Progress
    ) -> None:
        """Ask each running app. Those that are not asked in time stay unknown."""
        asked = [info for info in infos if _has_app(info)]
        self._drop_keys()
        left = iter(asked)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_PROBES_IN_FLIGHT, len(asked))):
                group.create_task(self._ask_apps(left, path, progress.answers))

    async def _ask_apps(
        self, infos: Iterator[SpaceInfo], path: str, answers: dict[str, bool]
    ) -> None:
        session = session_of(self._client)
        for info in infos:
            try:
                key = None if info.private is False else await self._key(info.id)
            except SpacesError:
                continue  # Without a key the answer would say nothing about the app.
            answered = await session.ask_app(info.subdomain, path, key=key)
            answers[info.id] = answered in _WELL

    async def _key(self, repo_id: str) -> Redacted[str]:
        """Return a key to an app that is not public, an old one while it is good."""
        now, kept = self._now(), self._keys.get(repo_id)
        if kept is not None:
            return kept[1]
        key = await session_of(self._client).send(app_key_call(repo_id))
        self._keys[repo_id] = now + _KEY_SECONDS, key
        return key

    def _drop_keys(self) -> None:
        now = self._now()
        self._keys = {i: kept for i, kept in self._keys.items() if now < kept[0]}

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _has_app(info: SpaceInfo) -> bool:
    """Return whether an app runs, and where is known. Static Spaces have none."""
    runs = info.stage is not None and info.stage.is_running
    return runs and info.subdomain is not None and info.sdk is not SpaceSdk.STATIC
