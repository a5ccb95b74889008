"""`GET /api/spaces` and the other reads."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces_async.testing import FakeHub, ManualClock, seed_org

LINK = re.compile(r'<([^>]+)>; rel="next"')


async def pages(session: Any, url: Any) -> Any:
    """Follow the links; return the pages."""
    found = []
    while url:
        async with session.get(url) as response:
            assert response.status == 200
            found.append(await response.json())
            link = LINK.fullmatch(response.headers.get("Link", ""))
            url = link[1] if link else None
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 30),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(["likes", "createdAt", "trendingScore", "lastModified"]),
)
def test_pages_are_complete_and_without_doubles(
    count: Any, size: Any, limit: Any, sort: Any
) -> None:
    """Whatever the sizes, each Space comes once, in order, and no page is too long."""

    async def run() -> None:
        async with FakeHub(clock=ManualClock(), page_size=size) as hub:
            seed_org(hub, "acme", count)
            async with aiohttp.ClientSession() as session:
                query = f"author=acme&limit={limit}&sort={sort}&expand=likes"
                found = await pages(session, f"{hub.url}/api/spaces?{query}")
        rows = [row for page in found for row in page]
        public = {space.id for space in hub.spaces.values() if not space.private}
        assert len(rows) == len(public)
        assert {row["id"] for row in rows} == public
        assert all(len(page) <= min(size, limit) for page in found)
        assert all(len(page) == min(size, limit) for page in found[:-1])
        if sort == "likes":
            likes = [row["likes"] for row in rows]
            assert likes == sorted(likes, reverse=True)

    asyncio.run(run())


async def test_what_changes_between_pages_moves_nothing(hub: FakeHub, api: Any) -> None:
    """A deleted Space neither repeats nor hides another one."""
    for number in range(6):
        hub.add_space(f"acme/s{number}", likes=number)
    first = await api("GET", "/api/spaces?sort=likes&limit=2")
    assert [row["id"] for row in first.json] == ["acme/s5", "acme/s4"]
    link = LINK.fullmatch(first.headers["Link"])
    assert link
    assert link[1].startswith(f"{hub.url}/api/spaces?sort=likes&limit=2&cursor=")
    del hub.spaces["acme/s5"]
    second = await api("GET", link[1])
    assert [row["id"] for row in second.json] == ["acme/s3", "acme/s2"]


@pytest.fixture
def shelf(hub: FakeHub) -> None:
    hub.add_user("alice", token="hf_alice")
    hub.add_space("acme/chat", tags=["mcp-server"], models=["m/1"], likes=3)
    hub.add_space("acme/draw", sdk="docker", private=True, datasets=["d/1"])
    hub.add_space("other/chat", tags=["mcp-server", "x"], title="Talk", likes=9)
    hub.add_space("other/page", sdk="static", stage="RUNNING")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", {"acme/chat", "acme/draw", "other/chat", "other/page"}),
        ("author=acme", {"acme/chat", "acme/draw"}),
        ("search=CHA", {"acme/chat", "other/chat"}),
        ("filter=mcp-server&filter=x", {"other/chat"}),
        ("filter=docker", {"acme/draw"}),
        ("models=m/1", {"acme/chat"}),
        ("datasets=d/1", {"acme/draw"}),
        ("author=nobody", set()),
    ],
)
async def test_filters(api: Any, shelf: None, query: Any, ids: Any) -> None:
    """Each filter narrows the list; a repeated one narrows it further."""
    answer = await api("GET", f"/api/spaces?{query}")
    assert {row["id"] for row in answer.json} == ids


async def test_private_spaces_are_listed_for_those_who_may_read(
    api: Any, anonymous: Any, shelf: None
) -> None:
    """Strangers and outsiders do not learn that they exist."""
    path = "/api/spaces?author=acme"
    assert len((await api("GET", path)).json) == 2
    assert len((await anonymous("GET", path)).json) == 1
    assert len((await anonymous("GET", path, token="hf_alice")).json) == 1


@pytest.mark.parametrize(
    "query",
    [
        "sort=trending_score", "expand=foo", "expand[]=foo", "full=true&expand=sdk",
        "limit=0", "limit=x", "cursor=x", "cursor=WyJ4IiwieSJd",
    ],
)  # fmt: skip
async def test_bad_parameters(api: Any, shelf: None, query: Any) -> None:
    """The Hub answers 400 and says what it wants."""
    answer = await api("GET", f"/api/spaces?{query}")
    assert (answer.status, list(answer.json)) == (400, ["error"])


async def test_which_keys_come(api: Any, shelf: None) -> None:
    """`expand` gives only what was asked for, `full` more than the plain list."""
    rows = (await api("GET", "/api/spaces?expand=sdk&expand[]=runtime")).json
    assert set(rows[0]) == {"_id", "id", "sdk", "runtime"}
    plain = (await api("GET", "/api/spaces?limit=1")).json[0]
    full = (await api("GET", "/api/spaces?limit=1&full=true")).json[0]
    assert set(plain) < set(full)
    assert {"siblings", "cardData", "lastModified"} <= set(full)
    linked = (await api("GET", "/api/spaces?search=acme/chat&linked=true")).json[0]
    assert linked["models"] == ["m/1"]


async def test_info(api: Any, shelf: None) -> None:
    """The full answer has the keys of the live Hub; blobs add sizes."""
    body = (await api("GET", "/api/spaces/acme/chat")).json
    assert set(body) == {
        "_id", "id", "author", "sha", "lastModified", "private", "gated", "disabled",
        "host", "subdomain", "tags", "likes", "sdk", "runtime", "cardData", "models",
        "datasets", "siblings", "createdAt", "region", "usedStorage",
    }  # fmt: skip
    assert body["host"] == "https://acme-chat.hf.space"
    assert body["createdAt"] == "2026-01-01T00:00:00.000Z"
    page = (await api("GET", "/api/spaces/other/page")).json
    assert page["host"] == "https://other-page.static.hf.space"
    blobs = (await api("GET", "/api/spaces/acme/chat?blobs=true")).json["siblings"]
    assert all(set(blob) == {"rfilename", "size", "blobId"} for blob in blobs)
    answer = await api("GET", "/api/spaces/acme/chat/revision/main?expand=xetEnabled")
    assert set(answer.json) == {"_id", "id", "xetEnabled"}
    assert (await api("GET", "/api/spaces/acme/chat?blobs=1&expand=sdk")).status == 400


async def test_by_subdomain(api: Any, anonymous: Any, shelf: None) -> None:
    """It is the same object, and as secret."""
    body = (await api("GET", "/api/spaces/by-subdomain/acme-draw")).json
    assert body["id"] == "acme/draw"
    for name in ("acme-draw", "acme-none"):
        path = f"/api/spaces/by-subdomain/{name}"
        assert (await anonymous("GET", path)).status == 401


async def test_semantic_search(hub: FakeHub, api: Any, shelf: None) -> None:
    """Cards come by relevance, which one-word queries do not show; only what runs."""
    hub.set_stage("acme/chat", "PAUSED")
    rows = (await api("GET", "/api/spaces/semantic-search?q=talk")).json
    assert [row["id"] for row in rows] == ["other/chat"]
    assert "semanticRelevancyScore" not in rows[0]
    path = "/api/spaces/semantic-search?q=chat+talk&includeNonRunning=true"
    rows = (await api("GET", path)).json
    found = [(row["id"], row["semanticRelevancyScore"]) for row in rows]
    assert found == [("other/chat", 1.0), ("acme/chat", 0.5)]
    for query in ("q=chat&sdk=docker", "q=chat&filter=none", "q=chat&category=Music"):
        path = f"/api/spaces/semantic-search?{query}"
        assert (await api("GET", path)).json == []


async def test_fixed_paths_are_no_spaces(
    hub: FakeHub, api: Any, anonymous: Any, shelf: None
) -> None:
    """hardware, templates, trending and the quota answer for themselves."""
    flavors = (await anonymous("GET", "/api/spaces/hardware")).json
    t4 = next(row for row in flavors if row["name"] == "t4-small")
    assert t4["unitCostMicroUSD"] == 6667
    assert t4["accelerator"]["manufacturer"] == "Nvidia"
    templates = (await anonymous("GET", "/api/spaces/templates")).json["templates"]
    assert {"sdk", "name", "repoId", "preferredPrivate"} == set(templates[0])
    trending = (await anonymous("GET", "/api/trending?type=space&limit=2")).json
    assert len(trending["recentlyTrending"]) == 2
    assert (await anonymous("GET", "/api/spaces/zero-gpu/quota")).status == 401
    path = "/api/spaces/zero-gpu/quota"
    assert (await api("GET", path)).json["resetsAt"] is None
    hub._world.zero_gpu["tester"] = 10.0
    quota = (await api("GET", path)).json
    assert (quota["base"], quota["current"]) == (210.0, 200.0)


async def test_whoami_and_members(hub: FakeHub, api: Any, anonymous: Any) -> None:
    """whoami tells user, orgs and the kind of token; members come in pages."""
    hub.add_org("acme", {"tester": "admin", **{f"u{n:02}": "read" for n in range(15)}})
    hub.add_token("hf_none", role="none")
    me = (await api("GET", "/api/whoami-v2")).json
    assert (me["type"], me["name"], me["orgs"][0]["roleInOrg"]) == (
        "user",
        "tester",
        "admin",
    )
    assert me["auth"]["accessToken"]["role"] == "write"
    none = (await anonymous("GET", "/api/whoami-v2", token="hf_none")).json
    assert none["auth"]["accessToken"]["role"] == "fineGrained"
    assert (await anonymous("GET", "/api/whoami-v2")).status == 401
    path = f"{hub.url}/api/organizations/acme/members?limit=10"
    rows = [row for page in await pages(api.session, path) for row in page]
    assert len({row["user"] for row in rows}) == len(rows) == 16
    assert (await api("GET", "/api/organizations/none/members")).status == 404


async def test_repositories_of_an_owner(api: Any, anonymous: Any, shelf: None) -> None:
    """The owner sees private ones too, with their sizes."""
    path = "/api/organizations/acme/settings/repositories?type=space&sort=storage"
    rows = (await api("GET", path)).json
    assert {row["visibility"] for row in rows} == {"public", "private"}
    assert (await anonymous("GET", path, token="hf_alice")).status == 403
    assert (await api("GET", "/api/settings/repositories")).json == []


async def test_groups_and_jwt(api: Any, shelf: None) -> None:
    """Both are small objects."""
    path = "/api/spaces/acme/chat/resource-group"
    assert (await api("GET", path)).json is None
    await api("POST", path, {"resourceGroupId": "a" * 24})
    assert (await api("GET", path)).json["id"] == "a" * 24
    jwt = (await api("GET", "/api/spaces/acme/chat/jwt?expires_in=60")).json
    assert set(jwt) == {"accessToken", "token", "exp"}
