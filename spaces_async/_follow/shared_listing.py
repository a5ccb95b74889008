"""Many waits, few calls: the waits for Spaces of one owner share a listing.

`GET /api/spaces?author=…&expand=runtime` returns the runtimes of 500 Spaces at once. If
an owner has more waits than its listing has pages, the first wait to need a runtime
reads the listing, and the others take their runtimes from it. The wait that holds the
lock may be cancelled at any time; the next one then reads the listing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final

from attrs import define, field

from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import decode_polled_infos
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spaces_async._core.session import HubSession

POLL_RUNTIMES: Final = Action("poll_runtimes", "GET")

_MAX_SEPARATE_WAITS: Final = 2
"""Up to this many waits, separate calls are as cheap as a listing."""


@define(eq=False)
class OwnerListing:
    """The listing that the waits for one owner's Spaces share, for one token.

    Attributes:
        waiting: Number of waits.
        pages: Number of pages of the last listing.
        read_at: When the last listing was requested; None if none was.
        runtimes: The runtimes from the last listing, by id.
        error: The error of the last listing, if it failed.
        lock: Held while the listing is read.
    """

    waiting: int = 0
    pages: int = 1
    read_at: float | None = None
    runtimes: dict[str, SpaceRuntime] = field(factory=dict[str, SpaceRuntime])
    error: SpacesError | None = None
    lock: asyncio.Lock = field(factory=asyncio.Lock)

    @property
    def is_cheaper(self) -> bool:
        """Whether a listing takes fewer calls than separate reads."""
        return self.waiting > max(_MAX_SEPARATE_WAITS, self.pages)

    async def get_runtime(
        self, session: HubSession, repo_id: str, *, last_read: float
    ) -> SpaceRuntime | None:
        """Return the runtime of a Space from the listing, read again if it is old.

        Args:
            session: The session to read it with.
            repo_id: The Space.
            last_read: When this wait last read: it can use a listing that was
                requested later.

        Returns:
            The runtime; None if the listing does not have it.

        Raises:
            SpacesError: The listing failed.
        """
        async with self.lock:
            if self.read_at is None or self.read_at <= last_read:
                self.read_at = session.clock.monotonic()
                await self._read(session, repo_id.partition("/")[0])
        if self.error is not None:
            raise self.error
        return self.runtimes.get(repo_id)

    async def _read(self, session: HubSession, owner: str) -> None:
        query = (("author", owner), ("limit", "500"), ("expand", "runtime"))
        call = Call(
            action=POLL_RUNTIMES,
            segments=("spaces",),
            query=query,
            decode=decode_polled_infos,
        )
        runtimes: dict[str, SpaceRuntime] = {}
        page_count = 0
        self.error = None
        try:
            async with aclosing(session.pages(call)) as pages:
                async for page in pages:
                    page_count += 1
                    for info in page:
                        if info.runtime is not None:
                            runtimes[info.id] = info.runtime
        except SpacesError as error:
            self.error = error
            return
        except asyncio.CancelledError:
            self.read_at = None  # the next wait reads it
            raise
        self.runtimes, self.pages = runtimes, max(1, page_count)


@contextmanager  # pyright: ignore[reportDeprecated]
def join_listing(
    listings: dict[str, OwnerListing], repo_id: str
) -> Iterator[OwnerListing]:
    """Return the listing for a Space's owner, and count the wait while it lasts."""
    owner = repo_id.partition("/")[0]
    listing = listings.get(owner)
    if listing is None:
        listing = listings[owner] = OwnerListing()
    listing.waiting += 1
    try:
        yield listing
    finally:
        listing.waiting -= 1
        if not listing.waiting and listings.get(owner) is listing:
            del listings[owner]
