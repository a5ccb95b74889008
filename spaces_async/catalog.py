"""Which Spaces there are, and what they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from spaces_async import _requests, _validate
from spaces_async._calls import Action, Call
from spaces_async._converter import decode_info, decode_infos
from spaces_async._requests import space_call
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async._session import HubSession
    from spaces_async.models import SpaceInfo

__all__ = ["Catalog"]

LIST_SPACES: Final = Action("list_spaces", "GET")
GET_INFO: Final = Action("get_info", "GET")

_PAGE: Final = 500
"""Page size: what the Hub's own clients ask for; no maximum is documented."""

_SORTS: Final = {
    "created_at": "createdAt",
    "last_modified": "lastModified",
    "likes": "likes",
    "trending_score": "trendingScore",
    "createdAt": "createdAt",
    "lastModified": "lastModified",
    "trendingScore": "trendingScore",
}
_EXPANDS: Final = (
    "author",
    "cardData",
    "createdAt",
    "datasets",
    "disabled",
    "lastModified",
    "likes",
    "models",
    "private",
    "region",
    "resourceGroup",
    "runtime",
    "sdk",
    "sha",
    "siblings",
    "subdomain",
    "tags",
    "trendingScore",
    "usedStorage",
)

Words = str | Iterable[str] | None


class Catalog:
    """Listing and information. Reached as `client.catalog`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    def list_spaces(
        self,
        *,
        author: str | None = None,
        search: str | None = None,
        filter: Words = None,  # noqa: A002  (the Hub's own word)
        sort: str | None = None,
        limit: int | None = None,
        expand: Words = None,
        full: bool = False,
        models: Words = None,
        datasets: Words = None,
        linked: bool = False,
    ) -> AsyncIterator[SpaceInfo]:
        """List Spaces: an async iterator over all pages.

        Endpoint: `GET /api/spaces`, one call for each 500. Safe to repeat. Leaving the
        loop early leaves nothing behind: no connection is held between pages.

        The cheapest look at a whole org is `author="acme", expand=["runtime"]`.

        Args:
            author: User or org. With a token, its private Spaces are listed too.
            search: Part of the id.
            filter: Tags that all must be there, such as "docker" or "region:us".
            sort: "created_at", "last_modified", "likes" or "trending_score", always
                descending; None is the Hub's order (trending).
            limit: How many at most; None is all.
            expand: Fields to return, such as "runtime" and "sdk"; only these come.
                None returns the Hub's short form.
            full: Return all fields; not together with `expand`.
            models: Models that the Spaces use.
            datasets: Datasets that they use.
            linked: Return the models and datasets of each.

        Returns:
            An async iterator of `SpaceInfo`.

        Raises:
            ConfigurationError: An argument cannot work; raised at once.
            BadRequestError: The Hub refuses an argument; raised while iterating.
        """
        if expand is not None and full:
            raise ConfigurationError("expand and full exclude each other")
        if limit is not None:
            _validate.whole(limit, "limit")
        query: list[tuple[str, str]] = []
        if author is not None:
            query.append(("author", _validate.name(author, "author")))
        if search is not None:
            query.append(("search", _validate.text(search, "search")))
        query += [("filter", tag) for tag in _words(filter, "filter")]
        if sort is not None:
            query.append(("sort", _requests.one_of(sort, _SORTS, "sort")))
        query.append(("limit", str(_PAGE if limit is None else min(limit, _PAGE))))
        query += _expand(expand)
        if _validate.flag(full, "full"):
            query.append(("full", "true"))
        query += [("models", model) for model in _words(models, "models")]
        query += [("datasets", data) for data in _words(datasets, "datasets")]
        if _validate.flag(linked, "linked"):
            query.append(("linked", "true"))
        call = Call(
            action=LIST_SPACES,
            segments=("spaces",),
            query=tuple(query),
            decode=decode_infos,
        )
        return self._iterate(call, limit)

    async def _iterate(
        self, call: Call[list[SpaceInfo]], limit: int | None
    ) -> AsyncGenerator[SpaceInfo, None]:
        left = limit
        async with aclosing(self._session.pages(call)) as pages:
            async for page in pages:
                for info in page:
                    yield info
                    if left is not None:
                        left -= 1
                        if left == 0:
                            return

    async def get_info(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        expand: Words = None,
        files_metadata: bool = False,
    ) -> SpaceInfo:
        """Return what the Hub tells about a Space.

        Endpoint: `GET /api/spaces/{repo_id}[/revision/{revision}]`. Safe to repeat.
        Cancelling it leaves nothing behind.

        Args:
            repo_id: "owner/name".
            revision: Branch, tag or commit; None is the main branch.
            expand: Fields to return; only these come. None returns all.
            files_metadata: Add size and hash to each file in `raw["siblings"]`; not
                together with `expand`.

        Returns:
            The info; keys that this package does not know are in `.raw`.

        Raises:
            SpaceNotFoundError: It does not exist, or the token may not see it.
            NotFoundError: It has no such revision.
            AuthenticationError: The token is wrong, or there is none and the Space is
                private or missing.
        """
        if expand is not None and files_metadata:
            raise ConfigurationError("expand and files_metadata exclude each other")
        path: tuple[str, ...] = ()
        if revision is not None:
            path = ("revision", _validate.revision(revision))
        query = _expand(expand)
        if _validate.flag(files_metadata, "files_metadata"):
            query.append(("blobs", "true"))
        return await self._session.send(
            space_call(GET_INFO, repo_id, *path, decode=decode_info, query=query)
        )


def _words(value: Words, what: str) -> list[str]:
    if value is None:
        return []
    words = [value] if isinstance(value, str) else _validate.items(value, what)
    return [_validate.text(word, what) for word in words]


def _expand(value: Words) -> list[tuple[str, str]]:
    """Take the Hub's camelCase words, and ours."""
    spelled = {
        "".join(c if c.islower() else f"_{c.lower()}" for c in e): e for e in _EXPANDS
    }
    # A word that is not known goes through: the Hub may have learned it since.
    return [("expand", spelled.get(word, word)) for word in _words(value, "expand")]
