"""`client.catalog`: listing and information."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from spaces_async import (
    Account,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    Domain,
    HubServerError,
    Membership,
    NotFoundError,
    OrganizationMember,
    Replicas,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpacesClient,
    SpaceSdk,
    SpaceSearchResult,
    SpaceStage,
    SpaceTemplate,
    UnexpectedResponseError,
)
from spaces_async.catalog import Catalog
from tests.support.hub_mock import (
    BAD_REPO_IDS,
    DEMO,
    HUB,
    REFUSED_ANYWHERE,
    REFUSED_FOR_SPACE,
    Case,
    HubMock,
    Pairs,
    Refusal,
    cases,
    check_call,
    check_headers,
    check_not_sent,
    check_refusal,
    one_per_method,
    public_methods,
    refused,
    said,
)

SPACES = "/api/spaces"
BY_SUBDOMAIN = f"{SPACES}/by-subdomain/acme-demo"
SEARCH = f"{SPACES}/semantic-search"
TEMPLATES = f"{SPACES}/templates"
TRENDING = "/api/trending"
WHOAMI = "/api/whoami-v2"
MEMBERS = "/api/organizations/acme/members"
# A live element of 2026 (hub-api.md 2.1).
LIVE = json.loads(
    """{"_id":"67e454cdd4f34388bcd19c38","id":"enzostvs/deepsite","author":"enzostvs",
    "disabled":false,"lastModified":"2026-02-06T12:47:43.000Z","likes":16610,
    "private":false,"sha":"d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9",
    "subdomain":"enzostvs-deepsite","sdk":"docker","runtime":{"stage":"RUNNING",
    "hardware":{"current":"cpu-xl","requested":"cpu-xl"},"gcTimeout":172800,
    "replicas":{"current":1,"requested":1},"devMode":false,"domains":[
    {"domain":"enzostvs-space-generator.hf.space","stage":"READY"},
    {"domain":"deepsite.hf.co","stage":"EXPIRED_CHALLENGE"}],
    "pySpacesVersion":"0.48.2"},"region":"us","tags":["docker","region:us"],
    "createdAt":"2025-03-26T19:26:05.000Z"}"""
)
LIVE_INFO = SpaceInfo(
    id="enzostvs/deepsite",
    author="enzostvs",
    sdk=SpaceSdk.DOCKER,
    private=False,
    likes=16610,
    tags=("docker", "region:us"),
    created_at=datetime(2025, 3, 26, 19, 26, 5, tzinfo=UTC),
    last_modified=datetime(2026, 2, 6, 12, 47, 43, tzinfo=UTC),
    subdomain="enzostvs-deepsite",
    runtime=SpaceRuntime(
        stage=SpaceStage.RUNNING,
        hardware=SpaceHardware.CPU_XL,
        requested_hardware=SpaceHardware.CPU_XL,
        sleep_time=172800,
        replicas=Replicas(1, 1),
        dev_mode=False,
        domains=(
            Domain("enzostvs-space-generator.hf.space", "READY"),
            Domain("deepsite.hf.co", "EXPIRED_CHALLENGE"),
        ),
    ),
    sha="d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9",
    disabled=False,
    region="us",
)
# Recorded in 2025: `GET …/revision/main?expand=xetEnabled`.
EXPANDED = {"_id": "67cae57522fde9195aaf95c5", "id": "user/tmp", "xetEnabled": False}
EXPANDED_INFO = SpaceInfo(id="user/tmp", author="user")
# All the keys of a full answer (hub-api.md 2.2), and some that listings add.
FULL = {
    **LIVE,
    "gated": "manual",
    "host": "https://enzostvs-deepsite.hf.space",
    "models": ["a/model", {"id": "b/model", "private": False}],
    "datasets": ["a/data"],
    "siblings": [{"rfilename": ".gitattributes"}, {"rfilename": "app.py", "size": 3}],
    "usedStorage": 4096,
    "trendingScore": 12,
    "cardData": {"title": "DeepSite", "colorFrom": "blue"},
    "resourceGroup": {"id": "0123456789abcdef01234567", "name": "g"},
    "ai_short_description": "Makes sites",
    "xetEnabled": True,
}
FULL_INFO = SpaceInfo(
    id=LIVE_INFO.id,
    author=LIVE_INFO.author,
    sdk=LIVE_INFO.sdk,
    private=False,
    likes=16610,
    tags=LIVE_INFO.tags,
    created_at=LIVE_INFO.created_at,
    last_modified=LIVE_INFO.last_modified,
    subdomain=LIVE_INFO.subdomain,
    host="https://enzostvs-deepsite.hf.space",
    runtime=LIVE_INFO.runtime,
    card_data={"title": "DeepSite", "colorFrom": "blue"},
    sha=LIVE_INFO.sha,
    disabled=False,
    gated="manual",
    region="us",
    models=("a/model", "b/model"),
    datasets=("a/data",),
    siblings=(".gitattributes", "app.py"),
    used_storage=4096,
    trending_score=12.0,
    title="DeepSite",
    short_description="Makes sites",
    resource_group={"id": "0123456789abcdef01234567", "name": "g"},
)


async def listed(client: SpacesClient, **arguments: Any) -> list[SpaceInfo]:
    return [info async for info in client.catalog.list_spaces(**arguments)]


def _list(name: str, query: Pairs, **arguments: Any) -> Case:
    return Case(
        id=f"list_spaces-{name}",
        name="list_spaces",
        invoke=lambda c: listed(c, **arguments),
        method="GET",
        path=SPACES,
        query=query,
        answer=[LIVE, EXPANDED],
        result=[LIVE_INFO, EXPANDED_INFO],
    )


def _get(name: str, path: str = "", query: Pairs = (), **arguments: Any) -> Case:
    return Case(
        id=f"get_info-{name}",
        name="get_info",
        invoke=lambda c: c.catalog.get_info("acme/demo", **arguments),
        method="GET",
        path=f"{DEMO}{path}",
        query=query,
        answer=FULL,
        result=FULL_INFO,
    )


ALL = ("limit", "500")
LIST_CASES = [
    _list("all", (ALL,)),
    _list("author", (("author", "acme"), ALL), author="acme"),
    _list("search", (("search", "a b&c=d/ü"), ALL), search="a b&c=d/ü"),
    _list("filter", (("filter", "region:us"), ALL), filter="region:us"),
    _list(
        "filters",
        (("filter", "z"), ("filter", "docker"), ("filter", "z"), ALL),
        filter=["z", "docker", "z"],
    ),
    _list("limit", (("limit", "2"),), limit=2),
    _list("limit-500", (ALL,), limit=500),
    _list("limit-501", (ALL,), limit=501),
    _list("page", (("limit", "50"),), page_size=50),
    _list("page-limit", (("limit", "50"),), page_size=50, limit=120),
    _list("limit-page", (("limit", "7"),), page_size=50, limit=7),
    _list("page-none", (), page_size=None),
    _list("page-none-limit", (("limit", "501"),), page_size=None, limit=501),
    _list("expand", (ALL, ("expand", "runtime")), expand="runtime"),
    _list(
        "expands",
        (
            ALL,
            ("expand", "sdk"),
            ("expand", "createdAt"),
            ("expand", "trendingScore"),
            ("expand", "cardData"),
            ("expand", "xetEnabled"),
        ),
        expand=("sdk", "created_at", "trendingScore", "card_data", "xetEnabled"),
    ),
    _list("full", (ALL, ("full", "true")), full=True),
    _list("models", (ALL, ("models", "a/b"), ("models", "c/d")), models=["a/b", "c/d"]),
    _list("datasets", (ALL, ("datasets", "a/b")), datasets="a/b"),
    _list("linked", (ALL, ("linked", "true")), linked=True),
    _list("nothing", (ALL,), filter=(), models=[], full=False, linked=False),
    *(
        _list(f"sort-{given}", (("sort", wire), ALL), sort=given)
        for given, wire in (
            ("created_at", "createdAt"),
            ("createdAt", "createdAt"),
            ("last_modified", "lastModified"),
            ("lastModified", "lastModified"),
            ("likes", "likes"),
            ("trending_score", "trendingScore"),
            ("trendingScore", "trendingScore"),
        )
    ),
    _list(
        "together",
        (
            ("author", "acme"),
            ("search", "x"),
            ("filter", "docker"),
            ("sort", "likes"),
            ("limit", "7"),
            ("expand", "runtime"),
            ("models", "a/b"),
            ("datasets", "c/d"),
            ("linked", "true"),
        ),
        author="acme",
        search="x",
        filter="docker",
        sort="likes",
        limit=7,
        expand=["runtime"],
        models="a/b",
        datasets="c/d",
        linked=True,
    ),
]
GET_CASES = [
    _get("plain"),
    _get("revision", "/revision/main", revision="main"),
    _get("ref", "/revision/refs%2Fpr%2F1", revision="refs/pr/1"),
    _get("odd-ref", "/revision/a%3Fb%23c%25d", revision="a?b#c%d"),
    _get("expand", query=(("expand", "runtime"),), expand="runtime"),
    _get(
        "expands",
        "/revision/main",
        query=(("expand", "xetEnabled"), ("expand", "usedStorage")),
        revision="main",
        expand=["xetEnabled", "used_storage"],
    ),
    _get("files", query=(("blobs", "true"),), files_metadata=True),
]
CARD = {
    "id": "acme/cutout",
    "author": "acme",
    "title": "Cutout",
    "emoji": "✂️",
    "sdk": "gradio",
    "likes": 3,
    "private": False,
    "tags": ["gradio"],
    "runtime": {
        "stage": "RUNNING",
        "hardware": {"current": "zero-a10g", "requested": "zero-a10g"},
    },
    "ai_short_description": "Removes backgrounds",
    "ai_category": "Background Removal",
    "semanticRelevancyScore": 0.75,
    "trendingScore": 4,
    "featured": False,
}
FOUND = SpaceSearchResult(
    id="acme/cutout",
    author="acme",
    title="Cutout",
    emoji="✂️",
    sdk=SpaceSdk.GRADIO,
    likes=3,
    private=False,
    tags=("gradio",),
    runtime=SpaceRuntime(
        stage=SpaceStage.RUNNING,
        hardware=SpaceHardware.ZERO_A10G,
        requested_hardware=SpaceHardware.ZERO_A10G,
    ),
    ai_short_description="Removes backgrounds",
    ai_category="Background Removal",
    semantic_relevancy_score=0.75,
    trending_score=4.0,
)
ME = {
    "type": "user",
    "id": "5f0c",
    "name": "me",
    "fullname": "My Self",
    "canPay": True,
    "isPro": False,
    "orgs": [
        {
            "type": "org",
            "id": "60ab",
            "name": "acme",
            "fullname": "Acme",
            "plan": "enterprise",
            "roleInOrg": "admin",
        },
        {"type": "org", "id": "60ac", "name": "other", "fullname": "Other"},
    ],
    "auth": {"type": "access_token", "accessToken": {"role": "fineGrained"}},
}
MEMBER = {
    "user": "ann",
    "fullname": "Ann",
    "avatarUrl": "/a.svg",
    "isPro": True,
    "type": "user",
    "role": "write",
}
ANN = OrganizationMember("ann", "Ann", "write", is_pro=True)


def _subdomain(name: str, given: str) -> Case:
    return Case(
        id=f"get_info_by_subdomain-{name}",
        name="get_info_by_subdomain",
        invoke=lambda c: c.catalog.get_info_by_subdomain(given),
        method="GET",
        path=BY_SUBDOMAIN,
        answer=FULL,
        result=FULL_INFO,
    )


def _search(name: str, words: str, query: Pairs, **arguments: Any) -> Case:
    return Case(
        id=f"search_spaces-{name}",
        name="search_spaces",
        invoke=lambda c: c.catalog.search_spaces(words, **arguments),
        method="GET",
        path=SEARCH,
        query=(("q", words), *query),
        answer=[CARD, {"id": "acme/one"}],
        result=[FOUND, SpaceSearchResult("acme/one")],
    )


def _trending(name: str, asked: int, **arguments: Any) -> Case:
    return Case(
        id=f"trending-{name}",
        name="trending",
        invoke=lambda c: c.catalog.trending(**arguments),
        method="GET",
        path=TRENDING,
        query=(("type", "space"), ("limit", str(asked))),
        answer={
            "recentlyTrending": [
                {"repoData": LIVE, "repoType": "space"},
                {"repoData": EXPANDED, "repoType": "space"},
            ]
        },
        result=[LIVE_INFO, EXPANDED_INFO],
    )


def _members(name: str, query: Pairs, **arguments: Any) -> Case:
    return Case(
        id=f"list_organization_members-{name}",
        name="list_organization_members",
        invoke=lambda c: c.catalog.list_organization_members("acme", **arguments),
        method="GET",
        path=MEMBERS,
        query=query,
        answer=[MEMBER, {"user": "bob"}],
        result=[ANN, OrganizationMember("bob")],
    )


OTHER_CASES = [
    _subdomain("bare", "acme-demo"),
    _subdomain("host", "acme-demo.hf.space"),
    _search("words", "remove the background", ()),
    _search("odd", "a b&c=d/ü", ()),
    _search("filter", "x", (("filter", "docker"),), filter="docker"),
    _search(
        "filters",
        "x",
        (("filter", "z"), ("filter", "a")),
        filter=("z", "a"),
    ),
    _search(
        "sdks", "x", (("sdk", "gradio"), ("sdk", "docker")), sdk=["gradio", "docker"]
    ),
    _search(
        "category",
        "x",
        (("category", "Image Generation"),),
        category="Image Generation",
    ),
    _search("all", "x", (("includeNonRunning", "true"),), include_non_running=True),
    _search("running", "x", (), include_non_running=False),
    _search(
        "together",
        "x y",
        (
            ("filter", "docker"),
            ("sdk", "static"),
            ("category", "Other"),
            ("includeNonRunning", "true"),
        ),
        filter="docker",
        sdk="static",
        category="Other",
        include_non_running=True,
    ),
    Case(
        id="list_templates",
        name="list_templates",
        invoke=lambda c: c.catalog.list_templates(),
        method="GET",
        path=TEMPLATES,
        answer={
            "templates": [
                {
                    "sdk": "docker",
                    "name": "JupyterLab",
                    "repoId": "SpacesExamples/jupyterlab",
                    "preferredPrivate": True,
                },
                {"repoId": "acme/new", "sdk": "holodeck"},
            ]
        },
        result=[
            SpaceTemplate(
                "SpacesExamples/jupyterlab",
                "JupyterLab",
                SpaceSdk.DOCKER,
                preferred_private=True,
            ),
            SpaceTemplate("acme/new", sdk=SpaceSdk("holodeck")),
        ],
    ),
    _trending("plain", 10),
    _trending("least", 1, limit=1),
    _trending("most", 20, limit=20),
    Case(
        id="whoami",
        name="whoami",
        invoke=lambda c: c.catalog.whoami(),
        method="GET",
        path=WHOAMI,
        answer=ME,
        result=Account(
            "me",
            "user",
            "My Self",
            is_pro=False,
            can_pay=True,
            orgs=(Membership("acme", "admin", "enterprise"), Membership("other")),
        ),
        remembered=True,
    ),
    _members("all", (ALL,)),
    _members("search", (("search", "an n"), ALL), search="an n"),
]
CASES = LIST_CASES + GET_CASES + OTHER_CASES


def test_every_method_has_a_row() -> None:
    """No method of the catalog goes without a test."""
    assert {case.name for case in CASES} == public_methods(Catalog)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented query goes out, in order, and the records come back."""
    await check_call(mock, client, case)


