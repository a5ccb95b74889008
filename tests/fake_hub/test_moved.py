"""Renamed and mis-cased ids: 307 to the id that the Space has now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from huggingface_hub import HfApi

from spaces_async.testing import FakeHub

CALLS = [
    ("GET", "", None),
    ("GET", "/runtime", None),
    ("GET", "/revision/main", None),
    ("GET", "/logs/run?tail=3", None),
    ("GET", "?expand=runtime&expand=sdk", None),
    ("POST", "/restart?factory=true", None),
    ("POST", "/secrets", {"key": "S", "value": "x"}),
    ("DELETE", "/variables", {"key": "A"}),
    ("PUT", "/settings", {"visibility": "private"}),
    ("POST", "/duplicate", {"repository": "tester/copy"}),
]


async def move(api: Any, before: str, after: str) -> None:
    body = {"fromRepo": before, "toRepo": after, "type": "space"}
    assert (await api("POST", "/api/repos/move", body)).status == 200


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize("old", ["acme/old", "Tester/NEW"])
async def test_reads_and_writes_are_redirected(
    *, hub: FakeHub, api: Any, method: str, path: str, body: Any, old: str
) -> None:
    """The target is a path on the same origin, query included; nothing is done."""
    space = hub.add_space("acme/old", variables={"A": "1"})
    await move(api, "acme/old", "tester/new")
    answer = await api(method, f"/api/spaces/{old}{path}", body)
    assert answer.status == 307
    location = f"/api/spaces/tester/new{path}"
    assert answer.headers["Location"] == location
    assert answer.text == f"Temporary Redirect. Redirecting to {location}"
    for name in ("X-Request-Id", "RateLimit", "Date"):
        assert name in answer.headers
    assert not hub.requests[-1].acted
    assert (space.factory_reboots, space.secrets, space.private) == (0, {}, False)
    assert (list(space.variables), len(hub.spaces)) == (["A"], 1)


async def test_two_moves(hub: FakeHub, api: Any) -> None:
    """Both old ids lead to the last one, and moving back ends the redirect."""
    hub.add_space("acme/a")
    await move(api, "acme/a", "acme/b")
    await move(api, "acme/b", "acme/c")
    for old in ("acme/a", "acme/b"):
        answer = await api("GET", f"/api/spaces/{old}")
        assert answer.headers["Location"] == "/api/spaces/acme/c"
    await move(api, "acme/c", "acme/a")
    assert (await api("GET", "/api/spaces/acme/a")).status == 200


@pytest.mark.parametrize("way", ["create", "duplicate", "move", "add"])
async def test_a_new_space_takes_the_name(hub: FakeHub, api: Any, way: str) -> None:
    """The old id then means that Space, in any case, and never the moved one again."""
    hub.add_space("tester/old", likes=1)
    await move(api, "tester/old", "tester/new")
    if way == "create":
        body = {"name": "old", "type": "space", "sdk": "static"}
        await api("POST", "/api/repos/create", body)
    elif way == "duplicate":
        body = {"repository": "tester/old"}
        await api("POST", "/api/spaces/tester/new/duplicate", body)
    elif way == "move":
        hub.add_space("tester/other")
        await move(api, "tester/other", "tester/old")
    else:
        hub.add_space("tester/old")
    answer = await api("GET", "/api/spaces/tester/old")
    assert (answer.status, answer.json["likes"]) == (200, 0)
    answer = await api("GET", "/api/spaces/tester/OLD")
    assert answer.headers["Location"] == "/api/spaces/tester/old"
    body = {"name": "tester/old", "type": "space"}
    await api("DELETE", "/api/repos/delete", body)
    assert (await api("GET", "/api/spaces/tester/old")).status == 404


async def test_what_is_hidden_or_gone_is_not_redirected(
    hub: FakeHub, api: Any, anonymous: Any
) -> None:
    """A redirect would tell that it exists."""
    hub.add_space("acme/old", private=True)
    await move(api, "acme/old", "acme/new")
    assert (await anonymous("GET", "/api/spaces/acme/old")).status == 401
    assert (await anonymous("GET", "/api/spaces/ACME/new")).status == 401
    hub.add_user("alice", token="hf_alice")
    answer = await anonymous("GET", "/api/spaces/acme/old", token="hf_alice")
    assert answer.status == 404
    assert (await api("GET", "/api/spaces/acme/old")).status == 307
    await api("DELETE", "/api/repos/delete", {"name": "acme/new", "type": "space"})
    assert (await api("GET", "/api/spaces/acme/old")).status == 404


async def test_two_spaces_that_differ_only_in_case(hub: FakeHub, api: Any) -> None:
    """Each answers for its own id."""
    hub.add_space("acme/demo", likes=1)
    hub.add_space("acme/Demo", likes=2)
    assert (await api("GET", "/api/spaces/acme/demo")).json["likes"] == 1
    assert (await api("GET", "/api/spaces/acme/Demo")).json["likes"] == 2


async def test_the_official_client_follows(hub: FakeHub, api: Any) -> None:
    """Reads and writes, with the body."""
    space = hub.add_space("acme/old", stage="PAUSED")
    await move(api, "acme/old", "acme/new")
    official = HfApi(endpoint=hub.url, token=hub.token)
    info = await asyncio.to_thread(official.space_info, "acme/old")
    assert info.id == "acme/new"
    await asyncio.to_thread(official.restart_space, "acme/old")
    await asyncio.to_thread(official.add_space_secret, "acme/old", "S", "x")
    assert (space.restarts, space.secrets["S"].value) == (1, "x")
