"""Create, duplicate, move and delete."""

from __future__ import annotations

from typing import Any

import pytest

from spaces_async.testing import FakeHub, ManualClock

CREATE = {"name": "new", "organization": None, "type": "space", "sdk": "gradio"}


async def test_create(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """The answer has url, name and id; what the body sets is set."""
    body = CREATE | {
        "visibility": "private",
        "hardware": "zerogpu",
        "sleepTimeSeconds": 300,
        "secrets": [{"key": "S", "value": "x"}],
        "variables": [{"key": "A", "value": "1", "description": "d"}],
        "volumes": [{"type": "bucket", "source": "a/b", "mountPath": "/d"}],
        "files": [{"path": "app.py", "content": "pass"}],
    }
    answer = await api("POST", "/api/repos/create", body)
    space = hub.space("tester/new")
    url = f"{hub.url}/spaces/tester/new"
    assert answer.json == {"url": url, "name": "tester/new", "id": space.oid}
    assert (space.private, space.requested_hardware) == (True, "zero-a10g")
    assert (space.sleep_time, space.creator) == (300, "tester")
    assert (space.secrets["S"].value, space.variables["A"].description) == ("x", "d")
    assert space.stage == "BUILDING"
    clock.advance(3)
    assert space.stage == "RUNNING"


@pytest.mark.parametrize(
    ("more", "stage"),
    [
        ({}, "NO_APP_FILE"),
        ({"sdk": "static"}, "RUNNING"),
        ({"template": "gradio-templates/chatbot"}, "BUILDING"),
    ],
)
async def test_what_a_new_space_does(
    hub: FakeHub, api: Any, more: Any, stage: Any
) -> None:
    """Without an app there is nothing to build."""
    await api("POST", "/api/repos/create", CREATE | more)
    assert hub.space("tester/new").stage == stage


@pytest.mark.parametrize(
    "more",
    [
        {"name": "a b"},
        {"name": "a--b"},
        {"name": ""},
        {"type": "model"},
        {"sdk": "streamlit"},
        {"sdk": None},
        {"hardware": "gpu"},
        {"template": "x/y"},
        {"secrets": [{"key": "1"}]},
        {"volumes": [{"type": "disk"}]},
        {"sleepTimeSeconds": "x"},
        {"visibility": "hidden"},
    ],
)
async def test_create_refuses(hub: FakeHub, api: Any, more: Any) -> None:
    """A wrong body is a 400, and nothing is made."""
    assert (await api("POST", "/api/repos/create", CREATE | more)).status == 400
    assert hub.spaces == {}


async def test_create_twice(hub: FakeHub, api: Any) -> None:
    """409 with the url of the one that is there."""
    await api("POST", "/api/repos/create", CREATE)
    answer = await api("POST", "/api/repos/create", CREATE)
    assert answer.status == 409
    url = f"{hub.url}/spaces/tester/new"
    error = "You already created this space repo"
    assert answer.json == {"error": error, "url": url}
    assert not hub.requests[-1].acted


async def test_create_for_others(hub: FakeHub, api: Any, anonymous: Any) -> None:
    """403 in a namespace that is not one's own, 401 without a token."""
    hub.add_org("closed", {})
    body = CREATE | {"organization": "closed"}
    assert (await api("POST", "/api/repos/create", body)).status == 403
    assert (await anonymous("POST", "/api/repos/create", body)).status == 401


async def test_duplicate(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """Files and variables go along, secrets do not; overrides win."""
    source = hub.add_space(
        "acme/demo", private=True, variables={"A": "1", "B": "2"}, secrets={"S": "x"}
    )
    body = {
        "repository": "tester/copy",
        "variables": [{"key": "B", "value": "3"}],
        "secrets": [{"key": "T", "value": "y"}],
        "hardware": "t4-small",
    }
    answer = await api("POST", "/api/spaces/acme/demo/duplicate", body)
    assert answer.json == {"url": f"{hub.url}/spaces/tester/copy"}
    copy = hub.space("tester/copy")
    assert {key: s.value for key, s in copy.variables.items()} == {"A": "1", "B": "3"}
    assert set(copy.secrets) == {"T"}
    assert (copy.private, copy.requested_hardware) == (True, "t4-small")
    assert copy.files == source.files
    assert copy.oid != source.oid
    clock.advance(3)
    assert (copy.stage, copy.hardware) == ("RUNNING", "t4-small")
    answer = await api("POST", "/api/spaces/acme/demo/duplicate", body)
    assert (answer.status, set(answer.json)) == (409, {"error", "url"})
    hub.add_org("closed", {})
    body = {"repository": "closed/copy"}
    assert (await api("POST", "/api/spaces/acme/demo/duplicate", body)).status == 403
    body = {"repository": "nonsense"}
    assert (await api("POST", "/api/spaces/acme/demo/duplicate", body)).status == 400


async def test_delete_answers_plain_text(
    hub: FakeHub, api: Any, anonymous: Any
) -> None:
    """The body is OK, not JSON; a second time it is not found."""
    hub.add_space("acme/demo")
    body = {"name": "demo", "organization": "acme", "type": "space"}
    hub.add_user("alice", token="hf_alice")
    answer = await anonymous("DELETE", "/api/repos/delete", body, token="hf_alice")
    assert answer.status == 403
    answer = await api("DELETE", "/api/repos/delete", body)
    assert (answer.status, answer.text) == (200, "OK")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await api("DELETE", "/api/repos/delete", body)).status == 404
    body = {"name": "acme/demo", "type": "space"}
    assert (await api("DELETE", "/api/repos/delete", body)).status == 404


async def test_move(hub: FakeHub, api: Any) -> None:
    """It keeps everything but the name."""
    hub.add_space("acme/demo", variables={"A": "1"})
    hub.add_space("acme/taken")
    body = {"fromRepo": "acme/demo", "toRepo": "tester/moved", "type": "space"}
    assert (await api("POST", "/api/repos/move", body)).status == 200
    assert hub.space("tester/moved").variables["A"].value == "1"
    assert (await api("GET", "/api/spaces/tester/moved")).json["author"] == "tester"
    assert (await api("POST", "/api/repos/move", body)).status == 404
    body = {"fromRepo": "tester/moved", "toRepo": "acme/taken", "type": "space"}
    assert (await api("POST", "/api/repos/move", body)).status == 409
    hub.add_org("closed", {})
    assert (
        await api("POST", "/api/repos/move", body | {"toRepo": "closed/x"})
    ).status == 403