@cases(
    [
        *REFUSED_ANYWHERE,
        said(
            "400-sort",
            400,
            BadRequestError,
            "✖ Invalid sort parameter: trending_score",
        ),
        said("404", 404, NotFoundError, "Not found"),
        said("404-repo", 404, NotFoundError, "Not found", code="RepoNotFound"),
    ],
    "refusal",
)
async def test_refused_listing(
    mock: HubMock, client: SpacesClient, refusal: Refusal
) -> None:
    """Each status of a listing becomes its error; a 404 is about no Space."""
    await check_refusal(mock, client, LIST_CASES[0], refusal)


@refused(
    one_per_method(OTHER_CASES),
    [
        *REFUSED_ANYWHERE,
        said("404", 404, NotFoundError, "Not found"),
        said("404-repo", 404, NotFoundError, "Not found", code="RepoNotFound"),
    ],
)
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status of what is about no Space by its id becomes its error, sent once."""
    await check_refusal(mock, client, case, refusal)


@refused(
    GET_CASES[:2],
    [
        *REFUSED_FOR_SPACE,
        said("400-expand", 400, BadRequestError, "✖ Invalid option: at expand"),
        said("404-revision", 404, NotFoundError, "Bad rev", code="RevisionNotFound"),
    ],
)
async def test_refused_info(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status of an info becomes its error: a revision is a part of a Space."""
    await check_refusal(mock, client, case, refusal)


