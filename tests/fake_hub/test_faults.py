"""What goes wrong on demand, looked at from the socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from spaces_async.testing import FakeHub, FakeSpace, Fault, ManualClock

RESTART = "/api/spaces/acme/demo/restart"


@pytest.fixture
def space(hub: FakeHub) -> Any:
    return hub.add_space("acme/demo")


@pytest.mark.parametrize(
    ("fault", "acted", "error"),
    [
        (Fault.reset(), False, ConnectionResetError),
        (Fault.reset(acted=True), True, ConnectionResetError),
        (Fault.disconnect(), False, aiohttp.ServerDisconnectedError),
        (Fault.disconnect(acted=True), True, aiohttp.ServerDisconnectedError),
        (Fault.truncated(), True, aiohttp.ClientPayloadError),
        (Fault.raw(b"garbage\r\n\r\n"), False, aiohttp.ClientResponseError),
    ],
)
async def test_broken_connections(
    *, hub: FakeHub, api: Any, space: FakeSpace, fault: Any, acted: Any, error: Any
) -> None:
    """A lost answer says nothing of the effect: both cases can be had."""
    handle = hub.faults("POST /restart", fault)
    with pytest.raises((error, aiohttp.ClientOSError)):
        await api("POST", RESTART)
    assert (space.restarts, hub.requests[-1].acted) == (int(acted), acted)
    assert (handle.hits, handle.times) == (1, 0)
    assert (await api("POST", RESTART)).status == 200


@pytest.mark.parametrize(
    ("fault", "status", "acted"),
    [
        (Fault.status(503, message="Busy", headers={"Retry-After": "1"}), 503, False),
        (Fault.status(500, acted=True), 500, True),
        (Fault.status(599), 599, False),
        (Fault.status(400, body="plain"), 400, False),
        (Fault.invalid_json(), 200, True),
        (Fault.empty(), 200, True),
        (Fault.html(), 502, False),
        (Fault.redirect("/elsewhere"), 302, False),
        (Fault.rate_limit(), 429, False),
        (Fault.action_limit(), 429, False),
    ],
)
async def test_wrong_answers(
    *, hub: FakeHub, api: Any, space: FakeSpace, fault: Any, status: Any, acted: Any
) -> None:
    """Each carries its status and the headers of every answer, acts or does not."""
    hub.faults("POST /restart", fault)
    answer = await api("POST", RESTART)
    assert (answer.status, space.restarts) == (status, int(acted))
    assert hub.requests[-1].status == status
    for name in ("X-Request-Id", "RateLimit", "Date"):
        assert name in answer.headers


async def test_what_the_answers_say(hub: FakeHub, api: Any, space: FakeSpace) -> None:
    """Texts, codes and extra headers arrive as they were given."""
    fault = Fault.status(409, message="no", code="X", headers={"Retry-After": "1"})
    hub.faults("*", fault)
    answer = await api("POST", RESTART)
    assert answer.json == {"error": "no"}
    assert answer.headers["X-Error-Code"] == "X"
    assert answer.headers["X-Error-Message"] == "no"
    assert answer.headers["Retry-After"] == "1"
    hub.faults("*", Fault.redirect("http://evil.example/", status=307))
    assert (await api("POST", RESTART)).headers["Location"] == "http://evil.example/"
    hub.faults("*", Fault.invalid_json())
    with pytest.raises(json.JSONDecodeError):
        json.loads((await api("POST", RESTART)).text)
    hub.faults("*", Fault.html())
    assert "text/html" in (await api("POST", RESTART)).headers["Content-Type"]


async def test_both_kinds_of_429(hub: FakeHub, api: Any, space: FakeSpace) -> None:
    """The end of a window has r=0, an action limit has quota left."""
    hub.faults("POST *", Fault.rate_limit(7, remaining=0))
    answer = await api("POST", RESTART)
    assert answer.headers["RateLimit"] == '"api";r=0;t=300'
    assert answer.headers["Retry-After"] == "7"
    hub.faults("POST *", Fault.action_limit())
    answer = await api("POST", RESTART)
    assert answer.headers["RateLimit"] == '"api";r=998;t=300'
    assert "about 1 hour" in answer.json["error"]


async def test_a_delay_is_on_the_hubs_clock(
    hub: FakeHub, api: Any, space: FakeSpace, clock: ManualClock
) -> None:
    """Delays add up, then the call goes on; the client waits for the clock."""
    hub.faults("POST /restart", Fault.delay(3), times=None)
    hub.faults("POST /restart", Fault.delay(4))
    task = asyncio.create_task(api("POST", RESTART))
    await clock.wait_for_sleepers()
    assert (space.restarts, hub.in_flight) == (0, 1)
    clock.advance(7)
    assert (await task).status == 200
    assert hub.in_flight == 0


async def test_the_hub_acts_though_the_client_has_gone(
    hub: FakeHub, api: Any, space: FakeSpace, clock: ManualClock, until: Any
) -> None:
    """Giving up on a slow write does not take it back."""
    hub.faults("POST /restart", Fault.delay(3))
    task = asyncio.create_task(api("POST", RESTART))
    await clock.wait_for_sleepers()
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not hub.in_flight)
    assert space.restarts == 0
    clock.advance(3)
    await until(lambda: hub.requests[-1].acted)
    assert (space.restarts, hub.requests[-1].status) == (1, None)


@pytest.mark.parametrize("acted", [False, True])
async def test_a_hang_ends_with_the_hub(
    hub: FakeHub, api: Any, space: FakeSpace, acted: Any, until: Any
) -> None:
    """It never answers; closing the hub breaks the connection at once."""
    hub.faults("POST /restart", Fault.hang(acted=acted))
    task = asyncio.create_task(api("POST", RESTART))
    await until(lambda: hub.requests)
    await hub.aclose()
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await task
    assert (space.restarts, hub.requests[0].status) == (int(acted), None)


@pytest.mark.parametrize(
    ("route", "hit"),
    [
        ("POST /restart", True),
        ("post /restart", True),
        ("POST /api/spaces/{id}/restart", True),
        ("POST /api/spaces/{id}/{verb}", True),
        ("* /restart", True),
        ("/restart", True),
        ("*", True),
        ("POST *", True),
        ("POST /acme/demo/restart", True),
        ("GET /api/spaces/{id}", False),
        ("POST /pause", False),
        ("POST /api/jobs/{name}", False),
    ],
)
async def test_routes(
    hub: FakeHub, api: Any, space: FakeSpace, route: Any, hit: Any
) -> None:
    """A route is a method with the end of a path or a whole template."""
    hub.faults(route, Fault.status(418))
    assert ((await api("POST", RESTART)).status == 418) is hit


async def test_times_after_and_repo_id(
    hub: FakeHub, api: Any, space: FakeSpace
) -> None:
    """A fault lets some pass, hits some, and can be meant for one Space."""
    hub.add_space("acme/other")
    handle = hub.faults(
        "POST /pause", Fault.status(503), times=2, after=1, repo_id="acme/demo"
    )

    async def pause(name: str) -> Any:
        return (await api("POST", f"/api/spaces/acme/{name}/pause")).status

    assert [await pause("other") for _ in range(2)] == [200, 200]
    assert [await pause("demo") for _ in range(4)] == [200, 503, 503, 200]
    assert handle.hits == 2
    forever = hub.faults("*", Fault.status(500), times=None)
    assert [await pause("demo") for _ in range(3)] == [500] * 3
    forever.remove()
    assert await pause("demo") == 200
    hub.faults("*", Fault.status(500))
    hub.clear_faults()
    assert await pause("demo") == 200


async def test_repository_calls_have_an_id_too(hub: FakeHub, api: Any) -> None:
    """create, delete and move name their Space in the body."""
    hub.faults("*", Fault.status(500), repo_id="acme/demo", times=None)
    body = {"name": "demo", "organization": "acme", "type": "space"}
    assert (await api("POST", "/api/repos/create", body)).status == 500
    assert (await api("DELETE", "/api/repos/delete", body)).status == 500
    body = {"fromRepo": "acme/demo", "toRepo": "acme/x", "type": "space"}
    assert (await api("POST", "/api/repos/move", body)).status == 500
    assert (await api("GET", "/api/spaces/acme/other")).status == 404


@pytest.mark.parametrize(
    ("route", "meant"),
    [
        ("POST /restrat", "'POST /restart'"),
        ("POST /api/spaces/{id}/restrat", "'POST /api/spaces/{id}/restart'"),
        ("POST /api/space/{id}/restart", "'POST /api/spaces/{id}/restart'"),
        ("POST /api/spaces/acme/demo/puase", "'POST /api/spaces/acme/demo/pause'"),
        ("GET /restart", "'POST /restart'"),
        ("POST /api/spaces/{id}", "'GET /api/spaces/{id}'"),
        ("HEAD /runtime", "'GET /runtime'"),
        ("* /runtme", "'GET /runtime'"),
        ("/secret", "'GET /secrets'"),
        ("GET /logs/runs", "'GET /logs/run'"),
        ("GET /acme/runtim", "'GET /acme/runtime'"),
        ("GET /api/whoami-v3", "'GET /api/whoami-v2'"),
    ],
)
def test_a_misspelt_route_is_refused(route: str, meant: str) -> None:
    """Such a fault would never occur, and the test would pass for the wrong reason."""
    with pytest.raises(ValueError, match="matches no endpoint") as caught:
        FakeHub().faults(route, Fault.status(500))
    assert str(caught.value).endswith(f"did you mean {meant}?")


def test_a_route_like_no_other_is_refused() -> None:
    """The error lists how a path of this method may end."""
    with pytest.raises(ValueError, match="should end with one of /create, /") as e:
        FakeHub().faults("POST /explode?now=1", Fault.status(500))
    assert "/pause" in str(e.value)


@pytest.mark.parametrize(
    "route",
    [
        "GET /acme/demo",
        "GET /api/spaces/acme/demo",
        "GET /logs/run",
        "GET /api/spaces/{id}/logs/{kind}",
        "GET /revision/main",
        "DELETE /{id}/secrets",
        "GET /zero-gpu/quota",
        "GET /api/organizations/acme/members",
        "GET /api/jobs/acme",
        "PATCH *",
        "HEAD *",
    ],
)
def test_every_other_route_is_taken(route: str) -> None:
    """Names are free, and so is a whole path of an endpoint that this Hub lacks."""
    assert FakeHub().faults(route, Fault.status(500)).hits == 0


async def test_a_fault_for_an_endpoint_that_this_hub_lacks(
    hub: FakeHub, api: Any
) -> None:
    """It answers for it."""
    hub.faults("GET /api/jobs/{name}", Fault.status(200, body='{"id": 1}'))
    answer = await api("GET", "/api/jobs/acme")
    assert (answer.status, answer.json) == (200, {"id": 1})


async def test_a_fault_that_was_never_met(
    hub: FakeHub, api: Any, space: FakeSpace
) -> None:
    """A test can ask whether the faults that it scripted have occurred."""
    late = hub.faults("POST /restart", Fault.status(503), after=1)
    other = hub.faults("POST *", Fault.reset(), repo_id="acme/none")
    await api("POST", RESTART)
    with pytest.raises(
        AssertionError,
        match=r"on 'POST /restart' never occurred: no matching call reached it$",
    ):
        late.assert_met()
    await api("POST", RESTART)
    late.assert_met()
    late.assert_met(1)
    with pytest.raises(AssertionError, match=r"ANSWER .* occurred once, not 2"):
        late.assert_met(2)
    with pytest.raises(AssertionError, match="occurred once, not 0"):
        late.assert_met(0)
    other.assert_met(0)
    with pytest.raises(AssertionError, match=r"RESET .* for acme/none never occurred"):
        hub.assert_faults_met()
    other.remove()
    hub.assert_faults_met()
    slow = hub.faults("GET /runtime", Fault.status(500), after=3)
    with pytest.raises(AssertionError, match="3 more calls would have passed first"):
        slow.assert_met()
    hub.clear_faults()
    hub.assert_faults_met()
