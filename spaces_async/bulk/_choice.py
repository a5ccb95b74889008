"""The choice of a `Selection`: which of the listed Spaces fit all of its conditions."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from attrs import Factory, frozen

from spaces_async import _validate
from spaces_async._operations.requests import (
    flavors_call,
    listing_call,
    secrets_call,
    variables_call,
)
from spaces_async.bulk._conditions import Condition, conditions_of, judge, prices_of
from spaces_async.errors import (
    BadRequestError,
    ConfigurationError,
    HubResponseError,
    NotFoundError,
    PermissionDeniedError,
    SpacesError,
    UnseenOwnerError,
)
from spaces_async.models import SpaceHardware, SpaceInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async.bulk.selection import Selection
    from spaces_async.records import HardwareFlavor

__all__ = ["Choice", "Page", "require_known_flavors"]

logger = logging.getLogger("spaces_async.bulk")

_READ_CONCURRENCY: Final = 16
_READ_AT_ONCE: Final = 64
"""So many Spaces are read before those among them that fit are given on."""
_NAMED_SPACES: Final = 20

_MAX_FAILED_READS: Final = 3
"""How often the listing may start again because a Space cannot be read. If another Space
can be read then, this one is at fault, and not the Hub."""

_ABOUT_THE_SPACE: Final = (BadRequestError, PermissionDeniedError, NotFoundError)
"""What a Space answers whose secrets this token may not read, however often it asks."""


@frozen
class Page:
    """Some Spaces that fit.

    Attributes:
        asked: When their listing was asked for, by the monotonic clock.
        spaces: The Spaces as the listing showed them.
        left_out: Those for which a condition is not known, and why.
    """

    asked: float
    spaces: list[SpaceInfo]
    left_out: list[tuple[SpaceInfo, str]] = Factory(list[tuple[SpaceInfo, str]])


class Choice:
    """One use of a selection: lists, reads what the listing does not tell, and chooses.

    It may be listed again after a failure. What was read of a Space is not read again
    then, nor is the Space given on twice.
    A Space for which a condition is not known is left out and reported at the end.
    """

    def __init__(
        self,
        selection: Selection,
        session: HubSession,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Begin.

        Args:
            selection: The conditions.
            session: Lists and reads.
            tell: Gets one line about the Spaces that are left out because a condition
                cannot be told; None logs a warning.
        """
        self._selection = selection
        self._session = session
        self._tell = tell or _warn
        self._conditions: list[Condition] | None = None
        self._reads = bool(selection.having_secret or selection.having_variable)
        # Of the Spaces that were read: whether they have the keys.
        self._have: dict[str, bool] = {}
        self._given: set[str] = set()
        self._failed_reads: Counter[str] = Counter()
        self._readable = ""
        self._left_out: dict[str, str] = {}
        self._told: set[str] = set()
        self._most_listed = 0

    @property
    def progress(self) -> int:
        """How far it has come; to list again what was listed is no progress."""
        return self._most_listed + len(self._have)

    async def prepare(self) -> None:
        """Refuse what would select nothing, and read the prices if they are needed.

        Raises:
            ConfigurationError: A flavor is unknown, or the Hub has no list of prices.
        """
        if self._conditions is not None:
            return
        selection, prices = self._selection, dict[str, float]()
        flavors: list[HardwareFlavor] | None = None
        if selection.paid is not None:
            try:
                flavors = await self._session.send(flavors_call())
            except NotFoundError:
                raise ConfigurationError(
                    f"{self._session.endpoint} has no list of prices, so `paid` selects"
                    " nothing"
                ) from None
            prices = prices_of(flavors)
        if selection.hardware is not None and not selection.any_flavor:
            await require_known_flavors(self._session, selection.hardware, flavors)
        before = selection.modified_before
        if isinstance(before, timedelta):
            before = self._session.clock.utcnow() - before
        self._conditions = conditions_of(selection, before, prices)

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Yield the Spaces that fit, in the order of the listings.

        Raises:
            UnseenOwnerError: An owner shows no Space at all, whatever the conditions.
            SpacesError: A listing failed, or the read of a Space for another reason
                than that it may not be read.
        """
        await self.prepare()
        clock, listed = self._session.clock, 0
        try:
            for author in self._selection.author:
                seen, asked = False, clock.monotonic()
                call = listing_call(author, *self._fields())
                async with aclosing(self._session.pages(call)) as pages:
                    async for page in pages:
                        seen = seen or bool(page)
                        listed += len(page)
                        self._most_listed = max(self._most_listed, listed)
                        fitting = [info for info in page if self._fits(info)]
                        for part in self._parts(fitting):
                            yield Page(asked, await self._with_keys(part))
                        if left_out := self._left_out_of(page):
                            yield Page(asked, [], left_out)
                        asked = clock.monotonic()
                if not seen:
                    raise UnseenOwnerError(author)
        finally:
            self._tell_left_out()

    def _fields(self) -> list[str]:
        """Return the fields that the listing needs; fewer make it faster."""
        selection = self._selection
        fields = ["runtime", "sdk", "private"]
        if selection.tags is not None:
            fields.append("tags")
        if selection.modified_before is not None:
            fields.append("lastModified")
        if selection.resource_group is not None:
            fields.append("resourceGroup")
        return fields

    def _fits(self, info: SpaceInfo) -> bool:
        """Return whether a Space fits all that the listing tells."""
        verdict = judge(info, self._conditions or ())
        if isinstance(verdict, str):
            self._left_out[info.id] = verdict
        return verdict is True

    def _left_out_of(self, page: list[SpaceInfo]) -> list[tuple[SpaceInfo, str]]:
        left_out = self._left_out
        return [(info, left_out[info.id]) for info in page if info.id in left_out]

    def _parts(self, infos: list[SpaceInfo]) -> Iterable[list[SpaceInfo]]:
        if not self._reads:
            return [infos]
        starts = range(0, len(infos), _READ_AT_ONCE)
        return [infos[start : start + _READ_AT_ONCE] for start in starts]

    async def _with_keys(self, infos: list[SpaceInfo]) -> list[SpaceInfo]:
        """Return those that have a secret and a variable that are asked for.

        Raises:
            SpacesError: One could not be read, although it may be read.
        """
        if not self._reads:
            return infos
        while left := [info.id for info in infos if info.id not in self._have]:
            await self._judge_failures(await self._read(left))
        found = [i for i in infos if self._have[i.id] and i.id not in self._given]
        self._given.update(info.id for info in found)
        return found

    async def _read(self, repo_ids: list[str]) -> dict[str, SpacesError]:
        """Read Spaces until one fails; return what failed."""
        left = iter(repo_ids)
        failures: dict[str, SpacesError] = {}

        async def read() -> None:
            for repo_id in left:
                if failures:
                    return
                try:
                    self._have[repo_id] = await self._has_keys(repo_id)
                    self._readable = repo_id
                except _ABOUT_THE_SPACE as error:
                    self._give_up(repo_id, error)
                except SpacesError as error:
                    failures[repo_id] = error

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_READ_CONCURRENCY, len(repo_ids))):
                group.create_task(read())
        return failures

    async def _judge_failures(self, failures: dict[str, SpacesError]) -> None:
        """Leave out Spaces that fail again and again while others can be read.

        Raises:
            SpacesError: One has not failed often enough, or the Hub is at fault.
        """
        self._failed_reads.update(failures.keys())
        for repo_id, error in failures.items():
            if self._failed_reads[repo_id] < _MAX_FAILED_READS or not self._readable:
                raise error
        if failures:
            await self._has_keys(self._readable)
        for repo_id, error in failures.items():
            self._give_up(repo_id, error)

    def _give_up(self, repo_id: str, error: SpacesError) -> None:
        why = str(error)
        if isinstance(error, HubResponseError):
            why = f"{error.status} {error.message}"  # the same for many Spaces
        self._have[repo_id] = False
        self._left_out[repo_id] = f"secrets or variables: {why}"

    async def _has_keys(self, repo_id: str) -> bool:
        selection, send = self._selection, self._session.send
        if selection.having_secret is not None:
            secrets = await send(secrets_call(repo_id))
            if selection.having_secret.isdisjoint(secrets):
                return False
        if selection.having_variable is not None:
            variables = await send(variables_call(repo_id))
            return not selection.having_variable.isdisjoint(variables)
        return True

    def _tell_left_out(self) -> None:
        """Say once of each Space why it is left out."""
        by_reason: dict[str, list[str]] = {}
        for repo_id, reason in self._left_out.items():
            if repo_id not in self._told:
                self._told.add(repo_id)
                by_reason.setdefault(reason, []).append(repo_id)
        if by_reason:
            told = "; ".join(f"{what} ({_named(i)})" for what, i in by_reason.items())
            self._tell(f"left out, since this is not known of them: {told}")


async def require_known_flavors(
    session: HubSession,
    flavors: Iterable[str],
    listed: Iterable[HardwareFlavor] | None = None,
) -> None:
    """Refuse a flavor that neither this package nor the Hub knows: likely a slip.

    The Hub's list is read only if this package does not know a flavor. A mirror that
    has no such list refuses nothing.

    Args:
        session: Reads the list.
        flavors: The flavors.
        listed: The Hub's list if it was read; None reads it if need be.

    Raises:
        ConfigurationError: A flavor is unknown; it has a suggestion.
    """
    doubtful = [str(f) for f in flavors if not SpaceHardware(f).is_known]
    if not doubtful:
        return
    if listed is None:
        try:
            listed = await session.send(flavors_call())
        except NotFoundError:
            return
    known = list(dict.fromkeys([*SpaceHardware, *(f.name for f in listed)]))
    for word in sorted(set(doubtful).difference(known)):
        raise _validate.unknown_word("hardware flavor", word, known)


def _warn(text: str) -> None:
    logger.warning("%s", text)


def _named(repo_ids: Collection[str]) -> str:
    shown = ", ".join(list(repo_ids)[:_NAMED_SPACES])
    more = len(repo_ids) - _NAMED_SPACES
    return f"{shown} and {more} more" if more > 0 else shown