async def test_anonymous(mock: HubMock, anonymous: SpacesClient) -> None:
    """Without a token no Authorization goes out, and public Spaces are listed."""
    mock.answer("GET", SPACES, [LIVE], query=(ALL,))
    assert await listed(anonymous) == [LIVE_INFO]
    check_headers(mock.sent[0], token=None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"expand": ["runtime"], "full": True},
        {"expand": "runtime", "full": True},
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"limit": "5"},
        {"author": ""},
        {"author": "acme/demo"},
        {"author": ".."},
        {"author": "a b"},
        {"author": 5},
        {"search": 5},
        {"search": "\ud800"},
        {"filter": [5]},
        {"filter": 5},
        {"models": ["a", None]},
        {"datasets": [b"x"]},
        {"expand": [None]},
        {"expand": 5},
        {"sort": "downloads!"},
        {"sort": ""},
        {"sort": ["likes"]},
        {"full": 1},
        {"full": "true"},
        {"linked": "yes"},
        {"page_size": 0},
        {"page_size": -500},
        {"page_size": True},
        {"page_size": 50.0},
        {"page_size": "50"},
    ],
    ids=repr,
)
def test_malformed_listing_is_not_sent(
    mock: HubMock, client: SpacesClient, arguments: dict[str, Any]
) -> None:
    """What cannot work is refused at once, before the first step of the iteration."""
    with pytest.raises(ConfigurationError):
        client.catalog.list_spaces(**arguments)
    assert mock.sent == []


