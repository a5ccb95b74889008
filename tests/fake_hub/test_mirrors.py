"""Mirrors of the Hub: another host in links, a path before every path."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import yarl
from huggingface_hub import HfApi

from spaces_async.testing import FakeHub, Fault

PREFIX = "/artifactory/hf"


def next_of(answer: Any) -> yarl.URL:
    """Return where the link to the next page leads."""
    link = answer.headers["Link"]
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    return yarl.URL(link[1:].partition(">")[0])


def fill(hub: FakeHub) -> None:
    for number in range(3):
        hub.add_space(f"acme/s{number}")


async def test_links_may_name_another_host(api: Any) -> None:
    """The query is that of the next page all the same."""
    async with FakeHub(page_size=2, link_url="https://huggingface.co/") as hub:
        fill(hub)
        target = next_of(await api("GET", f"{hub.url}/api/spaces?author=acme"))
        assert str(target).startswith("https://huggingface.co/api/spaces?author=acme")
        page = await api("GET", f"{hub.url}{target.path_qs}")
        assert len(page.json) == 1


async def test_links_name_the_host_that_was_called(api: Any, hub: FakeHub) -> None:
    """Who reaches the Hub by another name goes on by that name."""
    async with FakeHub(page_size=2) as small:
        fill(small)
        named = small.url.replace("127.0.0.1", "localhost")
        assert next_of(await api("GET", f"{named}/api/spaces")).host == "localhost"
        headers = {"Host": "not a host"}
        answer = await api("GET", f"{small.url}/api/spaces", headers=headers)
        assert str(next_of(answer)).startswith(f"{small.url}/")


async def test_a_prefix(api: Any) -> None:
    """All paths begin with it; faults, counts and records leave it out."""
    async with FakeHub(page_size=2, path_prefix=PREFIX) as hub:
        fill(hub)
        assert yarl.URL(hub.url).path == PREFIX
        answer = await api("GET", f"{hub.url}/api/spaces")
        assert next_of(answer).path == f"{PREFIX}/api/spaces"
        hub.faults("GET /api/spaces/{id}/runtime", Fault.status(503), repo_id="acme/s0")
        path = f"{hub.url}/api/spaces/acme/s0/runtime"
        assert [(await api("GET", path)).status for _ in range(2)] == [503, 200]
        assert hub.requests[-1].path == "/api/spaces/acme/s0/runtime"
        moved = await api("GET", f"{hub.url}/api/spaces/acme/S0?full=1")
        assert moved.headers["Location"] == f"{PREFIX}/api/spaces/acme/s0?full=1"


@pytest.mark.parametrize("path", ["/api/spaces", "/artifactory/hfx/api/spaces", "/"])
async def test_beside_the_prefix_is_nothing(path: str) -> None:
    """A mirror has no Hub outside its path."""
    async with (
        FakeHub(path_prefix=PREFIX) as hub,
        aiohttp.ClientSession(yarl.URL(hub.url).origin()) as session,
        session.get(path) as response,
    ):
        assert response.status == 404


def test_the_official_client_behind_a_prefix() -> None:
    """Its calls work there, pages included."""
    with FakeHub(page_size=2, path_prefix=PREFIX) as hub:
        fill(hub)
        official = HfApi(endpoint=hub.url, token=hub.token)
        assert len(list(official.list_spaces(author="acme"))) == 3
        assert official.restart_space("acme/s0").stage == "BUILDING"
