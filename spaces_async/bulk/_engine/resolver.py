"""Reads the state of Spaces whose calls are in doubt: many at once where it can."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from spaces_async._wire.calls import Done, Verdict
from spaces_async.bulk._engine.breaker import is_trouble
from spaces_async.errors import RateLimitError, SpacesError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spaces_async._clock import Clock
    from spaces_async.bulk._engine.doubt import InDoubt, Recovery
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo

T = TypeVar("T")

_MANY: Final = 4
"""So many of one owner are worth a listing."""
_PAGE: Final = 500
_ALIKE: Final = 0.001
"""Timers may go off a little early."""


class Resolver(Generic[T]):
    """Finds out what became of calls in doubt.

    The first to ask reads for all that are in doubt then: one listing for each 500
    Spaces of an owner, where that is fewer calls than one for each in doubt.
    """

    def __init__(self, client: SpacesClient, recovery: Recovery[T]) -> None:
        """Make a resolver.

        Args:
            client: Reads; one attempt for each call.
            recovery: How to judge what is read.
        """
        self._client = client
        self._clock: Clock = client.clock
        self._recovery = recovery
        # Of each owner those in doubt, and from when on RUNNING tells something of them.
        self._expected: dict[str, dict[str, float]] = {}
        # What was read of each, and when it was asked for.
        self._listed: dict[str, tuple[SpaceRuntime, float]] = {}
        self._listing = asyncio.Lock()

    def expect(self, repo_id: str, doubt: InDoubt) -> None:
        """Say that a call is in doubt, so that one listing may tell of it too."""
        self._listed.pop(repo_id, None)
        tells = self._clock.monotonic() - doubt.age(self._clock) + self._recovery.settle
        self._expected.setdefault(_owner(repo_id), {})[repo_id] = tells

    async def verdict(self, repo_id: str, doubt: InDoubt) -> Done[T] | Verdict:
        """Find out what became of a call.

        Raises:
            SpacesError: The state could not be read.
        """
        recovery = self._recovery
        if recovery.judge is None:
            self._forget(repo_id)
            if recovery.look is None:
                return Verdict.UNKNOWN
            return await recovery.look(self._client, repo_id, doubt)
        runtime, age = await self._runtime(repo_id, doubt)
        if runtime.stage is SpaceStage.RUNNING and age < recovery.settle:
            self.expect(repo_id, doubt)
            await self._clock.sleep(max(0.0, recovery.settle - doubt.age(self._clock)))
            runtime, age = await self._runtime(repo_id, doubt, least=recovery.settle)
        return recovery.judge(runtime, age, doubt.crashed)

    async def value(self, repo_id: str, doubt: InDoubt) -> Done[T] | None:
        """Return the result of a call that took effect but whose answer is broken.

        Raises:
            SpacesError: The state could not be read.
        """
        if self._recovery.judge is not None:
            runtime = await self._client.lifecycle.get_runtime(repo_id)
            return Done(cast("T", runtime))
        if self._recovery.look is None:
            return None
        seen = await self._recovery.look(self._client, repo_id, doubt)
        return seen if isinstance(seen, Done) else None

    async def _runtime(
        self, repo_id: str, doubt: InDoubt, *, least: float = 0.0
    ) -> tuple[SpaceRuntime, float]:
        """Read the state, and say how old the call was when it was read: at least so."""
        owner = _owner(repo_id)
        async with self._listing:
            found = self._known(repo_id, doubt, least)
            if found is None and len(self._expected.get(owner, ())) >= _MANY:
                await self._list(owner)
                found = self._known(repo_id, doubt, least)
        self._forget(repo_id)
        self._listed.pop(repo_id, None)
        if found is not None:
            return found
        age = doubt.age(self._clock)
        return await self._client.lifecycle.get_runtime(repo_id), age

    def _known(
        self, repo_id: str, doubt: InDoubt, least: float
    ) -> tuple[SpaceRuntime, float] | None:
        """Return what a listing has told, if the call was old enough then."""
        if repo_id not in self._listed:
            return None
        runtime, asked = self._listed[repo_id]
        age = doubt.age(self._clock) - (self._clock.monotonic() - asked)
        return (runtime, age) if age >= least - _ALIKE else None

    def _forget(self, repo_id: str) -> None:
        self._expected.get(_owner(repo_id), {}).pop(repo_id, None)

    async def _list(self, owner: str) -> None:
        """List an owner's Spaces, but no more pages than there are Spaces in doubt."""
        expected = self._expected[owner]
        wanted = set(expected)
        missing, most = set(wanted), len(wanted) * _PAGE
        asked = self._clock.monotonic()
        listing = cast(
            "AsyncGenerator[SpaceInfo, None]",
            self._client.catalog.list_spaces(author=owner, expand=["runtime"]),
        )
        seen = 0
        try:
            async with aclosing(listing) as infos:
                async for info in infos:
                    if info.id in wanted and info.runtime is not None:
                        self._listed[info.id] = info.runtime, asked
                        missing.discard(info.id)
                    seen += 1
                    if not missing or seen >= most:
                        break
        except SpacesError as error:
            if is_trouble(error) or isinstance(error, RateLimitError):
                raise
        # Who was not listed is read alone; of whom it could tell nothing yet, the next
        # listing may.
        for repo_id in wanted:
            if repo_id in missing or asked >= expected.get(repo_id, -math.inf) - _ALIKE:
                self._forget(repo_id)


def _owner(repo_id: str) -> str:
    return repo_id.partition("/")[0]