@pytest.mark.parametrize("repo_id", BAD_REPO_IDS, ids=repr)
async def test_malformed_id_is_not_sent(
    mock: HubMock, client: SpacesClient, repo_id: Any
) -> None:
    """A malformed id is refused before anything is sent."""
    await check_not_sent(mock, client, lambda: client.catalog.get_info(repo_id))


@pytest.mark.parametrize(
    "arguments",
    [
        {"expand": ["runtime"], "files_metadata": True},
        {"files_metadata": 1},
        {"expand": [5]},
        {"revision": ""},
        {"revision": ".."},
        {"revision": "a/../b"},
        {"revision": "a b"},
        {"revision": "a\n"},
        {"revision": "\x00"},
        {"revision": "x" * 256},
        {"revision": 5},
    ],
    ids=repr,
)
async def test_malformed_info_is_not_sent(
    mock: HubMock, client: SpacesClient, arguments: dict[str, Any]
) -> None:
    """So are a revision that leaves its place and options that exclude each other."""
    await check_not_sent(
        mock, client, lambda: client.catalog.get_info("acme/demo", **arguments)
    )


@pytest.mark.parametrize("repo_id", ["a/b", "A-1/x_y.z", "0/_", f"{'x' * 96}/y"])
async def test_odd_but_good_ids(
    mock: HubMock, client: SpacesClient, repo_id: str
) -> None:
    """Every id that the Hub may have is taken, and its slash is not encoded."""
    mock.answer("GET", f"{SPACES}/{repo_id}", {"id": repo_id})
    assert (await client.catalog.get_info(repo_id)).id == repo_id
    assert mock.sent[0].path == f"{SPACES}/{repo_id}"


# Pages --------------------------------------------------------------------------------


def _page(*names: str) -> list[dict[str, Any]]:
    return [{"_id": name, "id": f"acme/{name}"} for name in names]


def _link(url: str) -> dict[str, str]:
    return {"Link": f'<{url}>; rel="next"'}


def _next(cursor: str, limit: int = 500) -> Pairs:
    return (("author", "acme"), ("limit", str(limit)), ("cursor", cursor))


