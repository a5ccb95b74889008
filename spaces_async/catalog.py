"""Which Spaces there are, and what they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async._operations import requests
from spaces_async._operations.requests import space_call
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import (
    DecodeError,
    decode_info,
    decode_infos,
    decode_object,
    list_decoder,
    structure,
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

_MOST_TRENDING: Final = 20

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
        page_size: int | None = _PAGE,
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
            page_size: Spaces for each call; None leaves it to the Hub.

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
            query.append(("sort", requests.one_of(sort, _SORTS, "sort")))
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
            space_call(
                requests.GET_INFO, repo_id, *path, decode=decode_info, query=query
            )
        )

    async def get_info_by_subdomain(self, subdomain: str) -> SpaceInfo:
        """Return the Space behind a name under hf.space.

        Endpoint: `GET /api/spaces/by-subdomain/{subdomain}`. Safe to repeat.
        Cancelling it leaves nothing behind.

        Args:
            subdomain: Such as "acme-demo"; "acme-demo.hf.space" is taken, too.

        Raises:
            NotFoundError: There is none, or the token may not see it.
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
        """Search Spaces by what they do: by meaning, for queries of several words.

        Endpoint: `GET /api/spaces/semantic-search`. Safe to repeat. Cancelling it
        leaves nothing behind. There is one page only.

        Args:
            query: Such as "remove the background of a photo".
            filter: Tags that all must be there.
            sdk: Any of these, such as "gradio".
            category: A category of the Hub's, such as "Image Generation".
            include_non_running: Find those that do not run, too.

        Returns:
            The best first.
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
        """Return what a new Space can be started from.

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
        """Return the Spaces that trend now.

        Endpoint: `GET /api/trending?type=space`. Safe to repeat. Cancelling it leaves
        nothing behind.

        Args:
            limit: How many, at most 20.
        """
        _validate.whole(limit, "limit", most=_MOST_TRENDING)
        return await self._session.send(
            Call(
                action=TRENDING,
                segments=("trending",),
                query=(("type", "space"), ("limit", str(limit))),
                decode=_decode_trending,
            )
        )

    async def whoami(self) -> Account:
        """Return who the token belongs to.

        Endpoint: `GET /api/whoami-v2`. Safe to repeat; asked once for each token and
        remembered, because the Hub limits it strictly. Cancelling it leaves nothing
        behind.

        Raises:
            AuthenticationError: There is no token, or a wrong one.
        """
        return await self._session.send(requests.whoami_call())

    async def list_organization_members(
        self, organization: str, *, search: str | None = None
    ) -> list[OrganizationMember]:
        """Return the members of an org.

        Endpoint: `GET /api/organizations/{organization}/members`, one call for each
        500. Safe to repeat. Cancelling it leaves nothing behind.

        Args:
            organization: The org.
            search: Part of a name.

        Raises:
            NotFoundError: There is no such org, or the token may not see it.
        """
        query = [("limit", str(_PAGE))]
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
        raise DecodeError("the answer has not the documented shape")
    data = [row.get("repoData") for row in rows if isinstance(row, dict)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return [structure(item, SpaceInfo) for item in data]  # pyright: ignore[reportUnknownVariableType]


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
