"""Many waits, few calls: those who wait for Spaces of one owner share a listing.

`GET /api/spaces?author=…&expand=runtime` tells the runtimes of 500 Spaces at once. As
soon as more Spaces of an owner are waited for than its listing has pages, whoever looks
first reads the listing, and everybody else takes what they need from it. The holder of
the lock may be cancelled at any time: the next one reads then.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final

from attrs import define, field

from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import decode_infos
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spaces_async._core.session import HubSession

POLL: Final = Action("poll_runtimes", "GET")

_FEW: Final = 2
"""So many waits do as well with calls of their own."""


@define(eq=False)
class OwnerPoll:
    """The waits for Spaces of one owner, by one token.

    Attributes:
        waiting: How many there are.
        pages: Pages of the listing when last read.
        read_at: When the last listing was asked for; None if none was.
        runtimes: What it told, by id.
        trouble: What it ended in, if it failed.
        reading: Held by whoever reads it.
    """

    waiting: int = 0
    pages: int = 1
    read_at: float | None = None
    runtimes: dict[str, SpaceRuntime] = field(factory=dict[str, SpaceRuntime])
    trouble: SpacesError | None = None
    reading: asyncio.Lock = field(factory=asyncio.Lock)

    @property
    def worth_it(self) -> bool:
        """Whether a listing costs less than calls of one's own."""
        return self.waiting > max(_FEW, self.pages)

    async def look(
        self, session: HubSession, repo_id: str, *, last_look: float
    ) -> SpaceRuntime | None:
        """Return what the listing tells of a Space.

        Args:
            session: Who asks.
            repo_id: The Space.
            last_look: When this wait looked last: a listing that was asked for later
                is new to it.

        Returns:
            None if the listing does not have it.

        Raises:
            SpacesError: The listing failed.
        """
        async with self.reading:
            if self.read_at is None or self.read_at <= last_look:
                self.read_at = session.clock.monotonic()
                await self._read(session, repo_id.partition("/")[0])
        if self.trouble is not None:
            raise self.trouble
        return self.runtimes.get(repo_id)

    async def _read(self, session: HubSession, owner: str) -> None:
        query = (("author", owner), ("limit", "500"), ("expand", "runtime"))
        call = Call(action=POLL, segments=("spaces",), query=query, decode=decode_infos)
        runtimes: dict[str, SpaceRuntime] = {}
        pages = 0
        self.trouble = None
        try:
            async with aclosing(session.pages(call)) as listing:
                async for page in listing:
                    pages += 1
                    for info in page:
                        if info.runtime is not None:
                            runtimes[info.id] = info.runtime
        except SpacesError as error:
            self.trouble = error
            return
        except asyncio.CancelledError:
            self.read_at = None  # the next one reads
            raise
        self.runtimes, self.pages = runtimes, max(1, pages)


@contextmanager  # pyright: ignore[reportDeprecated]
def watching(polls: dict[str, OwnerPoll], repo_id: str) -> Iterator[OwnerPoll]:
    """Count a wait among those for its owner while it lasts."""
    owner = repo_id.partition("/")[0]
    poll = polls.get(owner)
    if poll is None:
        poll = polls[owner] = OwnerPoll()
    poll.waiting += 1
    try:
        yield poll
    finally:
        poll.waiting -= 1
        if not poll.waiting and polls.get(owner) is poll:
            del polls[owner]