def _answer_pages(mock: HubMock, limit: int = 500) -> None:
    first = (("author", "acme"), ("limit", str(limit)))
    links = [
        _link(f"{HUB}{SPACES}?author=acme&limit={limit}&cursor={cursor}")
        for cursor in ("Y3Vy%3D", "ZW5k")
    ]
    mock.answer("GET", SPACES, _page("a", "b"), query=first, headers=links[0])
    mock.answer(
        "GET", SPACES, _page("c"), query=_next("Y3Vy=", limit), headers=links[1]
    )
    mock.answer("GET", SPACES, _page("d", "e"), query=_next("ZW5k", limit))


async def test_pages(mock: HubMock, client: SpacesClient) -> None:
    """All pages are read in order by the Hub's own links, cursor included."""
    _answer_pages(mock)
    names = [info.name for info in await listed(client, author="acme")]
    assert names == ["a", "b", "c", "d", "e"]
    assert [sent.query for sent in mock.sent] == [
        (("author", "acme"), ALL),
        _next("Y3Vy="),
        _next("ZW5k"),
    ]
    for sent in mock.sent:
        check_headers(sent)


@pytest.mark.parametrize(
    ("limit", "requests"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (9, 3)]
)
async def test_limit_cuts(
    mock: HubMock, client: SpacesClient, limit: int, requests: int
) -> None:
    """No more than `limit` come, and no page is read that nobody needs."""
    _answer_pages(mock, limit)
    names = [info.name for info in await listed(client, author="acme", limit=limit)]
    assert names == ["a", "b", "c", "d", "e"][:limit]
    assert len(mock.sent) == requests


async def test_leaving_early(mock: HubMock, client: SpacesClient) -> None:
    """Who leaves the loop causes no further request and leaves no task behind."""
    _answer_pages(mock)
    seen: list[str] = []
    iterator = client.catalog.list_spaces(author="acme")
    async for info in iterator:
        seen.append(info.name)
        if info.name == "b":
            break
    del iterator
    for _ in range(10):
        await asyncio.sleep(0)
    assert seen == ["a", "b"]
    assert len(mock.sent) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_limit_leaves_no_task(mock: HubMock, client: SpacesClient) -> None:
    """A listing that ends by its limit is over: nothing is left for the loop to do."""
    _answer_pages(mock, 1)
    await listed(client, author="acme", limit=1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_is_sent_before_the_first_step(
    mock: HubMock, client: SpacesClient
) -> None:
    """Making the iterator sends nothing; each page is asked for when it is needed."""
    _answer_pages(mock)
    iterator = client.catalog.list_spaces(author="acme")
    assert mock.sent == []
    for count in (1, 1, 2):
        await anext(iterator)
        assert len(mock.sent) == count


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/spaces?cursor=x",
        "https://elsewhere.example/api/api/spaces?cursor=x",
        "https://elsewhere.example/api/spaces",
        "https://huggingface.co/api/models?cursor=x",
        "https://huggingface.co/login",
        "ftp://huggingface.co/api/spaces?cursor=x",
        "https://huggingface.co:port/api/spaces",
    ],
)
async def test_link_elsewhere_is_refused(
    mock: HubMock, client: SpacesClient, target: str
) -> None:
    """A next page at another place is not asked for: the token must not go there."""
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers=_link(target))
    iterator = client.catalog.list_spaces()
    assert (await anext(iterator)).name == "a"
    with pytest.raises(UnexpectedResponseError, match="next page") as caught:
        await anext(iterator)
    assert len(mock.sent) == 1
    assert (caught.value.method, caught.value.url) == ("GET", HUB + SPACES)


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/api/spaces?limit=500&cursor=x",
        "http://huggingface.co/api/spaces?limit=500&cursor=x",
        "https://huggingface.co:8443/api/spaces?limit=500&cursor=x",
        "//elsewhere.example/api/spaces?limit=500&cursor=x",
        "https://user:password@elsewhere.example/api/spaces?limit=500&cursor=x",
    ],
)
async def test_link_to_another_host_is_read_at_the_endpoint(
    mock: HubMock, client: SpacesClient, target: str
) -> None:
    """Of a link to another host only the query is taken: the token stays here."""
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers=_link(target))
    mock.answer("GET", SPACES, _page("b"), query=(ALL, ("cursor", "x")))
    assert [info.name for info in await listed(client)] == ["a", "b"]
    assert {str(sent.url.origin()) for sent in mock.sent} == {HUB}
    assert {sent.url.user for sent in mock.sent} == {None}


async def test_pages_without_end(mock: HubMock, client: SpacesClient) -> None:
    """Ten pages in a row without a new Space end a listing that always has a next one."""
    entries = [_page("a"), *[[]] * 5, _page("b"), *[_page("a"), []] * 20]
    for number, page in enumerate(entries):
        link = _link(f"{HUB}{SPACES}?limit=500&cursor={number + 1}")
        query = (ALL, ("cursor", str(number))) if number else (ALL,)
        mock.answer("GET", SPACES, page, query=query, headers=link)
    with pytest.raises(UnexpectedResponseError, match="10 pages that had nothing new"):
        await listed(client)
    assert len(mock.sent) == 7 + 10


