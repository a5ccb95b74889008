"""Reads a fleet: one listing of each owner for a scrape, however many ask meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

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
_WELL: Final = range(200, 300)


@frozen
class SpaceReading:
    """What is known of a Space.

    Attributes:
        info: What the listing says.
        probe_up: Whether its app answers well; None if it was not asked.
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
        prices: What an hour costs by flavor; None if the list could not be read.
        quota: What is left of the token's quota.
    """

    owners: tuple[OwnerReading, ...]
    prices: Prices | None = None
    quota: RateLimit = field(factory=RateLimit)


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
        self._client = client
        self._owners = tuple(dict.fromkeys(owners))
        self._probe = probe
        self._limit = limit
        self._reading: asyncio.Task[Reading] | None = None
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
        under_way = self._reading
        if under_way is None or under_way.done():
            self._reading = asyncio.create_task(self._read(limit))
            return await asyncio.shield(self._reading)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(under_way)
        except TimeoutError:
            return Reading(owners=tuple(OwnerReading(o, limit) for o in self._owners))

    async def aclose(self) -> None:
        """End the reading that goes on."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read(self, limit: float) -> Reading:
        ends = self._now() + limit
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._read_owner(owner, ends))
                for owner in self._owners
            ]
        owners = [task.result() for task in tasks]
        prices = await self._read_prices(owners, ends)
        if self._probe is not None:
            owners = await self._with_probes(owners, self._probe, ends)
        return Reading(
            owners=tuple(owners), prices=prices, quota=self._client.rate_limit()
        )

    async def _read_owner(self, owner: str, ends: float) -> OwnerReading:
        began, found = self._now(), dict[str, SpaceInfo]()
        listing = self._client.catalog.list_spaces(author=owner, expand=_FIELDS)
        try:
            async with asyncio.timeout_at(ends):
                # A Space that moves to another page meanwhile may come twice.
                async for info in listing:
                    found[info.id] = info
        except (SpacesError, TimeoutError) as error:
            self._note_failure(owner, error)
            return OwnerReading(owner, self._now() - began)
        self._failing.discard(owner)
        return OwnerReading(
            owner,
            self._now() - began,
            success=True,
            spaces=tuple(map(SpaceReading, found.values())),
        )

    def _note_failure(self, owner: str, error: Exception) -> None:
        """Log the first failure in a row; the metrics tell of each."""
        if owner in self._failing:
            return
        self._failing.add(owner)
        why = str(error) or f"it took more than {self._limit:g} s"
        logger.warning("the Spaces of %s cannot be listed: %s", owner, why)

    async def _read_prices(
        self, owners: Sequence[OwnerReading], ends: float
    ) -> Prices | None:
        """Return the price list, if a Space may cost something."""
        now, kept, free = self._now(), self._prices, _costs.prices(())
        if kept is not None and now < kept[0]:
            return kept[1]
        infos = [space.info for owner in owners for space in owner.spaces]
        if all(_costs.rate(info, free) == 0 for info in infos):
            return free
        try:
            async with asyncio.timeout_at(ends):
                prices = _costs.prices(await self._client.hardware.list_flavors())
        except (SpacesError, TimeoutError):
            # An old list tells more than none.
            return None if kept is None else kept[1]
        self._prices = now + _PRICES_SECONDS, prices
        return prices

    async def _with_probes(
        self, owners: Sequence[OwnerReading], path: str, ends: float
    ) -> list[OwnerReading]:
        """Ask each running app. Those that are not asked in time stay unknown."""
        infos = [space.info for owner in owners for space in owner.spaces]
        asked = [info for info in infos if _has_app(info)]
        self._drop_keys()
        answers: dict[str, bool] = {}
        left = iter(asked)
        try:
            async with asyncio.timeout_at(ends), asyncio.TaskGroup() as group:
                for _ in range(min(_PROBES_IN_FLIGHT, len(asked))):
                    group.create_task(self._ask_apps(left, path, answers))
        except TimeoutError:
            logger.info("%d of %d apps were asked", len(answers), len(asked))
        return [
            evolve(
                owner,
                spaces=tuple(
                    SpaceReading(space.info, answers.get(space.info.id))
                    for space in owner.spaces
                ),
            )
            for owner in owners
        ]

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
