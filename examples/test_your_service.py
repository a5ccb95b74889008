"""How to test a service that uses this package: with FakeHub, a Hub for tests.

Three fixtures are available once the package is installed. `fake_hub` is a real server
on loopback with the Hub's responses, quota and failures, so the tests cover everything
down to the socket. It runs in a thread of its own and serves every kind of test:
synchronous ones, pytest-asyncio in both modes, anyio. `fake_client` is a client for it,
and `fake_hub_factory` starts more Hubs. They need no token and no network.

    pip install pytest pytest-asyncio
    pytest test_your_service.py

In a checkout of the package, `make test` runs it with all other tests.
"""

import asyncio
from collections.abc import Callable

import pytest

from spaces_async import (
    PermissionDeniedError,
    Selection,
    SpaceFailedError,
    SpaceNotFoundError,
    SpacesClient,
    SpaceStage,
)
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota, seed_org

# The service: your own tests import it from your code. --------------------------------


async def wake(client: SpacesClient, repo_id: str) -> str:
    """Restart a Space, wait until it runs, and return its domain."""
    restarted = await client.lifecycle.restart(repo_id)
    runtime = await client.lifecycle.wait_until(
        repo_id, after=restarted, timeout=1800.0
    )
    return runtime.domains[0].domain


async def repair(client: SpacesClient, org: str) -> list[str]:
    """Restart an org's failed Spaces and return those that were not restarted."""
    failed = Selection(author=org, stages="failed")
    report = await client.bulk.restart(failed)
    return [outcome.repo_id for outcome in report if not outcome.ok]


# Its tests ---------------------------------------------------------------------------


@pytest.mark.asyncio  # not needed with asyncio_mode = "auto"
async def test_only_what_failed_is_restarted(
    fake_hub: FakeHub, fake_client: SpacesClient
) -> None:
    """Fill the Hub, call the service, then check the Spaces and the requests."""
    fake_hub.add_space("acme/good")
    broken = fake_hub.add_space("acme/broken", stage="RUNTIME_ERROR")
    hopeless = fake_hub.add_space("acme/hopeless", stage="BUILD_ERROR")
    fake_hub.faults("POST /restart", Fault.status(403), repo_id=hopeless.id)

    assert await repair(fake_client, "acme") == [hopeless.id]

    assert broken.restarts == 1
    assert sorted(r.path for r in fake_hub.requests if r.method == "POST") == [
        "/api/spaces/acme/broken/restart",
        "/api/spaces/acme/hopeless/restart",
    ]
    assert {request.token for request in fake_hub.requests} == {fake_hub.token}


@pytest.mark.asyncio
async def test_an_outage_is_survived(
    fake_hub: FakeHub, fake_client: SpacesClient
) -> None:
    """Add a fault: the first restart gets a 503, the second one succeeds."""
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    outage = fake_hub.faults("POST /restart", Fault.status(503), times=1)

    await fake_client.lifecycle.restart(space.id)

    outage.assert_met(1)
    assert fake_hub.count("POST", "/restart") == 2
    assert space.restarts == 1


@pytest.mark.asyncio
async def test_a_lost_response_restarts_nothing_twice(
    fake_hub: FakeHub, fake_client: SpacesClient
) -> None:
    """The Hub restarts the Space, and the connection breaks before the response."""
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    fake_hub.faults("POST /restart", Fault.reset(acted=True))

    runtime = await fake_client.lifecycle.restart(space.id)

    assert runtime.stage is SpaceStage.BUILDING
    assert space.restarts == 1


@pytest.mark.asyncio
async def test_a_missing_space(fake_client: SpacesClient) -> None:
    """A missing Space is a 404, with the Hub's request id for the log."""
    with pytest.raises(SpaceNotFoundError) as caught:
        await wake(fake_client, "acme/nothing")
    assert caught.value.status == 404
    assert caught.value.request_id


@pytest.mark.asyncio
async def test_a_user_without_rights(
    fake_hub: FakeHub, fake_client: SpacesClient
) -> None:
    """Add users with tokens of any role."""
    fake_hub.add_user("guest", token="hf_guest", role="read")
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    with pytest.raises(PermissionDeniedError):
        await wake(fake_client.with_token("hf_guest"), space.id)
    assert space.restarts == 0


@pytest.mark.fake_hub(build_seconds=0.1, start_seconds=0.1)
@pytest.mark.asyncio
async def test_options_of_the_hub(fake_hub: FakeHub, fake_client: SpacesClient) -> None:
    """The marker sets options of the Hub: here, apps build and start fast."""
    fake_hub.add_space("acme/demo", stage="SLEEPING")
    assert await wake(fake_client, "acme/demo") == "acme-demo.hf.space"


def test_a_synchronous_program(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test what has its own loop or none: a command, a TestClient, another client."""
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url)
    monkeypatch.setenv("HF_TOKEN", fake_hub.token)
    space = fake_hub.add_space("acme/demo", stage="RUNTIME_ERROR")

    async def main() -> list[str]:
        async with SpacesClient() as client:
            return await repair(client, "acme")

    assert asyncio.run(main()) == []
    assert space.restarts == 1


@pytest.fixture(scope="module")
def big_org(fake_hub_factory: Callable[..., FakeHub]) -> FakeHub:
    """Fill one Hub for all tests of the module."""
    hub = fake_hub_factory(quota=Quota(limit=10_000))
    seed_org(hub, "acme", 200)
    return hub


def test_a_hub_for_the_module(big_org: FakeHub) -> None:
    """Read what is there; several tests share it."""
    assert len(big_org.spaces) == 200


@pytest.mark.asyncio
async def test_hours_pass_in_no_time() -> None:
    """Share a clock between Hub and client: the build takes 20 minutes on it."""
    clock = ManualClock(auto=True)
    async with (
        FakeHub(clock=clock, build_seconds=1200.0) as hub,
        SpacesClient(endpoint=hub.url, token=hub.token, clock=clock) as client,
    ):
        hub.add_space("acme/demo", stage="SLEEPING")
        assert await wake(client, "acme/demo") == "acme-demo.hf.space"
        assert clock.monotonic() > 1200

        # A Space that fails again, as in real life.
        hub.add_space("acme/broken", stage="RUNTIME_ERROR", fails_with="BUILD_ERROR")
        with pytest.raises(SpaceFailedError, match="BUILD_ERROR"):
            await wake(client, "acme/broken")


@pytest.mark.asyncio
async def test_the_quota_is_respected() -> None:
    """12 Spaces with 5 calls per 5 minutes: it takes a while, but without a 429."""
    clock = ManualClock(auto=True)
    async with (
        FakeHub(clock=clock, quota=Quota(limit=5, window=300.0)) as hub,
        SpacesClient(endpoint=hub.url, token=hub.token, clock=clock) as client,
    ):
        for number in range(12):
            hub.add_space(f"acme/demo-{number}", stage="RUNTIME_ERROR")
        assert await repair(client, "acme") == []
        assert {request.status for request in hub.requests} == {200}
        assert clock.monotonic() > 600