async def test_limit_ends_a_listing_without_end(
    mock: HubMock, client: SpacesClient
) -> None:
    """With `limit=` nothing is read beyond the page that has the last one."""
    link = _link(f"{HUB}{SPACES}?limit=500&cursor=x")
    mock.answer("GET", SPACES, _page("a"), query=(("limit", "1"),), headers=link)
    assert [info.name for info in await listed(client, limit=1)] == ["a"]
    assert len(mock.sent) == 1


async def test_the_same_cursor_with_another_query_is_refused(
    mock: HubMock, client: SpacesClient
) -> None:
    """A cursor that was followed before is not followed again, whatever is beside it."""
    link = _link(f"{HUB}{SPACES}?limit=500&cursor=x")
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers=link)
    again = _link(f"{HUB}{SPACES}?limit=500&cursor=x&n=2")
    query = (ALL, ("cursor", "x"))
    mock.answer("GET", SPACES, _page("b"), query=query, headers=again)
    with pytest.raises(UnexpectedResponseError, match="read before"):
        await listed(client)
    assert len(mock.sent) == 2


async def test_link_in_a_circle_is_refused(mock: HubMock, client: SpacesClient) -> None:
    """A next page that was read before would never end."""
    again = _link(f"{HUB}{SPACES}?limit=500&cursor=x")
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers=again)
    query = (ALL, ("cursor", "x"))
    mock.answer("GET", SPACES, _page("b"), query=query, headers=again)
    with pytest.raises(UnexpectedResponseError, match="read before"):
        await listed(client)
    assert len(mock.sent) == 2


@pytest.mark.parametrize(
    "link",
    [
        f'<{HUB}{SPACES}?limit=500&cursor=x>; rel="next"',
        f'</prev>; rel="prev", <{HUB}{SPACES}?limit=500&cursor=x>; rel="next"',
        f"<{HUB}{SPACES}?limit=500&cursor=x>; rel=next",
        '</api/spaces?limit=500&cursor=x>; rel="next"',
        '<?limit=500&cursor=x>; rel="next"',
    ],
)
async def test_forms_of_a_link(mock: HubMock, client: SpacesClient, link: str) -> None:
    """A next page is found in any form that a Link header may have."""
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers={"Link": link})
    mock.answer("GET", SPACES, _page("b"), query=(ALL, ("cursor", "x")))
    assert [info.name for info in await listed(client)] == ["a", "b"]


@pytest.mark.parametrize("link", ["", "nonsense", f'<{HUB}{SPACES}>; rel="prev"'])
async def test_no_next_link(mock: HubMock, client: SpacesClient, link: str) -> None:
    """Without a next page the listing is over."""
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers={"Link": link})
    assert [info.name for info in await listed(client)] == ["a"]
    assert len(mock.sent) == 1


async def test_error_on_a_later_page(mock: HubMock, client: SpacesClient) -> None:
    """What came before a page fails is not lost, and the error is that page's."""
    link = _link(f"{HUB}{SPACES}?limit=500&cursor=x")
    mock.answer("GET", SPACES, _page("a"), query=(ALL,), headers=link)
    mock.answer("GET", SPACES, status=500, query=(ALL, ("cursor", "x")))
    iterator = client.catalog.list_spaces()
    assert (await anext(iterator)).name == "a"
    with pytest.raises(HubServerError):
        await anext(iterator)


@pytest.mark.parametrize("limit", [None, 5])
async def test_empty_listing(
    mock: HubMock, client: SpacesClient, limit: int | None
) -> None:
    """An empty page is an empty listing."""
    mock.answer("GET", SPACES, [], query=(("limit", str(limit or 500)),))
    assert await listed(client, limit=limit) == []


async def test_two_listings_at_once(mock: HubMock, client: SpacesClient) -> None:
    """Two iterations do not disturb each other."""
    _answer_pages(mock)
    _answer_pages(mock)
    async with (
        contextlib.aclosing(_names(client)) as first,
        contextlib.aclosing(_names(client)) as second,
    ):
        pairs = [(await anext(first), await anext(second)) for _ in range(5)]
    assert pairs == [(name, name) for name in "abcde"]


async def _names(client: SpacesClient) -> Any:
    async for info in client.catalog.list_spaces(author="acme"):
        yield info.name


# Answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '""',
        "null",
        '["acme/demo"]',
        '[{"likes": 3}]',
        '[{"id": 5}]',
        '[{"id": 5}, {"id": null}, "acme/demo"]',
        "<html><title>Sign in</title></html>",
    ],
)
async def test_page_of_another_shape(
    mock: HubMock, client: SpacesClient, body: str
) -> None:
    """A page that is no array of Spaces is an error, not an empty listing."""
    mock.answer("GET", SPACES, query=(ALL,), body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await listed(client)
    assert (caught.value.status, caught.value.body) == (200, body)
    assert caught.value.url == HUB + SPACES


ODD_FIELDS: list[dict[str, Any]] = [
    {"cardData": {"title": 2048}},
    {"cardData": []},
    {"tags": ["gradio", 2023]},
    {"tags": ["gradio", None]},
    {"runtime": {}},
    {"runtime": {"stage": None, "hardware": None}},
    {"runtime": {"stage": "RUNNING", "hardware": "cpu-basic"}},
    {"runtime": {"stage": "RUNNING", "replicas": 1}},
    {"runtime": {"stage": "RUNNING", "domains": [{"domain": None}]}},
    {"lastModified": "2022-03-02 23:29:05 UTC"},
    {"lastModified": 1646263745000},
    {"lastModified": ""},
    {"createdAt": "+020000-01-01T00:00:00.000Z"},
    {"private": "protected"},
    {"models": "gpt2"},
    {"siblings": [{"size": 3}]},
    {"resourceGroup": "64f"},
    {"likes": "3"},
    {"trendingScore": "NaN"},
    {"usedStorage": "12"},
]


@pytest.mark.parametrize("odd", ODD_FIELDS, ids=json.dumps)
async def test_one_odd_space_costs_no_other(
    mock: HubMock, client: SpacesClient, odd: dict[str, Any]
) -> None:
    """It is listed with what can be read of it, and says what could not be."""
    wire = {"id": "acme/odd", "sdk": "docker", **odd}
    mock.answer("GET", SPACES, [{"id": "acme/a"}, wire, {"id": "acme/b"}], query=(ALL,))
    first, found, last = await listed(client)
    assert (first.id, found.id, last.id) == ("acme/a", "acme/odd", "acme/b")
    assert found.sdk is SpaceSdk.DOCKER
    assert found.raw == wire
    assert all(problem.startswith(f"$.{next(iter(odd))}") for problem in found.problems)
    assert found.problems
    assert not first.problems
    assert not last.problems


async def test_words_that_are_new(mock: HubMock, client: SpacesClient) -> None:
    """A stage, a flavor, an SDK and a key that nobody knows yet decode as they are."""
    wire = {
        "id": "acme/demo",
        "sdk": "holodeck",
        "novelty": [1],
        "likes": None,
        "runtime": {
            "stage": "TELEPORTING",
            "hardware": {"current": "tpu-v9", "requested": "tpu-v9"},
        },
    }
    mock.answer("GET", DEMO, wire)
    info = await client.catalog.get_info("acme/demo")
    assert info.stage == "TELEPORTING"
    assert info.runtime is not None
    assert info.runtime.hardware == "tpu-v9"
    assert info.sdk == "holodeck"
    assert not info.runtime.hardware.is_known
    assert info.raw == wire
    assert info.likes is None


async def test_file_sizes_are_in_raw(mock: HubMock, client: SpacesClient) -> None:
    """What `files_metadata` adds is readable in `raw`."""
    mock.answer("GET", DEMO, FULL, query=(("blobs", "true"),))
    info = await client.catalog.get_info("acme/demo", files_metadata=True)
    assert info.raw["siblings"][1] == {"rfilename": "app.py", "size": 3}


# Search, templates, trending, people --------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(
            ("get_info_by_subdomain", {"subdomain": value})
            for value in ("", ".hf.space", "a/b", "../x", "a b", "a?b", None, 5)
        ),
        *(("search_spaces", {"query": value}) for value in (None, 5, b"x", "\ud800")),
        *(
            ("search_spaces", {"query": "x", **more})
            for more in (
                {"filter": 5},
                {"filter": [None]},
                {"sdk": [5]},
                {"category": 5},
                {"include_non_running": 1},
                {"include_non_running": "true"},
            )
        ),
        *(
            ("trending", {"limit": value})
            for value in (0, -1, 21, True, 1.0, "5", None)
        ),
        *(
            ("list_organization_members", {"organization": value})
            for value in ("", "..", "acme/x", "a b", None, 5)
        ),
        *(
            ("list_organization_members", {"organization": "acme", "search": value})
            for value in (5, "\ud800")
        ),
    ],
    ids=ascii,
)
async def test_malformed_question_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, arguments: dict[str, Any]
) -> None:
    """What would leave its place in the URL, or cannot be meant, is not asked."""
    await check_not_sent(
        mock, client, lambda: getattr(client.catalog, name)(**arguments)
    )


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("get_info_by_subdomain", "[]"),
        ("get_info_by_subdomain", "{}"),
        ("search_spaces", "{}"),
        ("search_spaces", '[{"title": "x"}]'),
        ("list_templates", "{}"),
        ("list_templates", '{"templates": {}}'),
        ("list_templates", '{"templates": [{"name": "x"}]}'),
        ("trending", "[]"),
        ("trending", "{}"),
        ("trending", '{"recentlyTrending": {}}'),
        ("trending", '{"recentlyTrending": [{"repoType": "space"}]}'),
        ("list_organization_members", "{}"),
        ("list_organization_members", '[{"fullname": "Ann"}]'),
        ("whoami", "[]"),
        ("whoami", "<html></html>"),
        ("whoami", ""),
        pytest.param(
            "whoami",
            '{"type": "user"}',
        ),
    ],
)
async def test_answer_of_another_shape(
    mock: HubMock, client: SpacesClient, name: str, body: str
) -> None:
    """A 2xx that is not what the Hub documents is an error, not an empty result."""
    case = next(case for case in OTHER_CASES if case.name == name)
    mock.answer("GET", case.path, query=case.query, body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await case.invoke(client)
    assert (caught.value.status, caught.value.body) == (200, body)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("search_spaces", []),
        ("list_templates", {"templates": []}),
        ("trending", {"recentlyTrending": []}),
        ("list_organization_members", []),
    ],
)
async def test_nothing_found(
    mock: HubMock, client: SpacesClient, name: str, answer: Any
) -> None:
    """Nothing is an empty list and no error."""
    case = next(case for case in OTHER_CASES if case.name == name)
    mock.answer("GET", case.path, answer, query=case.query)
    assert await case.invoke(client) == []


