"""Listing, searching and describing Spaces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async._core.read_ahead import ReadAhead
from spaces_async._hints import Resource
from spaces_async._operations import requests
from spaces_async._operations.requests import space_call
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import (
    DecodeError,
    decode_info,
    decode_infos,
    decode_object,
    list_decoder,
    structure_list,
)
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceInfo
from spaces_async.records import (
    Account,
    OrganizationMember,
    SpaceSearchResult,
    SpaceTemplate,
)

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

__all__ = ["Catalog"]

LIST_SPACES: Final = Action("list_spaces", "GET")
GET_BY_SUBDOMAIN: Final = Action("get_info_by_subdomain", "GET")
SEARCH: Final = Action("search_spaces", "GET")
TEMPLATES: Final = Action("list_templates", "GET")
TRENDING: Final = Action("trending", "GET")
MEMBERS: Final = Action("list_organization_members", "GET")

_MAX_TRENDING: Final = 20

_PAGE_SIZE: Final = 500
"""The page size that the Hub's own clients use; no maximum is documented."""

_SORT_KEYS: Final = {
    "created_at": "createdAt",
    "last_modified": "lastModified",
    "likes": "likes",
    "trending_score": "trendingScore",
    "createdAt": "createdAt",
    "lastModified": "lastModified",
    "trendingScore": "trendingScore",
}
_EXPANDABLE_FIELDS: Final = (
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


class Catalog(Resource):
    """Lists, searches and describes Spaces. Available as `client.catalog`."""

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
        page_size: int | None = _PAGE_SIZE,
    ) -> AsyncIterator[SpaceInfo]:
        """List Spaces as an async iterator over all pages.

        Endpoint: `GET /api/spaces`, one call for every 500 Spaces. Safe to repeat.
        When the second Space of a page is taken, the next page is read ahead, one page
        at most and none beyond `limit`; an error of it is raised when it is its turn.
        Leaving the loop early leaves nothing behind: what is read ahead is cancelled. An
        iterator that is kept and not used any more holds no connection: the page that
        is being read is read to its end, within the usual time limits.

        The cheapest way to read a whole org is `author="acme", expand=["runtime"]`.

        Args:
            author: User or org. With a token, its private Spaces are listed too.
            search: Part of the id.
            filter: Tags that must all be present, such as "docker" or "region:us".
            sort: "created_at", "last_modified", "likes" or "trending_score", always
                descending; None uses the Hub's order (trending).
            limit: Maximum number of Spaces; None lists all.
            expand: Fields to return, such as "runtime" and "sdk"; no others are sent.
                None returns the Hub's short form.
            full: Return all fields; cannot be combined with `expand`.
            models: Models that the Spaces use.
            datasets: Datasets that the Spaces use.
            linked: Return the models and datasets of each Space.
            page_size: Number of Spaces per call; None uses the Hub's default.

        Returns:
            An async iterator of `SpaceInfo`.

        Raises:
            ConfigurationError: An argument is invalid; raised immediately.
            BadRequestError: The Hub rejects an argument; raised while iterating.
        """
        if expand is not None and full:
            raise ConfigurationError("pass either expand or full, not both")
        if limit is not None:
            _validate.whole(limit, "limit")
        query: list[tuple[str, str]] = []
        if author is not None:
            query.append(("author", _validate.name(author, "author")))
        if search is not None:
            query.append(("search", _validate.text(search, "search")))
        query += [("filter", tag) for tag in _words(filter, "filter")]
        if sort is not None:
            query.append(("sort", requests.one_of(sort, _SORT_KEYS, "sort")))
        if page_size is not None:
            _validate.whole(page_size, "page_size")
        sizes = [size for size in (limit, page_size) if size is not None]
        if sizes:
            query.append(("limit", str(min(sizes))))
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
        async with ReadAhead(self._session.pages(call)) as pages:
            while (page := await pages.next()) is not None:
                if left is not None:
                    page = page[:left]
                    left -= len(page)
                for number, info in enumerate(page):
                    # Who takes the second Space will probably want the next page.
                    if number == 1 and left != 0:
                        pages.begin()
                    yield info
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
        """Return what the Hub knows about a Space.

        Endpoint: `GET /api/spaces/{repo_id}[/revision/{revision}]`. Safe to repeat.
        Cancelling it leaves nothing behind.

        Args:
            repo_id: "owner/name".
            revision: Branch, tag or commit; None is the main branch.
            expand: Fields to return; no others are sent. None returns all.
            files_metadata: Add size and hash to each file in `raw["siblings"]`; cannot
                be combined with `expand`.

        Returns:
            The info; keys that this package does not know are in `.raw`.

        Raises:
            SpaceNotFoundError: The Space does not exist, or the token may not see it.
            NotFoundError: The Space has no such revision.
            AuthenticationError: The token is invalid, or there is no token and the
                Space is private or does not exist.
        """
        if expand is not None and files_metadata:
            raise ConfigurationError("pass either expand or files_metadata, not both")
        path: tuple[str, ...] = ()
        if revision is not None:
            path = ("revision", _validate.revision(revision))
        query = _expand(expand)
        if _validate.flag(files_metadata, "files_metadata"):
            query.append(("blobs", "true"))
        return await self._session.send(
            space_call(
                requests.GET_INFO, repo_id, *path, decode=decode_info, query=query
            )
        )

    async def get_info_by_subdomain(self, subdomain: str) -> SpaceInfo:
        """Return the Space with a given subdomain of hf.space.

        Endpoint: `GET /api/spaces/by-subdomain/{subdomain}`. Safe to repeat.
        Cancelling it leaves nothing behind.

        Args:
            subdomain: For example "acme-demo"; "acme-demo.hf.space" works too.

        Raises:
            NotFoundError: There is no such Space, or the token may not see it.
        """
        bare = _validate.text(subdomain, "subdomain").removesuffix(".hf.space")
        bare = bare.removesuffix(".static")
        return await self._session.send(
            Call(
                action=GET_BY_SUBDOMAIN,
                segments=("spaces", "by-subdomain", _validate.name(bare, "subdomain")),
                decode=decode_info,
            )
        )

    async def search_spaces(
        self,
        query: str,
        *,
        filter: Words = None,  # noqa: A002  (the Hub's own word)
        sdk: Words = None,
        category: str | None = None,
        include_non_running: bool = False,
    ) -> list[SpaceSearchResult]:
        """Search Spaces by what they do; queries of several words match by meaning.

        Endpoint: `GET /api/spaces/semantic-search`. Safe to repeat. Cancelling it
        leaves nothing behind. There is only one page.

        Args:
            query: For example "remove the background of a photo".
            filter: Tags that must all be present.
            sdk: One or more SDKs, such as "gradio"; any of them matches.
            category: One of the Hub's categories, such as "Image Generation".
            include_non_running: Also find Spaces that are not running.

        Returns:
            The results, best match first.
        """
        pairs = [("q", _validate.text(query, "query"))]
        pairs += [("filter", tag) for tag in _words(filter, "filter")]
        pairs += [("sdk", kind) for kind in _words(sdk, "sdk")]
        if category is not None:
            pairs.append(("category", _validate.text(category, "category")))
        if _validate.flag(include_non_running, "include_non_running"):
            pairs.append(("includeNonRunning", "true"))
        return await self._session.send(
            Call(
                action=SEARCH,
                segments=("spaces", "semantic-search"),
                query=tuple(pairs),
                decode=list_decoder(SpaceSearchResult),
            )
        )

    async def list_templates(self) -> list[SpaceTemplate]:
        """Return the templates for new Spaces.

        Endpoint: `GET /api/spaces/templates`. Safe to repeat. Cancelling it leaves
        nothing behind.
        """
        return await self._session.send(
            Call(
                action=TEMPLATES,
                segments=("spaces", "templates"),
                decode=list_decoder(SpaceTemplate, key="templates"),
            )
        )

    async def trending(self, *, limit: int = 10) -> list[SpaceInfo]:
        """Return the Spaces that are trending now.

        Endpoint: `GET /api/trending?type=space`. Safe to repeat. Cancelling it leaves
        nothing behind.

        Args:
            limit: Number of Spaces, at most 20.
        """
        _validate.whole(limit, "limit", most=_MAX_TRENDING)
        return await self._session.send(
            Call(
                action=TRENDING,
                segments=("trending",),
                query=(("type", "space"), ("limit", str(limit))),
                decode=_decode_trending,
            )
        )

    async def whoami(self) -> Account:
        """Return the account that the token belongs to.

        Endpoint: `GET /api/whoami-v2`. Safe to repeat. Sent once for each token and
        then cached, because the Hub limits it strictly. Cancelling it leaves nothing
        behind.

        Raises:
            AuthenticationError: The token is missing or invalid.
        """
        return await self._session.send(requests.whoami_call())

    async def list_organization_members(
        self, organization: str, *, search: str | None = None
    ) -> list[OrganizationMember]:
        """Return the members of an org.

        Endpoint: `GET /api/organizations/{organization}/members`, one call for every
        500 members. Safe to repeat. Cancelling it leaves nothing behind.

        Args:
            organization: The org.
            search: Part of a name.

        Raises:
            NotFoundError: There is no such org, or the token may not see it.
        """
        query = [("limit", str(_PAGE_SIZE))]
        if search is not None:
            query.insert(0, ("search", _validate.text(search, "search")))
        call = Call(
            action=MEMBERS,
            segments=(
                "organizations",
                _validate.name(organization, "organization"),
                "members",
            ),
            query=tuple(query),
            decode=list_decoder(OrganizationMember),
        )
        members: list[OrganizationMember] = []
        async with aclosing(self._session.pages(call)) as pages:
            async for page in pages:
                members += page
        return members


def _decode_trending(body: bytes) -> list[SpaceInfo]:
    rows = decode_object(body).get("recentlyTrending")
    if not isinstance(rows, list):
        raise DecodeError("the response does not have the documented shape")
    data = [row.get("repoData") for row in rows if isinstance(row, dict)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return structure_list(data, SpaceInfo)


def _words(value: Words, what: str) -> list[str]:
    if value is None:
        return []
    words = [value] if isinstance(value, str) else _validate.items(value, what)
    return [_validate.text(word, what) for word in words]


def _expand(value: Words) -> list[tuple[str, str]]:
    """Accept the Hub's camelCase field names, and ours in snake_case."""
    hub_names = {
        "".join(c if c.islower() else f"_{c.lower()}" for c in field): field
        for field in _EXPANDABLE_FIELDS
    }
    # Unknown names are passed on: the Hub may have added a field since.
    return [("expand", hub_names.get(name, name)) for name in _words(value, "expand")]