async def test_what_is_new_stays_readable(mock: HubMock, client: SpacesClient) -> None:
    """Keys that no record has are in its `raw`, on every level."""
    mock.answer("GET", WHOAMI, ME)
    me = await client.catalog.whoami()
    assert me.raw == ME
    assert me.raw["auth"]["accessToken"]["role"] == "fineGrained"
    assert [org.raw for org in me.orgs] == ME["orgs"]
    mock.answer("GET", SEARCH, [CARD], query=(("q", "x"),))
    (found,) = await client.catalog.search_spaces("x")
    assert found.raw == CARD
    mock.answer("GET", MEMBERS, [MEMBER], query=(ALL,))
    (member,) = await client.catalog.list_organization_members("acme")
    assert member.raw["avatarUrl"] == "/a.svg"


async def test_whoami_of_another_token_is_asked_for(
    mock: HubMock, client: SpacesClient
) -> None:
    """What is remembered of one token is not told of another one."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", WHOAMI, {"name": "you"})
    other = client.with_token("hf_another")
    names = [(await c.catalog.whoami()).name for c in (client, other, client, other)]
    assert names == ["me", "you", "me", "you"]
    assert mock.lines() == [f"GET {WHOAMI}"] * 2
    check_headers(mock.sent[1], token="hf_another")


async def test_whoami_of_nobody(mock: HubMock, anonymous: SpacesClient) -> None:
    """Without a token there is nobody to tell of, and the answer is about no Space."""
    answer = {"error": "Invalid username or password."}
    mock.answer("GET", WHOAMI, answer, status=401)
    with pytest.raises(AuthenticationError) as caught:
        await anonymous.catalog.whoami()
    assert caught.value.message == answer["error"]


async def test_pages_of_members(mock: HubMock, client: SpacesClient) -> None:
    """All members come, in order, over the Hub's own links."""
    link = _link(f"{HUB}{MEMBERS}?limit=500&cursor=Y3Vy%3D")
    mock.answer("GET", MEMBERS, [MEMBER], query=(ALL,), headers=link)
    second = (ALL, ("cursor", "Y3Vy="))
    mock.answer("GET", MEMBERS, [{"user": "bob"}, {"user": "eve"}], query=second)
    members = await client.catalog.list_organization_members("acme")
    assert members == [ANN, OrganizationMember("bob"), OrganizationMember("eve")]
    assert [sent.query for sent in mock.sent] == [(ALL,), second]
    for sent in mock.sent:
        check_headers(sent)


async def test_members_are_all_or_an_error(mock: HubMock, client: SpacesClient) -> None:
    """Where a later page fails, no part of the members passes for all of them."""
    link = _link(f"{HUB}{MEMBERS}?limit=500&cursor=x")
    mock.answer("GET", MEMBERS, [MEMBER], query=(ALL,), headers=link)
    mock.answer("GET", MEMBERS, status=500, query=(ALL, ("cursor", "x")))
    with pytest.raises(HubServerError):
        await client.catalog.list_organization_members("acme")
    assert len(mock.sent) == 2


async def test_link_of_members_elsewhere_is_refused(
    mock: HubMock, client: SpacesClient
) -> None:
    """The members of another org are no next page of this one's."""
    link = _link(f"{HUB}/api/organizations/evil/members?cursor=x")
    mock.answer("GET", MEMBERS, [MEMBER], query=(ALL,), headers=link)
    with pytest.raises(UnexpectedResponseError, match="next page"):
        await client.catalog.list_organization_members("acme")
    assert len(mock.sent) == 1


async def test_members_without_end(mock: HubMock, client: SpacesClient) -> None:
    """Pages that repeat the same members come to an end."""
    for number in range(30):
        link = _link(f"{HUB}{MEMBERS}?limit=500&cursor={number + 1}")
        query = (ALL, ("cursor", str(number))) if number else (ALL,)
        mock.answer("GET", MEMBERS, [MEMBER], query=query, headers=link)
    with pytest.raises(UnexpectedResponseError, match="nothing new"):
        await client.catalog.list_organization_members("acme")
    assert len(mock.sent) == 11


async def test_small_pages(mock: HubMock, client: SpacesClient) -> None:
    """With a page size the pages are smaller, and as many come as without."""
    _answer_pages(mock, 2)
    names = [info.name for info in await listed(client, author="acme", page_size=2)]
    assert names == ["a", "b", "c", "d", "e"]
    assert len(mock.sent) == 3


async def test_limit_over_small_pages(mock: HubMock, client: SpacesClient) -> None:
    """The limit counts over all pages, and no page is read that nobody needs."""
    _answer_pages(mock, 2)
    found = await listed(client, author="acme", page_size=2, limit=3)
    assert [info.name for info in found] == ["a", "b", "c"]
    assert len(mock.sent) == 2
